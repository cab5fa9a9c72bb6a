//! Numbers as text, and where an axis is labelled.

use std::ops::Range;

use crate::panel::Axis;

/// A number without trailing zeros: `0.25`, `1`, `12.5`; very large and very small ones as `2.5e-7`.
pub fn number(value: f64) -> String {
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

/// A large number on an axis: `500`, `2k`, `2.5k`, `1.2M`.
pub fn compact_number(value: f64) -> String {
    match value.abs() {
        size if size >= 1e6 => format!("{}M", number(value / 1e6)),
        size if size >= 1e3 => format!("{}k", number(value / 1e3)),
        _ => number(value),
    }
}

/// The nearest number with three decimals.
pub fn thousandths(value: f64) -> f64 {
    (1000.0 * value).round() / 1000.0
}

/// A count in a line of text: `12,000`.
pub fn grouped_number(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with its sign: `+0.25`, `-0.1`, `0`.
pub fn signed(value: f64) -> String {
    if value > 0.0 { format!("+{}", number(value)) } else { number(value) }
}

/// Smallest and largest finite value, if there is one.
pub fn extent(values: impl IntoIterator<Item = f64>) -> Option<Range<f64>> {
    values.into_iter().filter(|value| value.is_finite()).fold(None, |found: Option<Range<f64>>, value| {
        Some(found.map_or(value..value, |range| range.start.min(value)..range.end.max(value)))
    })
}

/// Ticks at multiples of 1, 2 or 5 times a power of ten, about `count` of them, inside the range.
pub fn ticks(range: &Range<f64>, count: usize) -> Vec<f64> {
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
pub fn labelled(places: Vec<f64>, text: impl Fn(f64) -> String) -> Vec<(f64, String)> {
    places.into_iter().map(|place| (place, text(place))).collect()
}

/// At most `most` of `count` indices, evenly spread, with the first and the last among them.
pub fn evenly(count: usize, most: usize) -> Vec<usize> {
    let chosen = count.min(most);
    let gaps = chosen.saturating_sub(1).max(1);
    (0..chosen).map(|index| (index * (count - 1) + gaps / 2) / gaps).collect()
}

/// An axis around 0 and the heights, with room above and below.
pub fn around_zero(title: &str, heights: Range<f64>) -> Axis {
    let least = heights.start.min(0.0);
    let space = 0.08 * (heights.end - least).max(f64::MIN_POSITIVE);
    let range = least - space..heights.end + space;
    Axis::new(title, range.clone(), labelled(ticks(&range, 5), number))
}

/// The range, a little longer at both ends, so that no number below an axis lies on one beside it.
pub fn padded(range: &Range<f64>) -> Range<f64> {
    let space = 0.03 * (range.end - range.start);
    range.start - space..range.end + space
}

/// An axis with a cell for each name, of which at most `most` are written.
pub fn cell_axis(title: &str, names: &[String], most: usize) -> Axis {
    let marks = evenly(names.len(), most).into_iter().map(|index| (index as f64, names[index].clone())).collect();
    Axis::new(title, -0.5..names.len() as f64 - 0.5, marks)
}

/// Which of ascending `values`, each of which has its own column, to label: all if they are at most `most`, the round ones
/// where these lie far enough apart, else evenly spread ones.
pub fn marked(values: &[usize], most: usize) -> Vec<usize> {
    if values.len() <= most {
        return (0..values.len()).collect();
    }
    let range = values[0] as f64..values[values.len() - 1] as f64;
    let is_round = |value: f64| ticks(&range, most).contains(&value);
    let round: Vec<usize> = (0..values.len()).filter(|column| is_round(values[*column] as f64)).collect();
    let apart = round.windows(2).all(|pair| (pair[1] - pair[0]) * most * 3 / 2 >= values.len());
    if round.len() > 2 && apart { round } else { evenly(values.len(), most) }
}

/// An axis and the map from a value to its place on it: its logarithm if all are positive, itself otherwise.
pub fn log_axis(title: &str, heights: &Range<f64>) -> (Axis, fn(f64) -> f64) {
    if heights.start <= 0.0 {
        let range = heights.start.min(0.0)..1.04 * heights.end.max(0.0);
        return (Axis::new(title, range.clone(), labelled(ticks(&range, 6), number)), |value| value);
    }
    let (low, high) = (heights.start.log10(), heights.end.log10());
    let space = 0.01 + 0.03 * (high - low);
    let range = low - space..high + space;
    let marks = log_ticks(&range).into_iter().map(|value| (value.log10(), number(value))).collect();
    (Axis::new(format!("{title} (log scale)"), range, marks), f64::log10)
}

/// Ticks inside the range of logarithms: powers of ten, with 2 and 5 times those where there is space for them, or
/// equally spaced values where the range is too short for either.
pub fn log_ticks(range: &Range<f64>) -> Vec<f64> {
    let length = range.end - range.start;
    if length < 0.7 {
        return ticks(&(10_f64.powf(range.start)..10_f64.powf(range.end)), 6);
    }
    let factors: &[f64] = if length < 3.0 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let decades = range.start.floor() as i32..=range.end.ceil() as i32;
    let thinned = decades.step_by((length / 10.0).ceil() as usize);
    let marks = thinned.flat_map(|decade| factors.iter().map(move |factor| factor * 10_f64.powi(decade)));
    marks.filter(|mark| range.contains(&mark.log10())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(
            [0.0015, 99999.0, 250_000.0, 2.5e-7, -3.0].map(number),
            ["0.0015", "99999", "2.5e5", "2.5e-7", "-3"]
        );
        assert_eq!([0.25, 1.0, 0.30000000000000004, -0.0, 1e-5].map(number), ["0.25", "1", "0.3", "0", "1e-5"]);
        assert_eq!([0.0, 500.0, 2000.0, 2500.0, 1.2e6].map(compact_number), ["0", "500", "2k", "2.5k", "1.2M"]);
        assert_eq!([0, 999, 2000, 1234567].map(grouped_number), ["0", "999", "2,000", "1,234,567"]);
        assert_eq!([0.25, 0.0, -0.1].map(signed), ["+0.25", "0", "-0.1"]);
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
    fn round_values_are_labelled_where_they_exist() {
        let linear: Vec<usize> = (0..=40).map(|column| column * 250).collect();
        assert_eq!(marked(&linear, 9), [0, 8, 16, 24, 32, 40]);
        assert_eq!(marked(&[0, 1, 3, 7], 9), [0, 1, 2, 3]);
        let doubling: Vec<usize> = (0..20).map(|column| 1 << column).collect();
        assert_eq!(marked(&doubling, 9), evenly(20, 9));
    }

    #[test]
    fn every_log_axis_has_ticks_inside() {
        for (low, high) in [(0.42, 0.48), (0.1, 1.0), (1e-3, 1.0), (1e-14, 1.0)] {
            let range = f64::log10(low) - 0.01..f64::log10(high) + 0.01;
            let marks = log_ticks(&range);
            assert!((2..=12).contains(&marks.len()), "{marks:?}");
            assert!(marks.iter().all(|mark| (0.97 * low..=1.03 * high).contains(mark)), "{marks:?}");
        }
    }
}
