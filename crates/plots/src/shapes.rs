//! What figures of a form of their own are made of: the drawing library's shapes, places of text and colours.

pub use plotters::chart::ChartBuilder;
pub use plotters::element::{Circle, Rectangle};
pub use plotters::style::text_anchor::{HPos, Pos, VPos};
pub use plotters::style::{Color, FontStyle, FontTransform, RGBColor, ShapeStyle, WHITE};
