//! What all figures share: colours, type, numbers as text, tick positions, and labels that do not overlap.

use std::ops::Range;
use std::sync::Once;

use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::prelude::SVGBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontFamily, FontStyle, IntoFont, RGBColor, TextStyle, WHITE, register_font};

use run::ProbeKind;

use super::PlotError;

/// Drawing units per CSS pixel. Plotters rounds to whole units, so finer units make smoother lines.
pub(super) const UNITS: u32 = 2;
/// Width of a figure, in units.
pub(super) const WIDTH: u32 = 1000 * UNITS;
/// Type size of everything but titles: 17 CSS pixels.
pub(super) const TYPE: u32 = 17 * UNITS;
/// Distance from one line of type to the next, in units.
pub(super) const LINE: u32 = 22 * UNITS;

/// Text and axes.
pub(super) const INK: RGBColor = RGBColor(40, 40, 40);
/// What stays in the background: axis lines and reference levels of no interest.
pub(super) const GREY: RGBColor = RGBColor(120, 120, 120);
/// Grid lines and cells without a value.
pub(super) const GRID: RGBColor = RGBColor(228, 228, 228);

/// Where figures are drawn.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

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

/// Colour of the concept that comes `index`-th in alphabetical order; beyond six they repeat, darker
/// twice, then from the start.
pub(super) fn concept_color(index: usize) -> RGBColor {
    const LAPS: [f64; 3] = [1.0, 0.65, 0.4];
    let lap = index / OKABE_ITO.len();
    darker(OKABE_ITO[index % OKABE_ITO.len()], LAPS[lap % LAPS.len()])
}

/// The colour at `brightness` (0 black, 1 unchanged). Coloured type needs it to be legible on white.
pub(super) fn darker(RGBColor(red, green, blue): RGBColor, brightness: f64) -> RGBColor {
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
pub(super) fn viridis(value: f64) -> RGBColor {
    let place = value.clamp(0.0, 1.0) * (VIRIDIS.len() - 1) as f64;
    let below = (place as usize).min(VIRIDIS.len() - 2);
    let share = place - below as f64;
    let mix = |a: u8, b: u8| (f64::from(a) + share * (f64::from(b) - f64::from(a))).round() as u8;
    let (RGBColor(r0, g0, b0), RGBColor(r1, g1, b1)) = (VIRIDIS[below], VIRIDIS[below + 1]);
    RGBColor(mix(r0, r1), mix(g0, g1), mix(b0, b1))
}

/// Colour of a quantity between 0 and 1 that has a middle: from Okabe and Ito's blue over white to their vermilion, which
/// colour-blind readers tell apart as well; values outside get the colour of the nearer end.
pub(super) fn diverging(value: f64) -> RGBColor {
    let place = 2.0 * value.clamp(0.0, 1.0) - 1.0;
    let RGBColor(red, green, blue) = if place < 0.0 { OKABE_ITO[0] } else { OKABE_ITO[1] };
    let mix = |end: u8| (255.0 + place.abs() * (f64::from(end) - 255.0)).round() as u8;
    RGBColor(mix(red), mix(green), mix(blue))
}

/// What the score of a probe is called on an axis.
pub(super) fn accuracy_of(probe: ProbeKind) -> String {
    if probe == ProbeKind::CD { "Concept Decodability".to_owned() } else { accuracy_in_short(probe) }
}

/// The same in a line of text.
pub(super) fn accuracy_in_short(probe: ProbeKind) -> String {
    if probe == ProbeKind::CD { "CD".to_owned() } else { format!("{} probe", probe.name().replace('_', " ")) }
}

/// How a closed-form predictor is shown in every figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PredictorStyle {
    /// Text at the end of its line.
    pub(super) label: String,
    /// Colour of line and label. Predictors are grey: colour belongs to concepts, layers and checkpoints.
    pub(super) color: RGBColor,
    /// Length of a dash and of the gap behind it, in units.
    pub(super) dash: (u32, u32),
}

/// The style of the predictor called `name`, which is the `index`-th of the names met.
pub(super) fn predictor_style(name: &str, index: usize) -> PredictorStyle {
    const UNKNOWN: [(u32, u32); 4] = [(20, 8), (12, 12), (6, 12), (28, 16)];
    let (label, color, dash) = match name {
        "zero" => ("zero", RGBColor(150, 150, 150), (6, 10)),
        "ridge" => ("ridge (no concept inferred)", RGBColor(90, 90, 90), (14, 10)),
        "bayes" => ("Bayes mixture (optimal)", RGBColor(0, 0, 0), (22, 10)),
        "oracle" => ("oracle", RGBColor(110, 110, 110), (6, 6)),
        "merged_groups" => ("groups known, bases lumped", GREY, UNKNOWN[index % UNKNOWN.len()]),
        other => (other, GREY, UNKNOWN[index % UNKNOWN.len()]),
    };
    let label = match label.strip_prefix("merged_but_") {
        Some(basis) => format!("{basis} known, rest lumped"),
        None => label.replace('_', " "),
    };
    PredictorStyle { label, color, dash }
}

