//! Scores of heads over training.

use plots::PlotError;
use plots::color::color_of;
use plots::panel::{Axis, Curve, Panel, stacked};
use plots::style::{GREY, GRID, UNITS};
use plots::ticks::{around_zero, compact_number, extent, labelled, ticks};
use probe::Layer;

use super::HeadScoreRow;
use crate::MeasureError;
use crate::show::{Section, Shown, once_each};

const FIGURE: &str = "heads";
const HEIGHT: u32 = 700 * UNITS;
const UPPER: u32 = 330 * UNITS;
/// Heads with a colour of their own: those with the highest score at the end, of each score.
const COLOURED: usize = 3;

/// A head, by the layer that its block writes and its number.
type Head = (Layer, usize);

/// A score of a head with its interval: lower end, score, upper end.
type Score = fn(&HeadScoreRow) -> [f64; 3];

const INDUCTION: Score = |row| [row.induction_lo, row.induction, row.induction_hi];
const FUNCTION_VECTOR: Score = |row| [row.function_vector_lo, row.function_vector, row.function_vector_hi];

/// Draws the induction score (above) and the function-vector score (below) of every head against the training step; the heads
/// with the highest score at the end in colour with their 95% intervals, the others grey.
///
/// # Errors
/// [`PlotError::Empty`] if `rows` has no finite score.
fn heads(rows: &[HeadScoreRow]) -> Result<String, PlotError> {
    let steps = extent(rows.iter().map(|row| row.step as f64)).unwrap_or(0.0..0.0);
    let x = Axis::new("training step", steps.clone(), labelled(ticks(&steps, 8), compact_number));
    let coloured = once_each([INDUCTION, FUNCTION_VECTOR].into_iter().flat_map(|score| highest(rows, score)));
    let mut upper = curves(rows, &coloured, INDUCTION);
    let alike = rows.iter().map(|row| (row.step as f64, row.chance));
    upper.insert(0, Curve::new("all tokens alike", GREY, alike).dashed((6, 8)));
    let upper = panel("attention", "Induction: attention to the y behind the same x", x.bare(), upper)?;
    let lower = curves(rows, &coloured, FUNCTION_VECTOR);
    let lower =
        panel("error taken away / E[y²]", "Function vector: what the mean output of the concept brings", x, lower)?;
    stacked(&[(&upper, UPPER), (&lower, HEIGHT - UPPER)])
}

/// The heads with the highest score at the last step.
fn highest(rows: &[HeadScoreRow], score: Score) -> Vec<Head> {
    let last = rows.iter().map(|row| row.step).max();
    let mut there: Vec<&HeadScoreRow> = rows.iter().filter(|row| Some(row.step) == last).collect();
    there.sort_by(|a, b| score(b)[1].total_cmp(&score(a)[1]));
    there.into_iter().take(COLOURED).map(|row| (row.layer, row.head)).collect()
}

/// A curve a head, the grey ones first.
fn curves(rows: &[HeadScoreRow], coloured: &[Head], score: Score) -> Vec<Curve> {
    let points = |head: Head| {
        let here = rows.iter().filter(move |row| (row.layer, row.head) == head);
        here.map(move |row| (row.step as f64, score(row)))
    };
    let line = |head: Head| points(head).map(|(step, [_, middle, _])| (step, middle));
    let others = once_each(rows.iter().map(|row| (row.layer, row.head)));
    let others = others.into_iter().filter(|head| !coloured.contains(head));
    let named = coloured.iter().enumerate().map(|(index, &head)| {
        let band = points(head).map(|(step, [lo, _, hi])| (step, lo..hi));
        let name = format!("layer {}, head {}", head.0.0, head.1);
        Curve::new(&name, color_of(index), line(head)).with_band(band)
    });
    others.map(|head| Curve::new("", GRID, line(head))).chain(named).collect()
}

fn panel(axis: &str, title: &str, x: Axis, curves: Vec<Curve>) -> Result<Panel, PlotError> {
    let heights = extent(curves.iter().flat_map(Curve::reach));
    let heights = heights.ok_or(PlotError::Empty { figure: FIGURE, origin: "heads.csv" })?;
    Ok(Panel { title: title.to_owned(), x, y: around_zero(axis, heights), curves })
}

const CAPTION: &str = "Above: in prompts whose pairs come twice, the mean attention from an x to the y that stood behind it the first time; dashed, a head that attends to all tokens alike. Below: how much error it takes away at the query of prompts with permuted ys when a head adds its mean output over prompts of the concept, in units of the mean of y². Any mean takes something away where the head misleads; the column concept_part has what the mean of another concept does not.";

/// The sections of the report.
pub(super) fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
    let section = Section::figure(FIGURE, "Heads over training", CAPTION, heads(&shown.rows()?))?;
    Ok(section.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planted::{check, checkpoints, noise};

    fn planted(layers: usize, heads: usize, steps: &[usize]) -> Vec<HeadScoreRow> {
        let all = (1..=layers).flat_map(|layer| (1..=heads).map(move |head| (layer, head)));
        let row = |(step, (layer, head)): (usize, (usize, usize))| {
            let rise = step as f64 / 10_000.0;
            let height = if (layer, head) == (layers, 2) { 0.6 } else { 0.1 };
            let [induction, vector] = [0, 1].map(|seed| height * rise + 0.02 * noise(step + 7 * layer + head + seed));
            HeadScoreRow {
                step,
                layer: Layer(layer),
                head,
                induction,
                induction_lo: induction - 0.02,
                induction_hi: induction + 0.02,
                chance: 0.06,
                function_vector: vector,
                function_vector_lo: vector - 0.05,
                function_vector_hi: vector + 0.05,
                concept_part: 0.0,
                concept_part_lo: -0.01,
                concept_part_hi: 0.01,
                n: 250,
            }
        };
        steps.iter().flat_map(|&step| all.clone().map(move |head| (step, head))).map(row).collect()
    }

    #[test]
    fn the_highest_heads_are_named_and_the_others_grey() {
        let svg = super::heads(&planted(6, 4, &checkpoints())).unwrap();
        check("heads", &svg);
        for label in ["layer 6, head 2", "all tokens alike", "Induction", "Function vector", "training step"] {
            assert!(svg.contains(label), "{label} is missing");
        }
        let coloured = highest(&planted(6, 4, &checkpoints()), INDUCTION);
        assert_eq!((coloured[0], coloured.len()), ((Layer(6), 2), COLOURED));
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        check("heads-one", &super::heads(&planted(1, 1, &[0])).unwrap());
        check("heads-many", &super::heads(&planted(48, 64, &[0, 10])).unwrap());
        for value in [f64::NAN, f64::INFINITY, -1e300, 0.0] {
            let mut odd = planted(3, 2, &[0, 10, 20]);
            odd.iter_mut().step_by(3).for_each(|row| (row.induction, row.function_vector) = (value, value));
            check(&format!("heads-{value:e}"), &super::heads(&odd).unwrap());
        }
        assert!(matches!(super::heads(&[]), Err(PlotError::Empty { figure: FIGURE, .. })));
    }
}
