//! A number for every attention head, as a map.

use std::collections::BTreeSet;

use plots::grid::{Cell, Grid};
use plots::heat::Scale;
use plots::style::UNITS;
use plots::ticks::{cell_axis, signed};
use probe::Layer;

/// A head, by the layer that its block writes and its number, with its value; without a number all heads of the block.
pub(super) type OfHead = ((Layer, Option<usize>), f64);

/// Layers upwards and heads along, all together first, with every value to thousandths.
pub(super) fn head_map(title: String, x: &str, values: &[OfHead], scale: &Scale) -> Grid {
    let layers: BTreeSet<usize> = values.iter().map(|((layer, _), _)| layer.0).collect();
    let heads: BTreeSet<Option<usize>> = values.iter().map(|((_, head), _)| *head).collect();
    let layer_names: Vec<String> = layers.iter().map(usize::to_string).collect();
    let name = |head: &Option<usize>| head.map_or_else(|| "all".to_owned(), |head| head.to_string());
    let head_names: Vec<String> = heads.iter().map(name).collect();
    let cell = |((layer, head), value): &OfHead| Cell {
        column: heads.range(..*head).count(),
        row: layers.range(..layer.0).count(),
        value: *value,
        lines: vec![signed((1000.0 * value).round() / 1000.0)],
    };
    Grid {
        title,
        x: cell_axis(x, &head_names, 10),
        y: cell_axis("layer", &layer_names, 13),
        cells: values.iter().map(cell).collect(),
        scale: scale.clone(),
        bar: true,
    }
}

/// The height of a map of so many layers.
pub(super) fn map_height(layers: usize) -> u32 {
    (26 * layers as u32 + 130).clamp(210, 420) * UNITS
}
