//! Replaced states over several runs: the change of the error by layer, with controls.

use std::collections::BTreeSet;

use plots::PlotError;
use plots::color::color_of;
use plots::labels::shorten;
use plots::panel::{Axis, Curve, LONGEST_LABEL, Panel};
use plots::style::{GREY, INK, UNITS};
use plots::ticks::{extent, labelled, number, ticks};
use probe::Layer;

use super::{Replacement, ReplacementRow};

const HEIGHT: u32 = 480 * UNITS;

/// What replaces a state, its name in the figure, and whether it is a control.
const SHOWN: [(Replacement, &str, bool); 5] = [
    (Replacement::Own, "mean of the own concept", false),
    (Replacement::Other, "mean of another concept", false),
    (Replacement::Overall, "mean over concepts", true),
    (Replacement::Random, "random, as long", true),
    (Replacement::Itself, "the state itself", true),
];

/// Draws the change of the error against the layer at which the state is replaced: mean over runs, with its 95%
/// interval, for one group. With several groups, or several tokens, the first is shown, and a group named.
///
/// # Units
/// Error is relative to the mean of y².
///
/// # Errors
/// [`PlotError::Empty`] if there is no finite row.
pub(super) fn replacement(rows: &[ReplacementRow]) -> Result<String, PlotError> {
    let place = |row: &ReplacementRow| (row.group.clone(), row.token);
    let first = rows.first().map(place);
    let one_group = rows.iter().all(|row| row.group == rows[0].group);
    let rows: Vec<&ReplacementRow> =
        rows.iter().filter(|row| Some(place(row)) == first && row.change.is_finite()).collect();
    let layers = extent(rows.iter().map(|row| row.layer.0 as f64));
    let heights = extent(rows.iter().flat_map(|row| [Some(row.change), row.lo, row.hi]).flatten().chain([0.0]));
    let (Some(layers), Some(heights), Some(row)) = (layers, heights, rows.first()) else {
        return Err(PlotError::Empty { figure: "replacement", origin: "replacement.csv" });
    };
    let marks: BTreeSet<Layer> = rows.iter().map(|row| row.layer).collect();
    let x = Axis::new("layer", layers, marks.iter().map(|layer| (layer.0 as f64, layer.0.to_string())).collect());
    let y = Axis::new("change of error / E[y²]", heights.clone(), labelled(ticks(&heights, 6), number));
    let runs = rows.iter().map(|row| row.n).max().unwrap_or(0);
    let group = if one_group { String::new() } else { format!(" ({})", shorten(&row.group, LONGEST_LABEL)) };
    let of_runs =
        if runs == 1 { "one run".to_owned() } else { format!("mean of {runs} runs{group}, with 95% interval") };
    let title = format!("State at {} replaced: {of_runs}", row.token);
    let panel = Panel { title, x, y, curves: curves(&rows) };
    panel.figure(HEIGHT)
}

fn curves(rows: &[&ReplacementRow]) -> Vec<Curve> {
    let curve = |(index, (by, name, control)): (usize, &(Replacement, &str, bool))| {
        let here: Vec<&&ReplacementRow> = rows.iter().filter(|row| row.by == *by).collect();
        let line = here.iter().map(|row| (row.layer.0 as f64, row.change));
        let color = match (*control, *by) {
            (false, _) => color_of(index),
            (true, Replacement::Itself) => INK,
            (true, _) => GREY,
        };
        let band = here.iter().filter_map(|row| Some((row.layer.0 as f64, row.lo?..row.hi?)));
        let curve = Curve::new(name, color, line).with_band(band);
        (!here.is_empty()).then(|| if *control { curve.dashed((6 + 6 * index as u32, 10)) } else { curve })
    };
    SHOWN.iter().enumerate().filter_map(curve).collect()
}

#[cfg(test)]
mod tests {
    use data::Token;

    use super::*;
    use crate::planted::check;

    fn planted(layers: usize, n: usize) -> Vec<ReplacementRow> {
        let row = |layer: usize, (by, change): (Replacement, f64)| ReplacementRow {
            group: "main".to_owned(),
            layer: Layer(layer),
            token: Token::X(12),
            by,
            change,
            lo: (n > 1).then_some(change - 0.1),
            hi: (n > 1).then_some(change + 0.1),
            n,
            pairs: 4 * n,
            lowered: 0,
            raised: n,
        };
        let of_layer = |layer: usize| {
            let late = layer as f64 / layers as f64;
            let changes = [-0.1 * late, 0.8 * late, 0.4, 2.0 * late, 0.0];
            SHOWN.into_iter().zip(changes).map(move |((by, ..), change)| row(layer, (by, change)))
        };
        (0..=layers).flat_map(of_layer).collect()
    }

    #[test]
    fn every_replacement_is_a_line() {
        let svg = replacement(&planted(6, 5)).unwrap();
        check("replacement", &svg);
        assert_eq!(svg.matches("<polygon").count(), SHOWN.len());
        for label in SHOWN.map(|(_, label, _)| label).iter().chain(&["mean of 5 runs", "x12"]) {
            assert!(svg.contains(label), "{label} is missing");
        }
    }

    #[test]
    fn odd_rows_are_drawn_and_no_rows_are_named() {
        assert!(matches!(replacement(&[]), Err(PlotError::Empty { figure: "replacement", .. })));
        let mut odd = planted(1, 1);
        odd[0].change = f64::NAN;
        check("replacement-odd", &replacement(&odd).unwrap());
        check("replacement-one", &replacement(&odd[1..2]).unwrap());
    }
}
