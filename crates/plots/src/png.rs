//! From SVG text to the pixels of a PNG.

use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use crate::PlotError;

/// Pixels of a PNG per CSS pixel of the SVG.
const PNG_SCALE: f32 = 2.0;

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

pub(crate) fn parse(svg: &str) -> Result<Tree, PlotError> {
    let options = Options { fontdb: Arc::clone(&FONTS), ..Options::default() };
    Tree::from_str(svg, &options).map_err(unrenderable)
}

fn unrenderable(reason: impl ToString) -> PlotError {
    PlotError::Png { reason: reason.to_string() }
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
