//! What several runs say when a state is replaced.

use std::collections::BTreeSet;

use data::Token;
use probe::Layer;

use super::{OverRuns, Replacement, ReplacementRow, at_end, collect_by};
use crate::{PatchKind, PatchRow};

/// What replaces a state, in the order of the rows.
const BY: [Replacement; 5] =
    [Replacement::Own, Replacement::Other, Replacement::Overall, Replacement::Random, Replacement::Itself];

/// Means over the runs of a group, from each run's rows at its last patched checkpoint; steering is left out.
pub(super) fn replacements(group: &str, runs: &[Vec<PatchRow>]) -> Vec<ReplacementRow> {
    let at_end = runs.iter().enumerate().flat_map(|(run, rows)| at_end(rows).map(move |row| (run, row)));
    let replaced: Vec<(usize, &PatchRow)> = at_end.filter(|(_, row)| row.strength.is_none()).collect();
    let places: BTreeSet<(Layer, Token)> = replaced.iter().map(|(_, row)| (row.layer, row.token)).collect();
    let row = |((layer, token), by): ((Layer, Token), Replacement)| {
        let here =
            replaced.iter().filter(|(_, row)| (row.layer, row.token) == (layer, token) && replacement(row) == by);
        let of_runs = collect_by(here, |(run, _)| *run);
        let mean =
            |rows: &Vec<&(usize, &PatchRow)>| rows.iter().map(|(_, row)| row.change).sum::<f64>() / rows.len() as f64;
        let OverRuns { value: change, interval } = OverRuns::mean(&of_runs.values().map(mean).collect::<Vec<_>>())?;
        let count = |counts: fn(&PatchRow) -> bool| of_runs.values().flatten().filter(|(_, row)| counts(row)).count();
        Some(ReplacementRow {
            group: group.to_owned(),
            layer,
            token,
            by,
            change,
            lo: interval.map(|[lo, _]| lo),
            hi: interval.map(|[_, hi]| hi),
            n: of_runs.len(),
            pairs: count(|_| true),
            lowered: count(|row| row.hi < 0.0),
            raised: count(|row| row.lo > 0.0),
        })
    };
    places.into_iter().flat_map(|place| BY.map(|by| (place, by))).filter_map(row).collect()
}

fn replacement(row: &PatchRow) -> Replacement {
    match (&row.target, row.kind) {
        (Some(target), _) if *target == row.source => Replacement::Own,
        (Some(_), _) | (None, PatchKind::Concept) => Replacement::Other,
        (None, PatchKind::Overall) => Replacement::Overall,
        (None, PatchKind::Random) => Replacement::Random,
        (None, PatchKind::Itself) => Replacement::Itself,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(step: usize, kind: PatchKind, source: &str, target: Option<&str>, change: f64) -> PatchRow {
        PatchRow {
            step,
            layer: Layer(2),
            token: Token::X(6),
            position: 6,
            kind,
            source: source.to_owned(),
            target: target.map(str::to_owned),
            strength: None,
            error: 1.0 + change,
            change,
            lo: change - 0.1,
            hi: change + 0.1,
            n: 50,
            mean_n: 100,
        }
    }

    #[test]
    fn a_case_small_enough_for_the_head() {
        let run = |by: f64| {
            vec![
                patch(100, PatchKind::Concept, "A", Some("A"), -9.0),
                patch(200, PatchKind::Concept, "A", Some("A"), -0.3 + by),
                patch(200, PatchKind::Concept, "B", Some("B"), -0.05 + by),
                patch(200, PatchKind::Concept, "A", Some("B"), 0.4 + by),
                patch(200, PatchKind::Concept, "B", Some("A"), 0.6 + by),
                patch(200, PatchKind::Random, "A", None, 2.0),
                PatchRow { strength: Some(1.0), ..patch(200, PatchKind::Concept, "A", Some("A"), -9.0) },
            ]
        };
        let found = replacements("main", &[run(0.0), run(0.1)]);
        let by: Vec<Replacement> = found.iter().map(|row| row.by).collect();
        assert_eq!(by, [Replacement::Own, Replacement::Other, Replacement::Random]);
        let [own, other, random] = found.try_into().unwrap();
        // Run means −0.175 and −0.075; in the first run A is lowered beyond its interval, in the second as well.
        assert!((own.change + 0.125).abs() < 1e-12 && own.lo.unwrap() < own.change, "{own:?}");
        assert_eq!((own.n, own.pairs, own.lowered, own.raised), (2, 4, 2, 0));
        assert!((other.change - 0.55).abs() < 1e-12);
        assert_eq!((other.pairs, other.lowered, other.raised), (4, 0, 4));
        assert_eq!((random.change, random.lo, random.hi), (2.0, Some(2.0), Some(2.0)));
    }
}
