//! Figures: pure functions from table rows to SVG text, and one renderer from that text to PNG.
//!
//! No figure reads a file or a model: it sees the rows a run has written, so an old run can be drawn again by newer
//! code. No figure contains an `id` attribute, so any number of them can be put into one HTML page.

mod algorithms;
mod comparison;
mod correlation;
mod emergence;
mod ends;
mod grid;
mod groups;
mod heatmap;
mod lags;
mod maps;
mod pairs;
mod panel;
mod patching;
mod positions;
mod pruning;
mod reading;
mod replacement;
mod separation;
mod sites;
mod style;
mod transplant;

use std::sync::{Arc, LazyLock};

use plotters::drawing::DrawingAreaErrorKind;
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};
use thiserror::Error;

pub use algorithms::algorithms;
pub use comparison::comparison;
pub use correlation::cd_against_error;
pub use emergence::emergence;
pub(crate) use emergence::query;
pub use ends::ends;
pub use heatmap::heatmap;
pub use lags::lags;
pub use maps::maps;
pub(crate) use pairs::MOST_PAIRED;
pub use pairs::{mean_pairs, pairs};
pub use patching::{patching, patching_sweep, steering};
pub use positions::positions;
pub(crate) use pruning::MOST_PRUNED;
pub use pruning::pruning;
pub use reading::reading;
pub use replacement::replacement;
pub use separation::separation;
pub use sites::sites;
pub use transplant::transplant;

/// Pixels of a PNG per CSS pixel of the SVG.
const PNG_SCALE: f32 = 2.0;

/// Why a figure could not be drawn.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlotError {
    /// The table has no row that this figure shows.
    #[error("figure {figure} needs rows that {table} does not have")]
    Empty {
        /// The figure that was asked for.
        figure: &'static str,
        /// The table, with the rows looked for.
        table: &'static str,
    },
    /// The drawing library failed.
    #[error("cannot draw the figure: {reason}")]
    Draw {
        /// What it said.
        reason: String,
    },
    /// The SVG could not be turned into a PNG.
    #[error("cannot render the figure as PNG: {reason}")]
    Png {
        /// What the renderer said.
        reason: String,
    },
}

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for PlotError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self::Draw { reason: error.to_string() }
    }
}

/// The typeface of all figures. It travels in the program, so that a PNG does not depend on the fonts of a machine.
static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    for face in [dejavu::sans::regular(), dejavu::sans::bold()] {
        fonts.load_font_source(fontdb::Source::Binary(Arc::new(face)));
    }
    fonts.set_sans_serif_family("DejaVu Sans");
    Arc::new(fonts)
});

/// Renders the SVG of a figure as a PNG file, at two pixels per CSS pixel.
///
/// The PNG is made from the SVG and from nothing else, so the two cannot differ.
///
/// # Errors
/// [`PlotError::Png`] if the text is not an SVG that can be drawn.
pub fn png(svg: &str) -> Result<Vec<u8>, PlotError> {
    let tree = parse(svg)?;
    let size = tree.size().to_int_size().scale_by(PNG_SCALE).ok_or_else(|| unrenderable("its size is zero"))?;
    let mut pixels = Pixmap::new(size.width(), size.height()).ok_or_else(|| unrenderable("it is too large"))?;
    resvg::render(&tree, Transform::from_scale(PNG_SCALE, PNG_SCALE), &mut pixels.as_mut());
    pixels.encode_png().map_err(unrenderable)
}

fn parse(svg: &str) -> Result<Tree, PlotError> {
    let options = Options { fontdb: Arc::clone(&FONTS), ..Options::default() };
    Tree::from_str(svg, &options).map_err(unrenderable)
}

fn unrenderable(reason: impl ToString) -> PlotError {
    PlotError::Png { reason: reason.to_string() }
}

/// Planted tables, and the check that every figure has to pass.
#[cfg(test)]
mod testing {
    use resvg::usvg::{Group, Node, Rect};
    use run::{BaselineRow, DecodabilityRow, MapRow, MetricRow};

    use super::{parse, png};

    pub(super) const CONCEPTS: [&str; 4] = ["first half", "second half", "alternating", "sparse"];
    /// Positions in a planted prompt.
    pub(super) const PAIRS: usize = 10;

    /// Noise that needs no generator: the fractional part of a large sine, centred on 0.
    pub(super) fn noise(seed: usize) -> f64 {
        let wave = (seed as f64 * 12.9898).sin() * 43758.5453;
        wave - wave.floor() - 0.5
    }

    fn sigmoid(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }

