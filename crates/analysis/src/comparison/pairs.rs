//! How well each two concepts are told apart, over several runs.

use super::{MeanPairRow, OverRuns, at_end, collect_by};
use crate::PairRow;

/// Means over the runs of a group, from each run's rows at its last checkpoint, in the order of the task's concepts.
pub(super) fn mean_pairs(group: &str, runs: &[Vec<PairRow>]) -> Vec<MeanPairRow> {
    let rows: Vec<(usize, &PairRow)> = runs.iter().flat_map(|rows| at_end(rows)).enumerate().collect();
    let place = |(_, row): &(usize, &PairRow)| (row.token, row.concept.clone(), row.other.clone());
    let mut places: Vec<_> = collect_by(&rows, place).into_iter().collect();
    places.sort_by_key(|(_, rows)| rows[0].0);
    let mean = |((token, concept, other), rows): (_, Vec<&(usize, &PairRow)>)| {
        let OverRuns { value: score, interval } =
            OverRuns::mean(&rows.iter().map(|(_, row)| row.score).collect::<Vec<_>>())?;
        let (lo, hi) = (interval.map(|[lo, _]| lo), interval.map(|[_, hi]| hi));
        Some(MeanPairRow { group: group.to_owned(), token, concept, other, score, lo, hi, n: rows.len() })
    };
    places.into_iter().filter_map(mean).collect()
}

#[cfg(test)]
mod tests {
    use data::Token;
    use probe::Layer;

    use super::*;

    #[test]
    fn a_pair_is_averaged_over_the_ends_of_runs() {
        let row = |step, other: &str, score| PairRow {
            step,
            layer: Layer(5),
            token: Token::X(6),
            concept: "A".to_owned(),
            other: other.to_owned(),
            score,
            lo: score,
            hi: score,
            n: 10,
        };
        let runs = [
            vec![row(0, "C", 0.5), row(40, "C", 0.75), row(40, "B", 1.0)],
            vec![row(20, "C", 0.25), row(20, "B", 1.0)],
            Vec::new(),
        ];
        let found = mean_pairs("main", &runs);
        let told: Vec<_> = found.iter().map(|row| (row.other.as_str(), row.score, row.n)).collect();
        assert_eq!(told, [("C", 0.5, 2), ("B", 1.0, 2)]);
        assert!(found[0].lo.unwrap() < 0.5 && found[1].lo == Some(1.0));
    }
}
