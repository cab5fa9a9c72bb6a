//! What the states of one concept do to prompts of another: patching as a matrix, over layers and checkpoints, and
//! steering by degrees.

use std::collections::{BTreeMap, BTreeSet};

use data::Legend;
use plots::PlotError;
use plots::color::color_of;
use plots::grid::{Cell, Grid};
use plots::heat::{BAR_ROOM, Scale};
use plots::labels::fit;
use plots::panel::{Axis, Curve, Margins, Panel};
use plots::style::{GREY, UNITS, WIDTH, canvas};
use plots::ticks::{cell_axis, extent, grouped_number, labelled, number, signed, ticks};
use probe::Layer;

use super::{PatchKind, PatchRow};
use crate::measurements::decodability::{at_query, decodability_grid, layer_axis, step_axis};
use crate::show::{Section, Shown, in_task_order, once_each};
use crate::{DecodabilityRow, MeasureError};

/// Space for the name of a row at most, for that of a column at least, and between those of columns.
const ROW_NAME: u32 = 160 * UNITS;
const COLUMN_NAME: u32 = 60 * UNITS;
const GAP: u32 = 5 * UNITS;
/// More concepts than this are drawn as one in the steering curves.
const MOST_STEERED: usize = 4;

/// Draws the change of error of every source concept (rows) under every target's mean and under the controls (columns),
/// at the last checkpoint and the steered layer, or the last one where that has no replaced state.
///
/// # Units
/// Error is relative to the mean of y².
///
/// # Errors
/// [`PlotError::Empty`] if `rows` has no replaced state there.
fn patching(rows: &[PatchRow]) -> Result<String, PlotError> {
    let rows = at_last_step(rows);
    let steered = rows.iter().find(|row| row.strength.is_some()).map(|row| row.layer);
    let mut replaced: Vec<&PatchRow> = rows.into_iter().filter(|row| row.strength.is_none()).collect();
    let layer = replaced.iter().map(|row| row.layer).max_by_key(|&layer| (Some(layer) == steered, layer));
    replaced.retain(|row| Some(row.layer) == layer);
    let Some(first) = replaced.first() else {
        return Err(PlotError::Empty { figure: "patching", origin: "patching.csv" });
    };
    let columns = once_each(replaced.iter().map(|row| column_name(row)));
    let sources = once_each(replaced.iter().map(|row| row.source.as_str()));
    let cell = |row: &&PatchRow| {
        let place = |names: &[&str], name: &str| names.iter().position(|known| *known == name).unwrap_or(0);
        Cell {
            column: place(&columns, column_name(row)),
            row: sources.len() - 1 - place(&sources, &row.source),
            value: row.change,
            lines: vec![two_places(row.change), format!("± {:.2}", (row.hi - row.lo) / 2.0)],
        }
    };
    let row_names = sources.iter().rev().map(|name| fit(name, ROW_NAME)).collect::<Result<Vec<_>, _>>()?;
    let y = cell_axis("concept of the prompt", &row_names, row_names.len());
    let Margins { left, right } = Margins::new(&y, BAR_ROOM)?;
    let room = WIDTH - left - right;
    let column = room / columns.len() as u32;
    // Where there is no space for all names, some are left out rather than all cut; that of the last control stays.
    let every = (COLUMN_NAME + GAP).div_ceil(column.max(1));
    let name = |(index, name): (usize, &&str)| match (columns.len() - 1 - index) as u32 % every {
        0 => fit(name, every * column - GAP),
        _ => Ok(String::new()),
    };
    let names = columns.iter().enumerate().map(name).collect::<Result<Vec<_>, _>>()?;
    let grid = Grid {
        title: format!(
            "Change of error / E[y²], layer {}, token {} replaced, step {}",
            first.layer.0,
            first.token,
            grouped_number(first.step)
        ),
        x: cell_axis("replaced by the mean of, or by a control", &names, names.len()),
        y,
        cells: replaced.iter().map(cell).collect(),
        scale: Scale::around_zero(replaced.iter().map(|row| row.change)),
        bar: true,
    };
    let height = (80 * sources.len() as u32 + 120).clamp(280, 1000) * UNITS;
    canvas((WIDTH, height), |area| grid.draw(area, grid.margins()?))
}

