//! Figures as SVG and PNG, and the HTML page around them.
//!
//! Everything here is made of numbers and text: no table, no file and no model. [`panel::Panel`] is a plot of lines named
//! where they end, [`grid::Grid`] one of coloured cells, [`page::Report`] a page that shows figures, and
//! [`explore::Exploration`] a page that one can play with. A figure is SVG
//! text; [`png()`] makes its PNG from that text. No figure contains an `id` attribute, so any number of them can be put
//! into one page. Every function that draws or measures text fails with [`PlotError::Draw`] where the drawing library does.
//!
//! ```
//! use plots::color::color_of;
//! use plots::panel::{Axis, Curve, Panel};
//! use plots::ticks::{labelled, number, ticks};
//!
//! let axis = |title: &str| Axis::new(title, 0.0..1.0, labelled(ticks(&(0.0..1.0), 5), number));
//! let square = (0..=20).map(|i| f64::from(i) / 20.0).map(|x| (x, x * x));
//! let curves = vec![Curve::new("x²", color_of(0), square)];
//! let panel = Panel { title: "A parabola".to_owned(), x: axis("x"), y: axis("y"), curves };
//! let svg = panel.figure(800)?;
//! assert!(svg.contains("A parabola") && plots::flaws(&svg)?.is_empty());
//! # Ok::<(), plots::PlotError>(())
//! ```

pub mod color;
pub mod explore;
mod flaws;
pub mod grid;
pub mod heat;
pub mod labels;
pub mod page;
pub mod panel;
mod png;
pub mod shapes;
pub mod style;
pub mod ticks;

use plotters::drawing::DrawingAreaErrorKind;
use thiserror::Error;

pub use flaws::flaws;
pub use png::png;

/// Why a figure could not be drawn.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlotError {
    /// There is nothing of what this figure shows.
    #[error("figure {figure} needs rows that {origin} does not have")]
    Empty {
        /// The figure that was asked for.
        figure: &'static str,
        /// Where the rows would come from, and which ones were looked for.
        origin: &'static str,
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
