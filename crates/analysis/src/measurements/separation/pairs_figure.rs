//! How well each two concepts are told apart at the end of training, as a matrix.

use std::collections::BTreeMap;

use plots::PlotError;
use plots::color::viridis;
use plots::labels::shorten;
use plots::shapes::{Color, FontStyle, FontTransform, HPos, Pos, Rectangle, VPos, WHITE};
use plots::style::{Area, GRID, INK, TYPE, UNITS, canvas, font, width, write};
use plots::ticks::grouped_number;

use super::PairRow;
use crate::MeanPairRow;
use crate::show::{once_each, query};

/// Side of a cell, in units.
const CELL: i32 = 84 * UNITS as i32;
/// Space above the cells for the title.
const ABOVE: i32 = 48 * UNITS as i32;
const EDGE: i32 = 12 * UNITS as i32;
/// Longer names are cut.
const LONGEST_NAME: usize = 20;
/// With more concepts the numbers would not fit; the first ones are shown.
pub(super) const MOST_PAIRED: usize = 12;

/// Draws kNN's accuracy on every two concepts at the last step of `rows` and its last x token; colour runs from
/// guessing, ½, to 1.
///
/// # Errors
/// [`PlotError::Empty`] if `rows` is empty.
pub(super) fn pairs(rows: &[PairRow]) -> Result<String, PlotError> {
    let last = rows.iter().map(|row| row.step).max();
    let at_end = || rows.iter().filter(|row| Some(row.step) == last);
    let token = query(at_end().map(|row| row.token));
    let rows: Vec<&PairRow> = at_end().filter(|row| Some(row.token) == token).collect();
    let Some(PairRow { step, layer, token, .. }) = rows.first() else {
        return Err(PlotError::Empty { figure: "pairs", origin: "cd_pairs.csv" });
    };
    let (step, layer) = (grouped_number(*step), layer.0);
    let title = format!("kNN on two concepts at a time: step {step}, layer {layer}, token {token}");
    let cells: Vec<Cell<'_>> = rows.iter().map(|row| (row.concept.as_str(), row.other.as_str(), row.score)).collect();
    matrix(&title, &cells)
}

/// The same as means over the runs of the only group.
///
/// # Errors
/// [`PlotError::Empty`] if there is no row, or more than one group.
pub(crate) fn mean_pairs(rows: &[MeanPairRow]) -> Result<String, PlotError> {
    let token = query(rows.iter().map(|row| row.token));
    let first = rows.iter().find(|row| Some(row.token) == token);
    let Some(MeanPairRow { token, n, .. }) = first.filter(|first| rows.iter().all(|row| row.group == first.group))
    else {
        return Err(PlotError::Empty { figure: "pairs", origin: "pairs.csv (of one group)" });
    };
    let rows = rows.iter().filter(|row| row.token == *token);
    let cells: Vec<Cell<'_>> = rows.map(|row| (row.concept.as_str(), row.other.as_str(), row.score)).collect();
    matrix(&format!("kNN on two concepts at a time: {n} runs, token {token}"), &cells)
}

/// Two concepts, and how often they are told apart.
type Cell<'a> = (&'a str, &'a str, f64);