/// Draws, at every layer and checkpoint, the mean change of error when the state is replaced by the own concept's mean,
/// by another's, and the difference, which is what the concept matters; below, Concept Decodability of the same token,
/// layers and checkpoints, where `cd` has them.
///
/// # Errors
/// [`PlotError::Empty`] if `rows` has no state replaced by a concept's mean.
fn patching_sweep(rows: &[PatchRow], cd: &[DecodabilityRow]) -> Result<String, PlotError> {
    let replaced: Vec<&PatchRow> =
        rows.iter().filter(|row| row.kind == PatchKind::Concept && row.strength.is_none()).collect();
    let Some(first) = replaced.first() else {
        return Err(PlotError::Empty {
            figure: "patching_sweep",
            origin: "patching.csv (concept, without a strength)",
        });
    };
    let steps: BTreeSet<usize> = replaced.iter().map(|row| row.step).collect();
    let (own, other): (Vec<&PatchRow>, Vec<&PatchRow>) = replaced.iter().partition(|row| is_own(row));
    let (own, other) = (mean_changes(&own), mean_changes(&other));
    let difference: Changes = other.iter().filter_map(|(at, other)| Some((*at, other - own.get(at)?))).collect();
    let titles = ["by the mean of its own concept", "by another concept's mean", "by another's rather than its own"];
    let drawn = titles.into_iter().zip([own, other, difference]).filter(|(_, changes)| !changes.is_empty());
    let title = |how| format!("Change of error / E[y²], token {} replaced {how}", first.token);
    let mut grids: Vec<Grid> = drawn.map(|(how, changes)| change_grid(title(how), &changes, &steps)).collect();
    let there: Vec<DecodabilityRow> = cd.iter().filter(|row| row.token == first.token).cloned().collect();
    grids.extend(at_query(&there).map(|decoded| decodability_grid(&decoded, &steps)));
    // Those above have the same axis as the last, which says what it is.
    let (last, above) = grids.split_last_mut().expect("there is a state replaced by a mean");
    above.iter_mut().for_each(|grid| grid.x.title.clear());
    let top = replaced.iter().map(|row| row.layer.0).max().unwrap_or(0);
    let (plain, title) = ((22 * top as u32 + 90).clamp(210, 400) * UNITS, 40 * UNITS);
    canvas((WIDTH, plain * (above.len() as u32 + 1) + title), |area| {
        let margins =
            above.iter().try_fold(last.margins()?, |most, grid| Ok::<_, PlotError>(most.max(grid.margins()?)))?;
        let mut rest = area.clone();
        for grid in above {
            let (part, below) = rest.split_vertically(plain);
            grid.draw(&part, margins)?;
            rest = below;
        }
        last.draw(&rest, margins)
    })
}

/// By step and layer.
type Changes = BTreeMap<(usize, Layer), f64>;

/// Means over sources and targets.
fn mean_changes(rows: &[&PatchRow]) -> Changes {
    let mut found: BTreeMap<(usize, Layer), Vec<f64>> = BTreeMap::new();
    for row in rows {
        found.entry((row.step, row.layer)).or_default().push(row.change);
    }
    found.into_iter().map(|(at, changes)| (at, mean(&changes))).collect()
}

fn change_grid(title: String, changes: &Changes, steps: &BTreeSet<usize>) -> Grid {
    let columns: BTreeMap<usize, usize> = steps.iter().enumerate().map(|(column, step)| (*step, column)).collect();
    let cell = |(&(step, layer), &value): (&(usize, Layer), &f64)| Cell {
        column: columns[&step],
        row: layer.0,
        value,
        lines: vec![two_places(value)],
    };
    let top = changes.keys().map(|(_, layer)| layer.0).max().unwrap_or(0);
    let scale = Scale::around_zero(changes.values().copied());
    Grid { title, x: step_axis(steps), y: layer_axis(top), cells: changes.iter().map(cell).collect(), scale, bar: true }
}

