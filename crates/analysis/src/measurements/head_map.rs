//! A number for every attention head, as a map.

use std::collections::BTreeSet;

use plots::grid::{Cell, Grid};
use plots::heat::Scale;
use plots::style::UNITS;
use plots::ticks::{cell_axis, signed};
use probe::Layer;

/// A head, by the layer that its block writes and its number, with its value.
pub(super) type OfHead = ((Layer, usize), f64);

/// Layers upwards and heads along, with every value to thousandths.
pub(super) fn head_map(title: String, x: &str, values: &[OfHead], scale: &Scale) -> Grid {
    let layers: BTreeSet<usize> = values.iter().map(|((layer, _), _)| layer.0).collect();
    let heads: BTreeSet<usize> = values.iter().map(|((_, head), _)| *head).collect();
    let numbers = |all: &BTreeSet<usize>| all.iter().map(usize::to_string).collect::<Vec<_>>();
    let place = |all: &BTreeSet<usize>, number| all.range(..number).count();
    let cell = |((layer, head), value): &OfHead| Cell {
        column: place(&heads, *head),
        row: place(&layers, layer.0),
        value: *value,
        lines: vec![signed((1000.0 * value).round() / 1000.0)],
    };
    Grid {
        title,
        x: cell_axis(x, &numbers(&heads), 10),
        y: cell_axis("layer", &numbers(&layers), 13),
        cells: values.iter().map(cell).collect(),
        scale: scale.clone(),
        bar: true,
    }
}

/// The height of a map of so many layers.
pub(super) fn map_height(layers: usize) -> u32 {
    (26 * layers as u32 + 130).clamp(210, 420) * UNITS
}