    pub(super) fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| CONCEPTS.get(i).map_or_else(|| format!("concept {i}"), ToString::to_string)).collect()
    }

    /// Falls from 1 to a plateau at 0.43, then to 0.19, as the published runs do.
    fn error_at(step: f64, concept: usize) -> f64 {
        let delay = concept as f64 * 350.0;
        1.0 - 0.57 * sigmoid((step - 1200.0) / 220.0) - 0.24 * sigmoid((step - 4500.0 - delay) / 350.0)
    }

    /// What an error averaged over a prompt is at one position: nothing is known at the first.
    fn at_position(mean: f64, position: usize) -> f64 {
        mean.powf(1.6 * (position as f64 - 1.0) / (PAIRS as f64 - 1.0))
    }

    pub(super) fn metrics(concepts: usize, steps: &[usize]) -> Vec<MetricRow> {
        let mut rows = Vec::new();
        for &step in steps {
            let mut row = |concept: Option<String>, position, error: f64| {
                let split = "eval".to_owned();
                rows.push(MetricRow { step, split, concept, position, mse: 2.0 * error, relative_mse: error });
            };
            for (index, name) in names(concepts).into_iter().enumerate() {
                row(Some(name), None, error_at(step as f64, index) + 0.012 * noise(step + 77 * index));
            }
            let mean = error_at(step as f64, 1);
            row(None, None, mean);
            (1..=PAIRS).for_each(|position| row(None, Some(position), at_position(mean, position)));
        }
        rows
    }

    pub(super) fn baselines(predictors: &[(&str, f64)]) -> Vec<BaselineRow> {
        let positions = || std::iter::once(None).chain((1..=PAIRS).map(Some));
        let row = |&(predictor, mean): &(&str, f64), position: Option<usize>| {
            let error = position.map_or(mean, |position| at_position(mean, position));
            let predictor = predictor.to_owned();
            BaselineRow { predictor, concept: None, position, mse: error, relative_mse: error, posterior: None }
        };
        predictors.iter().flat_map(|predictor| positions().map(move |position| row(predictor, position))).collect()
    }

    pub(super) fn usual_baselines() -> Vec<BaselineRow> {
        baselines(&[("zero", 1.0), ("ridge", 0.42), ("bayes", 0.185), ("oracle", 0.165)])
    }

    pub(super) fn decodability(layers: usize, steps: &[usize]) -> Vec<DecodabilityRow> {
        let mut rows = Vec::new();
        for (&step, layer) in steps.iter().flat_map(|step| (0..layers).map(move |layer| (step, layer))) {
            let depth = layer as f64 / (layers.max(2) - 1) as f64;
            let rise = sigmoid((step as f64 - 4300.0 + 900.0 * depth) / 500.0) * depth.sqrt();
            let score = 0.25 + 0.73 * rise + 0.01 * noise(step + layer);
            let row = |token: &str, probe: &str, score: f64| DecodabilityRow {
                step,
                layer,
                token: token.to_owned(),
                probe: probe.to_owned(),
                concept: None,
                score,
                chance: 0.25,
                lo: score - 0.03,
                hi: score + 0.03,
                n: 20,
            };
            rows.extend([row("x10", "knn", score), row("x9", "knn", 0.3), row("x10", "knn_shuffled", 0.25)]);
        }
        rows
    }

    pub(super) fn map(concepts: usize, steps: &[usize]) -> Vec<MapRow> {
        let mut rows = Vec::new();
        for (&step, (concept, name)) in
            steps.iter().flat_map(|step| names(concepts).into_iter().enumerate().map(move |c| (step, c)))
        {
            let apart = 4.0 * sigmoid((step as f64 - 4000.0) / 900.0);
            let angle = std::f64::consts::TAU * (concept as f64 + 0.3) / concepts as f64;
            rows.extend((0..60).map(|i| MapRow {
                step,
                layer: 4,
                token: "x10".to_owned(),
                concept: name.clone(),
                method: "pca".to_owned(),
                x: apart * angle.cos() + (noise(i) + noise(i + 91) + noise(step + i)) * 1.6,
                y: apart * angle.sin() + noise(i + 500) + noise(i + 91 * concept) + noise(step + 3 * i),
                explained_x: Some(0.41),
                explained_y: Some(0.23),
            }));
        }
        rows
    }

    pub(super) fn checkpoints() -> Vec<usize> {
        (0..=40).map(|i| i * 250).collect()
    }

    fn text_boxes(group: &Group, found: &mut Vec<Rect>) {
        for node in group.children() {
            match node {
                Node::Group(inner) => text_boxes(inner, found),
                Node::Text(text) => found.push(text.abs_bounding_box()),
                _ => {}
            }
        }
    }

    /// The figure renders, carries no `id`, and no piece of text is cut by the canvas or lies on another.
    /// With `PLOTS_DIR` set it is also written there, to be looked at.
    pub(super) fn check(name: &str, svg: &str) {
        let image = png(svg).unwrap();
        if let Some(folder) = std::env::var_os("PLOTS_DIR") {
            std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), image).unwrap();
        }
        let tree = parse(svg).unwrap();
        let mut boxes = Vec::new();
        text_boxes(tree.root(), &mut boxes);
        assert!(!boxes.is_empty(), "{name} has no text");
        let canvas = tree.size();
        for (index, a) in boxes.iter().enumerate() {
            let inside =
                a.left() >= 0.0 && a.top() >= 0.0 && a.right() <= canvas.width() && a.bottom() <= canvas.height();
            assert!(inside, "{name}: text at {a:?} is cut");
            for b in &boxes[index + 1..] {
                let apart =
                    a.right() <= b.left() || b.right() <= a.left() || a.bottom() <= b.top() || b.bottom() <= a.top();
                assert!(apart, "{name}: text at {a:?} lies on text at {b:?}");
            }
        }
        assert!(!svg.contains(" id=") && !svg.contains("NaN"), "{name}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn png_has_twice_the_pixels_of_the_svg() {
        let svg = r#"<svg width="30" height="20" viewBox="0 0 60 40" xmlns="http://www.w3.org/2000/svg"/>"#;
        let image = Pixmap::decode_png(&png(svg).unwrap()).unwrap();
        assert_eq!((image.width(), image.height()), (60, 40));
    }

    #[test]
    fn png_refuses_what_is_no_svg() {
        assert!(matches!(png("<p>no figure</p>"), Err(PlotError::Png { .. })));
    }
}
