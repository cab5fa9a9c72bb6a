//! Labels that are short, tell things apart, and do not overlap.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::PlotError;
use crate::style::{heading_width, width};

/// `text`, cut to at most `length` characters with an ellipsis.
pub fn shorten(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length.saturating_sub(1)).chain(['…']).collect()
}

/// `text`, cut to at most `room` units with an ellipsis.
pub fn fit(text: &str, room: u32) -> Result<String, PlotError> {
    fit_by(width, text, room)
}

/// A heading in one line, or broken between words into two, each of at most `room` units. What is longer ends with an
/// ellipsis.
pub fn heading_lines(text: &str, room: u32) -> Result<Vec<String>, PlotError> {
    let mut first = String::new();
    for word in text.split_inclusive(' ') {
        let longer = format!("{first}{word}");
        if !first.is_empty() && heading_width(longer.trim_end())? > room {
            break;
        }
        first = longer;
    }
    let lines = [first.trim_end(), &text[first.len()..]].into_iter().filter(|line| !line.is_empty());
    lines.map(|line| fit_by(heading_width, line, room)).collect()
}

fn fit_by(width: fn(&str) -> Result<u32, PlotError>, text: &str, room: u32) -> Result<String, PlotError> {
    // A letter is wider than a unit, and a name may be as long as a file.
    let mut length = text.chars().count().min(room as usize);
    while length > 1 && width(&shorten(text, length))? > room {
        length -= 1;
    }
    Ok(shorten(text, length))
}

/// The names, cut to at most `length` characters: at the end where that leaves different ones different, else at the
/// beginning.
pub fn shorten_apart(names: &[String], length: usize) -> Vec<String> {
    let distinct = |names: &[String]| names.iter().collect::<BTreeSet<_>>().len();
    let at_end: Vec<String> = names.iter().map(|name| shorten(name, length)).collect();
    if distinct(&at_end) == distinct(names) { at_end } else { names.iter().map(|name| end(name, length)).collect() }
}

/// The last letters of a text, with an ellipsis for those before them.
fn end(text: &str, length: usize) -> String {
    let letters = text.chars().count();
    if letters <= length {
        return text.to_owned();
    }
    std::iter::once('…').chain(text.chars().skip(letters + 1 - length.max(1))).collect()
}

/// Moves labels apart, as little as possible: each wants its centre at `wanted`, none is closer than `gap` to the
/// next, all lie inside the bounds, and their order stays. If they cannot fit, the gap shrinks until they do.
///
/// With the gaps taken out, this is least squares under an order constraint, which pooling neighbours solves exactly.
pub fn spread(wanted: &[f64], gap: f64, bounds: &Range<f64>) -> Vec<f64> {
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
    fn what_is_cut_ends_with_an_ellipsis() {
        assert_eq!(["concept", "short"].map(|text| shorten(text, 5)), ["conc…", "short"]);
        let room = width("a long name").unwrap();
        assert_eq!(fit("a long name", room).unwrap(), "a long name");
        assert!(width(&fit("a longer name", room).unwrap()).unwrap() <= room);
    }

    #[test]
    fn a_heading_is_broken_between_words_and_cut_behind_the_second_line() {
        let room = heading_width("mean of five seeds").unwrap();
        let lines = |text: &str| heading_lines(text, room).unwrap();
        assert_eq!(lines(""), Vec::<String>::new());
        assert_eq!(lines("mean of five seeds"), ["mean of five seeds"]);
        assert_eq!(lines("mean of five seeds, their band"), ["mean of five", "seeds, their band"]);
        let cut = lines("mean of five seeds, and their band from the lowest to the highest");
        assert!(cut.len() == 2 && cut[1].starts_with("seeds, and") && cut[1].ends_with('…'), "{cut:?}");
        assert!(lines(&"m".repeat(99))[0].ends_with('…'));
    }

    #[test]
    fn what_differs_at_the_end_is_cut_at_the_beginning() {
        let cut = |names: [&str; 2]| shorten_apart(&names.map(str::to_owned), 6);
        assert_eq!(cut(["a long name 1", "another"]), ["a lon…", "anoth…"]);
        assert_eq!(cut(["a long name 1", "a long name 2"]), ["…ame 1", "…ame 2"]);
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