/// Draws on a white canvas of `size` units and returns the SVG text.
pub(super) fn canvas(
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), PlotError>,
) -> Result<String, PlotError> {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    area.fill(&WHITE)?;
    draw(&area)?;
    area.present()?;
    drop(area);
    let extent = |units: u32| format!(r#"width="{}" height="{}""#, size.0 / units, size.1 / units);
    Ok(svg.replacen(&extent(1), &extent(UNITS), 1))
}

/// Type of `size` units. Plotters counts the line height as the size, hence the factor, which its SVG writer takes out.
pub(super) fn font(size: u32, color: RGBColor, style: FontStyle) -> TextStyle<'static> {
    const LINE_HEIGHT: f64 = 1.24;
    static REGISTERED: Once = Once::new();
    // A font that cannot be registered shows as a `PlotError` from the first text that is measured.
    REGISTERED.call_once(|| {
        let _ = register_font("sans-serif", FontStyle::Normal, dejavu::sans::regular());
        let _ = register_font("sans-serif", FontStyle::Bold, dejavu::sans::bold());
    });
    (FontFamily::SansSerif, f64::from(size) * LINE_HEIGHT, style).into_font().color(&color)
}

/// Plain text in the usual size, vertically centred on `at`.
pub(super) fn write(area: &Area<'_>, text: &str, at: (i32, i32), color: RGBColor, side: HPos) -> Result<(), PlotError> {
    let style = font(TYPE, color, FontStyle::Normal).pos(Pos::new(side, VPos::Center));
    Ok(area.draw_text(text, &style, at)?)
}

/// Width of text in the usual size, in units.
pub(super) fn width(text: &str) -> Result<u32, PlotError> {
    let measured = font(TYPE, INK, FontStyle::Normal).font.box_size(text);
    measured.map(|(width, _)| width).map_err(|error| PlotError::Draw { reason: error.to_string() })
}

/// `text`, cut to at most `length` characters with an ellipsis.
pub(super) fn shorten(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length.saturating_sub(1)).chain(['…']).collect()
}