/// `+0.25`, `-0.10`, `0.00`: cells of one figure have the same places.
fn two_places(value: f64) -> String {
    let rounded = (100.0 * value).round() / 100.0;
    if rounded == 0.0 { "0.00".to_owned() } else { format!("{rounded:+.2}") }
}

/// Draws the change of error of every concept's prompts against the strength of steering: towards the mean of their own
/// concept, with its 95% interval, towards the others' (dashed), and along random directions (grey). More than four
/// concepts are drawn as their mean.
///
/// # Errors
/// [`PlotError::Empty`] if `rows` has no steered state.
fn steering(rows: &[PatchRow], legend: &Legend) -> Result<String, PlotError> {
    let steered: Vec<&PatchRow> = rows.iter().filter(|row| row.strength.is_some()).collect();
    let strengths = extent(steered.iter().filter_map(|row| row.strength));
    let (Some(first), Some(strengths)) = (steered.first(), strengths) else {
        return Err(PlotError::Empty { figure: "steering", origin: "patching.csv (with a strength)" });
    };
    let random: Vec<&PatchRow> = steered.iter().copied().filter(|row| row.kind == PatchKind::Random).collect();
    let mut curves = vec![Curve::new("random direction", GREY, by_strength(&random))];
    let sources = in_task_order(steered.iter().map(|row| row.source.as_str()), legend);
    let groups: Vec<Option<&str>> =
        if sources.len() <= MOST_STEERED { sources.into_iter().map(Some).collect() } else { vec![None] };
    for (index, source) in groups.into_iter().enumerate() {
        let towards = |own: bool| -> Vec<&PatchRow> {
            let of_group = |row: &PatchRow| source.is_none_or(|source| row.source == source);
            let chosen = |row: &&PatchRow| row.kind == PatchKind::Concept && of_group(row) && is_own(row) == own;
            steered.iter().copied().filter(chosen).collect()
        };
        let (own, others, color) = (towards(true), towards(false), color_of(index));
        // The interval of one concept is not that of a mean over concepts.
        let alone = own.iter().filter(|_| source.is_some());
        let band = alone.filter_map(|row| Some((row.strength?, row.lo..row.hi)));
        let name = source.unwrap_or("each");
        curves.push(Curve::new(&format!("{name} to others"), color, by_strength(&others)).dashed((12, 10)));
        curves.push(Curve::new(&format!("{name} to itself"), color, by_strength(&own)).with_band(band));
    }
    let heights = extent(curves.iter().flat_map(Curve::reach)).unwrap_or(0.0..1.0);
    let space = 0.04 * (heights.end - heights.start);
    let heights = heights.start.min(0.0) - space..heights.end + space;
    let along = "strength of what is added: the target's mean less the mean over concepts";
    let panel = Panel {
        title: format!(
            "Steering at layer {}, token {}, step {}",
            first.layer.0,
            first.token,
            grouped_number(first.step)
        ),
        x: Axis::new(along, strengths.clone(), labelled(ticks(&strengths, 8), number)),
        y: Axis::new("change of error / E[y²]", heights.clone(), labelled(ticks(&heights, 6), signed)),
        curves,
    };
    panel.figure(520 * UNITS)
}

/// Mean change at every strength, by ascending strength.
fn by_strength(rows: &[&PatchRow]) -> Vec<(f64, f64)> {
    let mut strengths: Vec<f64> = rows.iter().filter_map(|row| row.strength).collect();
    strengths.sort_by(f64::total_cmp);
    strengths.dedup();
    let at = |strength: f64| -> Vec<f64> {
        rows.iter().filter(|row| row.strength == Some(strength)).map(|row| row.change).collect()
    };
    strengths.into_iter().map(|strength| (strength, mean(&at(strength)))).collect()
}

