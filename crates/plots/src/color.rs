//! Colours: for things that have no order, for quantities, and for quantities that have a middle.

use plotters::style::{RGBColor, WHITE};

use crate::style::INK;

/// Okabe and Ito's colours, told apart by colour-blind readers as well; their yellow is left out, being invisible on
/// white.
///
/// # Source
/// Okabe and Ito, *Color Universal Design* (2008), <https://jfly.uni-koeln.de/color/>.
const OKABE_ITO: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// Colour of the `index`-th of several things that have no order; beyond six the colours repeat, darker twice, then from
/// the start.
pub fn color_of(index: usize) -> RGBColor {
    const LAPS: [f64; 3] = [1.0, 0.65, 0.4];
    let lap = index / OKABE_ITO.len();
    darker(OKABE_ITO[index % OKABE_ITO.len()], LAPS[lap % LAPS.len()])
}

/// The colour at `brightness` (0 black, 1 unchanged). Coloured type needs it to be legible on white.
pub fn darker(RGBColor(red, green, blue): RGBColor, brightness: f64) -> RGBColor {
    let dim = |channel: u8| (f64::from(channel) * brightness) as u8;
    RGBColor(dim(red), dim(green), dim(blue))
}

/// Nine of the 256 colours of matplotlib's perceptually uniform map.
///
/// # Source
/// Smith, van der Walt and Firing, viridis (CC0), <https://bids.github.io/colormap/>.
const VIRIDIS: [RGBColor; 9] = [
    RGBColor(68, 1, 84),
    RGBColor(71, 44, 122),
    RGBColor(59, 81, 139),
    RGBColor(44, 113, 142),
    RGBColor(33, 144, 141),
    RGBColor(39, 173, 129),
    RGBColor(92, 200, 99),
    RGBColor(170, 220, 50),
    RGBColor(253, 231, 37),
];

/// Colour of a quantity between 0 and 1; values outside get the colour of the nearer end.
pub fn viridis(value: f64) -> RGBColor {
    let place = value.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let below = (place as usize).min(VIRIDIS.len() - 2);
    let share = place - below as f64;
    let mix = |a: u8, b: u8| (f64::from(a) + share * (f64::from(b) - f64::from(a))).round() as u8;
    let (RGBColor(r0, g0, b0), RGBColor(r1, g1, b1)) = (VIRIDIS[below], VIRIDIS[below + 1]);
    RGBColor(mix(r0, r1), mix(g0, g1), mix(b0, b1))
}

/// Colour of a quantity between 0 and 1 that has a middle: from Okabe and Ito's blue over white to their vermilion, which
/// colour-blind readers tell apart as well; values outside get the colour of the nearer end.
pub fn diverging(value: f64) -> RGBColor {
    let place = 2.0 * value.clamp(0.0, 1.0) - 1.0;
    let RGBColor(red, green, blue) = if place < 0.0 { OKABE_ITO[0] } else { OKABE_ITO[1] };
    let mix = |end: u8| (255.0 + place.abs() * (f64::from(end) - 255.0)).round() as u8;
    RGBColor(mix(red), mix(green), mix(blue))
}

/// Dark type on light colours, white type on dark ones.
///
/// # Source
/// Luma of Rec. 601.
pub(crate) fn legible_on(RGBColor(red, green, blue): RGBColor) -> RGBColor {
    let luma = 0.299 * f64::from(red) + 0.587 * f64::from(green) + 0.114 * f64::from(blue);
    if luma > 140.0 { INK } else { WHITE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_map_ends_where_viridis_does() {
        assert_eq!([-1.0, 1.0, 2.0].map(viridis), [VIRIDIS[0], VIRIDIS[8], VIRIDIS[8]]);
    }

    #[test]
    fn more_than_six_things_get_darker_colours() {
        assert_eq!(color_of(6), darker(color_of(0), 0.65));
        assert_eq!(color_of(18), color_of(0));
    }
}