/// A number without trailing zeros: `0.25`, `1`, `12.5`; very large and very small ones as `2.5e-7`.
pub(super) fn number(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if (0.001..1e5).contains(&value.abs()) {
        return format!("{value:.4}").trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    let text = format!("{value:.2e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
}

/// A training step on an axis: `500`, `2k`, `2.5k`, `1.2M`.
pub(super) fn step_on_axis(step: f64) -> String {
    match step.abs() {
        size if size >= 1e6 => format!("{}M", number(step / 1e6)),
        size if size >= 1e3 => format!("{}k", number(step / 1e3)),
        _ => number(step),
    }
}

/// A training step in a title: `12,000`.
pub(super) fn step_in_text(step: usize) -> String {
    let digits = step.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Smallest and largest finite value, if there is one.
pub(super) fn extent(values: impl IntoIterator<Item = f64>) -> Option<Range<f64>> {
    values.into_iter().filter(|value| value.is_finite()).fold(None, |found: Option<Range<f64>>, value| {
        Some(found.map_or(value..value, |range| range.start.min(value)..range.end.max(value)))
    })
}

/// Ticks at multiples of 1, 2 or 5 times a power of ten, about `count` of them, inside the range.
pub(super) fn ticks(range: &Range<f64>, count: usize) -> Vec<f64> {
    let raw = (range.end - range.start) / count as f64;
    if !(raw.is_finite() && raw > 0.0) {
        return vec![range.start];
    }
    let decade = 10_f64.powf(raw.log10().floor());
    let step =
        [1.0, 2.0, 5.0].map(|factor| factor * decade).into_iter().find(|step| *step >= raw).unwrap_or(10.0 * decade);
    let first = (range.start / step - 1e-9).ceil();
    let inside = |value: &f64| *value <= range.end + 1e-9 * step;
    // Every step is at least the raw one, so there can be no more than count + 1.
    (0..=count).map(|index| (first + index as f64) * step).take_while(inside).collect()
}

/// Ticks with their text.
pub(super) fn labelled(places: Vec<f64>, text: impl Fn(f64) -> String) -> Vec<(f64, String)> {
    places.into_iter().map(|place| (place, text(place))).collect()
}

/// At most `most` of `count` indices, evenly spread, with the first and the last among them.
pub(super) fn evenly(count: usize, most: usize) -> Vec<usize> {
    let chosen = count.min(most);
    let gaps = chosen.saturating_sub(1).max(1);
    (0..chosen).map(|index| (index * (count - 1) + gaps / 2) / gaps).collect()
}

/// Moves labels apart, as little as possible: each wants its centre at `wanted`, none is closer than `gap` to the
/// next, all lie inside the bounds, and their order stays. If they cannot fit, the gap shrinks until they do.
///
/// With the gaps taken out, this is least squares under an order constraint, which pooling neighbours solves exactly.
pub(super) fn spread(wanted: &[f64], gap: f64, bounds: &Range<f64>) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    let gaps = wanted.len().saturating_sub(1) as f64;
    let gap = gap.min((bounds.end - bounds.start) / gaps.max(1.0));
    // Pools of labels that touch: (sum of wanted places, labels).
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (rank, &label) in order.iter().enumerate() {
        let mut pool = (wanted[label] - rank as f64 * gap, 1);
        while let Some(&(sum, count)) = pools.last()
            && sum / count as f64 > pool.0 / pool.1 as f64
        {
            pool = (pool.0 + sum, pool.1 + count);
            pools.pop();
        }
        pools.push(pool);
    }
    let places = pools.iter().flat_map(|&(sum, count)| std::iter::repeat_n(sum / count as f64, count));
    let last = (bounds.end - gaps * gap).max(bounds.start);
    let mut centres = vec![0.0; wanted.len()];
    for ((rank, &label), place) in order.iter().enumerate().zip(places) {
        centres[label] = place.clamp(bounds.start, last) + rank as f64 * gap;
    }
    centres
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0.0015, 99999.0, 250_000.0, 2.5e-7, -3.0].map(number),
            ["0.0015", "99999", "2.5e5", "2.5e-7", "-3"]
        );
        assert_eq!([0.25, 1.0, 0.30000000000000004, -0.0, 1e-5].map(number), ["0.25", "1", "0.3", "0", "1e-5"]);
        assert_eq!([0.0, 500.0, 2000.0, 2500.0, 1.2e6].map(step_on_axis), ["0", "500", "2k", "2.5k", "1.2M"]);
        assert_eq!([0, 999, 2000, 1234567].map(step_in_text), ["0", "999", "2,000", "1,234,567"]);
        assert_eq!(shorten("concept", 5), "conc…");
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks(&(0.0..10000.0), 6), [0.0, 2000.0, 4000.0, 6000.0, 8000.0, 10000.0]);
        assert_eq!(ticks(&(0.0..1.0), 5).len(), 6);
        assert_eq!(ticks(&(3.0..3.0), 5), [3.0]);
        assert_eq!(evenly(9, 4), [0, 3, 5, 8]);
        assert_eq!(evenly(1, 4), [0]);
        assert!(evenly(0, 4).is_empty());
    }

    #[test]
    fn colour_map_ends_where_viridis_does() {
        assert_eq!([-1.0, 1.0, 2.0].map(viridis), [VIRIDIS[0], VIRIDIS[8], VIRIDIS[8]]);
    }

    #[test]
    fn unknown_predictors_differ_from_each_other() {
        assert_ne!(predictor_style("mine", 0), predictor_style("yours", 1));
        assert_eq!(predictor_style("bayes", 0), predictor_style("bayes", 3));
    }

    proptest! {
        #[test]
        fn labels_never_overlap(wanted in prop::collection::vec(-50.0..450.0_f64, 0..17)) {
            let (gap, bounds) = (20.0, 0.0..400.0);
            let centres = spread(&wanted, gap, &bounds);
            for (a, (wanted_a, centre_a)) in wanted.iter().zip(&centres).enumerate() {
                prop_assert!((-1e-6..=400.0 + 1e-6).contains(centre_a));
                for (wanted_b, centre_b) in wanted.iter().zip(&centres).skip(a + 1) {
                    prop_assert!((centre_a - centre_b).abs() >= gap - 1e-6);
                    prop_assert!(wanted_a == wanted_b || (wanted_a < wanted_b) == (centre_a < centre_b));
                }
            }
        }

        #[test]
        fn labels_apart_already_stay(start in 0.0..30.0_f64, count in 1..8_usize) {
            let wanted: Vec<f64> = (0..count).map(|index| start + 25.0 * index as f64).collect();
            for (centre, wanted) in spread(&wanted, 20.0, &(0.0..400.0)).iter().zip(&wanted) {
                prop_assert!((centre - wanted).abs() < 1e-9);
            }
        }
    }
}