/// Whether the target is the concept of the prompts.
fn is_own(row: &PatchRow) -> bool {
    row.target.as_ref() == Some(&row.source)
}

fn at_last_step(rows: &[PatchRow]) -> Vec<&PatchRow> {
    let last = rows.iter().map(|row| row.step).max();
    rows.iter().filter(|row| Some(row.step) == last).collect()
}

/// The target's name, or the control's.
fn column_name(row: &PatchRow) -> &str {
    match (&row.target, row.kind) {
        (Some(target), _) => target,
        (None, PatchKind::Concept) => "concept",
        (None, PatchKind::Overall) => "overall",
        (None, PatchKind::Random) => "random",
        (None, PatchKind::Itself) => "itself",
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

const SWEEP_CAPTION: &str = "The same change of the error at every layer and at a few checkpoints, averaged over concepts. If a layer carries the concept to the prediction, another concept's mean raises the error more than the own concept's mean. The lowest panel shows Concept Decodability at the same layers and checkpoints, where it was measured.";

const STEERING_CAPTION: &str = "Change of the error when a multiple (the strength, on the horizontal axis) of the difference between a concept's mean and the mean over concepts is added to the state.";

/// The sections of the report.
pub(super) fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
    let (rows, cd) = (shown.rows()?, shown.rows()?);
    let sections = [
        Section::figure(
            "patching",
            "What a concept's mean does to the prediction",
            patching_caption(&rows),
            patching(&rows),
        )?,
        Section::figure("patching_sweep", "Where and when it does so", SWEEP_CAPTION, patching_sweep(&rows, &cd))?,
        Section::figure("steering", "Steering", STEERING_CAPTION, steering(&rows, shown.legend))?,
    ];
    Ok(sections.into_iter().flatten().collect())
}

fn patching_caption(patched: &[PatchRow]) -> String {
    patched.first().map_or(String::new(), |row| {
        format!(
            "Each cell: change of the error, ± half of its 95% interval over {} held-out prompts of the row's concept, when the hidden state is replaced by the mean over {} other prompts. Controls at the right: the mean over concepts, a random direction as long as the own mean, and the state itself. A mean over prompts contains no single x, so that at an x token the query is lost as well, whichever mean is used.",
            row.n, row.mean_n
        )
    })
}

#[cfg(test)]
mod tests {
    use data::Token;

    use super::*;
    use crate::planted::{check, decodability, legend, names, noise};

    const STRENGTHS: [f64; 5] = [-2.0, -1.0, 0.0, 1.0, 2.0];

    /// A table whose own means help and whose other means harm the more, the later the checkpoint.
    fn patched(concepts: usize, steps: &[usize], layers: usize) -> Vec<PatchRow> {
        let mut rows = Vec::new();
        for (&step, layer) in steps.iter().flat_map(|step| (0..layers).map(move |layer| (step, layer))) {
            let size = step as f64 / 10_000.0 * layer as f64;
            for (index, source) in names(concepts).into_iter().enumerate() {
                let mut row = |kind: PatchKind, target: Option<&String>, strength: Option<f64>, change: f64| {
                    let change = change + 0.02 * noise(rows.len());
                    rows.push(PatchRow {
                        step,
                        layer: Layer(layer),
                        token: Token::X(10),
                        position: 10,
                        kind,
                        source: source.clone(),
                        target: target.cloned(),
                        strength,
                        error: 0.3 + change,
                        change,
                        lo: change - 0.03,
                        hi: change + 0.03,
                        n: 250,
                        mean_n: 100,
                    });
                };
                for (place, target) in names(concepts).iter().enumerate() {
                    row(PatchKind::Concept, Some(target), None, if place == index { -0.1 * size } else { 0.4 * size });
                }
                row(PatchKind::Overall, None, None, 0.2 * size);
                row(PatchKind::Random, None, None, 0.6 * size);
                row(PatchKind::Itself, None, None, 0.0);
                for strength in STRENGTHS.into_iter().filter(|_| layer == layers - 2 && Some(&step) == steps.last()) {
                    for (place, target) in names(concepts).iter().enumerate() {
                        let bend = if place == index { 0.02 } else { 0.1 };
                        row(PatchKind::Concept, Some(target), Some(strength), bend * strength * strength);
                    }
                    row(PatchKind::Random, None, Some(strength), 0.03 * strength * strength);
                }
            }
        }
        rows
    }

    const STEPS: [usize; 5] = [0, 64, 2000, 6000, 10_000];

    #[test]
    fn the_matrix_shows_every_source_target_and_control() {
        let svg = patching(&patched(4, &STEPS, 5)).unwrap();
        check("patching", &svg);
        let shown = ["layer 3", "token x10", "step 10,000", "overall", "random", "itself", "± 0.03"];
        for label in names(4).iter().map(String::as_str).chain(shown) {
            assert!(svg.contains(label), "{label} is missing");
        }
        for concepts in [12, 30] {
            check(&format!("patching-{concepts}"), &patching(&patched(concepts, &STEPS, 5)).unwrap());
        }
        check("patching-1", &patching(&patched(1, &[7], 2)).unwrap());
    }

    #[test]
    fn a_layer_that_was_only_steered_gives_way_to_the_last_one() {
        let mut rows = patched(4, &STEPS, 5);
        rows.retain(|row| row.layer != Layer(3) || row.strength.is_some());
        assert!(patching(&rows).unwrap().contains("layer 4"));
    }

    #[test]
    fn the_sweep_stands_above_the_decodability_of_its_checkpoints() {
        let cd = decodability(5, &STEPS);
        let svg = patching_sweep(&patched(4, &STEPS, 5), &cd).unwrap();
        check("patching-sweep", &svg);
        for label in ["own concept", "another concept", "rather than its own", "Concept Decodability", "10k"] {
            assert!(svg.contains(label), "{label} is missing");
        }
        check("patching-sweep-deep", &patching_sweep(&patched(4, &STEPS, 25), &decodability(25, &STEPS)).unwrap());
        let alone = patching_sweep(&patched(1, &[7], 2), &[]).unwrap();
        check("patching-sweep-1", &alone);
        assert!(!alone.contains("another") && !alone.contains("Decodability"));
        let mut elsewhere = patched(4, &STEPS, 5);
        elsewhere.iter_mut().for_each(|row| row.token = Token::Y(9));
        assert!(!patching_sweep(&elsewhere, &cd).unwrap().contains("Decodability"));
    }

    #[test]
    fn steering_shows_every_concept_and_the_random_direction() {
        let svg = steering(&patched(4, &STEPS, 5), &legend(4)).unwrap();
        check("steering", &svg);
        for label in ["first half to itself", "sparse to others", "random direction", "layer 3"] {
            assert!(svg.contains(label), "{label} is missing");
        }
        check("steering-12", &steering(&patched(12, &STEPS, 5), &legend(12)).unwrap());
    }

    #[test]
    fn odd_rows_are_drawn_without_panic() {
        for value in [f64::NAN, f64::INFINITY, -1e300, 1e300, 0.0] {
            let mut rows = patched(3, &[0, 10], 3);
            rows.iter_mut().step_by(2).for_each(|row| (row.change, row.lo, row.hi) = (value, value, value));
            check(&format!("patching-{value:e}"), &patching(&rows).unwrap());
            check(&format!("patching-sweep-{value:e}"), &patching_sweep(&rows, &[]).unwrap());
            check(&format!("steering-{value:e}"), &steering(&rows, &legend(3)).unwrap());
        }
    }

    #[test]
    fn empty_tables_are_named() {
        assert!(matches!(patching(&[]), Err(PlotError::Empty { figure: "patching", .. })));
        assert!(matches!(patching_sweep(&[], &[]), Err(PlotError::Empty { figure: "patching_sweep", .. })));
        assert!(matches!(steering(&[], &legend(3)), Err(PlotError::Empty { figure: "steering", .. })));
    }
}
