//! What makes a figure hard to read, found in its SVG: for the tests of whoever draws one.

use resvg::usvg::{Group, Node, Rect};

use crate::PlotError;
use crate::png::parse;

/// Text that is cut by the canvas or lies on other text, no text at all, an `id` that could clash with another figure's
/// on the same page, or a number that is none; a sentence each.
///
/// # Errors
/// [`PlotError::Png`] if the text is not an SVG that can be drawn.
pub fn flaws(svg: &str) -> Result<Vec<String>, PlotError> {
    let tree = parse(svg)?;
    let mut boxes = Vec::new();
    text_boxes(tree.root(), &mut boxes);
    let mut flaws = Vec::new();
    if boxes.is_empty() {
        flaws.push("there is no text".to_owned());
    }
    let canvas = tree.size();
    for (index, a) in boxes.iter().enumerate() {
        let inside = a.left() >= 0.0 && a.top() >= 0.0 && a.right() <= canvas.width() && a.bottom() <= canvas.height();
        if !inside {
            flaws.push(format!("text at {a:?} is cut"));
        }
        for b in &boxes[index + 1..] {
            let apart =
                a.right() <= b.left() || b.right() <= a.left() || a.bottom() <= b.top() || b.bottom() <= a.top();
            if !apart {
                flaws.push(format!("text at {a:?} lies on text at {b:?}"));
            }
        }
    }
    for (found, flaw) in [(" id=", "there is an id"), ("NaN", "a number is NaN")] {
        if svg.contains(found) {
            flaws.push(flaw.to_owned());
        }
    }
    Ok(flaws)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn of(inner: &str) -> Vec<String> {
        flaws(&format!(r#"<svg width="90" height="40" xmlns="http://www.w3.org/2000/svg">{inner}</svg>"#)).unwrap()
    }

    #[test]
    fn every_flaw_is_found() {
        let text = |x: u32| format!(r#"<text x="{x}" y="20" font-family="sans-serif" font-size="12">word</text>"#);
        assert!(of(&text(1)).is_empty());
        assert!(of("")[0].contains("no text"));
        assert!(of(&text(80))[0].contains("is cut"));
        assert!(of(&[text(1), text(9)].concat())[0].contains("lies on text"));
        assert!(of(&text(1).replace("<text", r#"<text id="a""#))[0].contains("an id"));
        assert!(of(&text(1).replace("word", "NaN"))[0].contains("NaN"));
    }
}