fn matrix(title: &str, cells: &[Cell<'_>]) -> Result<String, PlotError> {
    let mut names = once_each(cells.iter().flat_map(|(concept, other, _)| [*concept, *other]));
    names.truncate(MOST_PAIRED);
    let scores: BTreeMap<(&str, &str), f64> =
        cells.iter().map(|(concept, other, score)| ((*concept, *other), *score)).collect();
    let labels: Vec<String> = names.iter().map(|name| shorten(name, LONGEST_NAME)).collect();
    let widest =
        labels.iter().map(|label| width(label)).try_fold(0, |most, width| Ok::<_, PlotError>(most.max(width?)))?;
    let (left, side) = (widest as i32 + 3 * EDGE, CELL * names.len() as i32);
    let size =
        ((left + side + EDGE).max(width(title)? as i32 * 6 / 5 + 2 * EDGE), ABOVE + side + widest as i32 + 3 * EDGE);
    canvas([size.0, size.1].map(|side| (side as u32).next_multiple_of(UNITS)).into(), |area| {
        area.draw_text(title, &font(TYPE, INK, FontStyle::Bold), (EDGE, EDGE))?;
        for (row, a) in names.iter().enumerate() {
            for (column, b) in names.iter().enumerate() {
                let score = scores.get(&(*a, *b)).or_else(|| scores.get(&(*b, *a))).copied();
                draw_cell(area, (left + CELL * column as i32, ABOVE + CELL * row as i32), score)?;
            }
            let middle = CELL * row as i32 + CELL / 2;
            write(area, &labels[row], (left - EDGE, ABOVE + middle), INK, HPos::Right)?;
            let upright = font(TYPE, INK, FontStyle::Normal).transform(FontTransform::Rotate270);
            let below = (left + middle, ABOVE + side + 3 * EDGE / 2 + width(&labels[row])? as i32 / 2);
            area.draw_text(&labels[row], &upright.pos(Pos::new(HPos::Center, VPos::Center)), below)?;
        }
        Ok(())
    })
}

/// A cell with its number, or without one on the diagonal.
fn draw_cell(area: &Area<'_>, (x, y): (i32, i32), score: Option<f64>) -> Result<(), PlotError> {
    let share = score.map(|score| 2.0 * score - 1.0);
    let color = share.map_or(GRID, viridis);
    area.draw(&Rectangle::new([(x, y), (x + CELL - 2, y + CELL - 2)], color.filled()))?;
    let Some(score) = score else { return Ok(()) };
    // Type is white on the dark half of the colour map.
    let ink = if share.is_some_and(|share| share > 0.6) { INK } else { WHITE };
    write(area, &format!("{score:.2}"), (x + CELL / 2, y + CELL / 2), ink, HPos::Center)
}

#[cfg(test)]
mod tests {
    use data::Token;
    use probe::Layer;

    use super::*;
    use crate::planted::{check, names};

    fn rows(concepts: usize) -> Vec<PairRow> {
        let names = names(concepts);
        let mut rows = Vec::new();
        for step in [0, 12_000] {
            for (a, b) in (0..concepts).flat_map(|a| (a + 1..concepts).map(move |b| (a, b))) {
                let score = 0.5 + 0.5 * (b - a) as f64 / concepts as f64;
                let (concept, other) = (names[a].clone(), names[b].clone());
                let (layer, token) = (Layer(4), Token::X(10));
                rows.push(PairRow { step, layer, token, concept, other, score, lo: score, hi: score, n: 10 });
            }
        }
        rows
    }

    #[test]
    fn shows_every_pair_twice() {
        let svg = pairs(&rows(4)).unwrap();
        check("pairs", &svg);
        assert_eq!(svg.matches("0.62").count(), 6, "three neighbours, on both sides of the diagonal");
        assert!(svg.contains("step 12,000"));
    }

    #[test]
    fn means_over_runs_are_of_one_group() {
        let of = |group: &str| {
            let mean = |row: PairRow| MeanPairRow {
                group: group.to_owned(),
                token: row.token,
                concept: row.concept,
                other: row.other,
                score: row.score,
                lo: None,
                hi: None,
                n: 4,
            };
            rows(4).into_iter().take(6).map(mean).collect::<Vec<_>>()
        };
        let svg = mean_pairs(&of("overlap")).unwrap();
        check("pairs-mean", &svg);
        assert!(svg.contains("4 runs, token x10") && svg.matches("0.62").count() == 6);
        let two = [of("overlap"), of("none")].concat();
        assert!(matches!(mean_pairs(&two), Err(PlotError::Empty { .. })));
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        check("pairs-two", &pairs(&rows(2)).unwrap());
        check("pairs-many", &pairs(&rows(20)).unwrap());
        let mut rows = rows(3);
        rows.iter_mut().for_each(|row| (row.score, row.token) = (f64::INFINITY, Token::Y(3)));
        check("pairs-odd", &pairs(&rows).unwrap());
        assert!(matches!(pairs(&[]), Err(PlotError::Empty { figure: "pairs", .. })));
    }
}
