//! Several runs side by side: means over seeds, decodability against error, and which of the two moves first.

use std::collections::{BTreeMap, BTreeSet};

use data::{Legend, Token};
use probe::ProbeKind;
use record::{Folder, RecordError, Row};

use crate::{PairRow, PatchRow};

mod axis;
mod correlation_figure;
mod curves_figure;
mod ends_figure;
mod groups;
mod lag;
mod lags_figure;
mod pairs;
mod replacement;
mod replacement_figure;
mod rows;
mod statistics;
mod trajectory;
mod write;

use trajectory::trajectories;

pub(crate) use groups::compare_labels;
pub use groups::{differences, group_labels};
pub use lag::{Crossing, crossing};
pub use rows::{
    CorrelationMethod, CorrelationRow, CurveRow, FallFrom, LagRow, MeanPairRow, Measure, PointRow, Replacement,
    ReplacementRow, Scope, SweepRow,
};
pub use statistics::{OverRuns, pearson, spearman};
pub use write::{check_comparison, write_comparison};

/// A run as it is compared: its tables, and of its settings what tells it from others.
#[derive(Clone, Debug)]
pub struct Compared {
    /// Where its tables are.
    pub folder: Folder,
    /// What they name.
    pub legend: Legend,
    /// The name of its experiment with its identity behind it, whatever its folder is called.
    pub run: String,
    /// The name of its experiment.
    pub name: String,
    /// Its seed.
    pub seed: u64,
    /// The token whose decodability is compared: the first probed one.
    pub token: Token,
    /// Every setting as TOML, by its path.
    pub fields: BTreeMap<String, String>,
}

/// What the tables of some runs say, in rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// The end of every run.
    pub runs: Vec<SweepRow>,
    /// Every checkpoint of every run.
    pub points: Vec<PointRow>,
    /// Means over the runs of a group.
    pub curves: Vec<CurveRow>,
    /// How long after the error's fall decodability rises.
    pub lags: Vec<LagRow>,
    /// How decodability and error go together.
    pub correlations: Vec<CorrelationRow>,
    /// What replacing states does, of the runs that were patched.
    pub replacements: Vec<ReplacementRow>,
    /// How well each two concepts are told apart, of the runs whose `separation` was measured.
    pub pairs: Vec<MeanPairRow>,
}

impl Comparison {
    /// Reads the tables of `runs` and compares them; decodability is that of `probe`.
    ///
    /// # Errors
    /// When the disk fails or a table is damaged.
    pub fn read(runs: &[Compared], probe: ProbeKind) -> Result<Self, RecordError> {
        let labels = group_labels(runs);
        let mut found = Self::default();
        let mut runs: Vec<(&Compared, String)> = runs.iter().zip(labels).collect();
        runs.sort_by(|(a, group), (b, other)| compare_labels(group, other).then(a.seed.cmp(&b.seed)));
        let mut patched: BTreeMap<String, Vec<Vec<PatchRow>>> = BTreeMap::new();
        let mut paired: BTreeMap<String, Vec<Vec<PairRow>>> = BTreeMap::new();
        for (run, group) in runs {
            patched.entry(group.clone()).or_default().push(run.folder.table().read()?);
            paired.entry(group.clone()).or_default().push(run.folder.table().read()?);
            for trajectory in trajectories(run, &group, probe)? {
                found.runs.extend(trajectory.end());
                found.lags.extend(trajectory.lags());
                found.points.extend(trajectory.points);
            }
        }
        found.curves = curves(&found.points);
        found.lags.extend(mean_lags(&found.lags));
        found.correlations = correlations(&found.points);
        found.replacements = patched.iter().flat_map(|(group, runs)| replacement::replacements(group, runs)).collect();
        found.pairs = paired.iter().flat_map(|(group, runs)| pairs::mean_pairs(group, runs)).collect();
        Ok(found)
    }
}

/// The rows of the last step.
fn at_end<R: Row>(rows: &[R]) -> impl Iterator<Item = &R> {
    let last = rows.iter().filter_map(Row::step).max();
    rows.iter().filter(move |row| row.step() == last)
}

/// Rows by whatever they share, in the order of the keys.
fn collect_by<'a, R, K: Ord>(rows: impl IntoIterator<Item = &'a R>, key: impl Fn(&R) -> K) -> BTreeMap<K, Vec<&'a R>> {
    let mut found: BTreeMap<K, Vec<&R>> = BTreeMap::new();
    for row in rows {
        found.entry(key(row)).or_default().push(row);
    }
    found
}

fn curves(points: &[PointRow]) -> Vec<CurveRow> {
    type Column = fn(&PointRow) -> Option<f64>;
    let measures: [(Measure, Column); 4] = [
        (Measure::Error, |row| Some(row.error)),
        (Measure::OverBayes, |row| row.over_bayes),
        (Measure::Cd, |row| Some(row.cd)),
        (Measure::Chance, |row| Some(row.chance)),
    ];
    let mut found = Vec::new();
    for ((group, concept, step), rows) in collect_by(points, |row| (row.group.clone(), row.concept.clone(), row.step)) {
        for (measure, of) in measures {
            let values: Vec<f64> = rows.iter().filter_map(|row| of(row)).collect();
            let Some(OverRuns { value: mean, .. }) = OverRuns::mean(&values) else { continue };
            let (lo, hi) = (values.iter().copied().fold(mean, f64::min), values.iter().copied().fold(mean, f64::max));
            let (group, concept) = (group.clone(), concept.clone());
            found.push(CurveRow { group, concept, step, measure, mean, lo, hi, n: values.len() });
        }
    }
    found
}

/// The means over the runs of a group, concept by concept and of the means over a run's concepts.
fn mean_lags(lags: &[LagRow]) -> Vec<LagRow> {
    // A share is one of three constants, so its bits tell it.
    let place = |row: &LagRow| (row.group.clone(), row.from, row.share.to_bits());
    let of_runs = collect_by(lags, |row| (place(row), row.run.clone()));
    let runs: Vec<LagRow> = of_runs.values().filter_map(|rows| mean_lag(rows)).collect();
    let runs = runs.into_iter().map(|row| LagRow { concept: None, ..row });
    let all: Vec<LagRow> = lags.iter().cloned().chain(runs).collect();
    let cells = collect_by(&all, |row| (place(row), row.concept.clone()));
    cells.values().filter_map(|rows| mean_lag(rows)).map(|row| LagRow { run: None, ..row }).collect()
}

fn mean_lag(rows: &[&LagRow]) -> Option<LagRow> {
    let mean = |of: fn(&LagRow) -> f64| OverRuns::mean(&rows.iter().map(|row| of(row)).collect::<Vec<_>>());
    let OverRuns { value: lag, interval } = mean(|row| row.lag)?;
    Some(LagRow {
        error_step: mean(|row| row.error_step)?.value,
        cd_step: mean(|row| row.cd_step)?.value,
        lag,
        lo: interval.map(|[lo, _]| lo),
        hi: interval.map(|[_, hi]| hi),
        n: rows.len(),
        resolution: rows.iter().map(|row| row.resolution).fold(0.0, f64::max),
        ..(*rows.first()?).clone()
    })
}

fn correlations(points: &[PointRow]) -> Vec<CorrelationRow> {
    let concepts: Vec<&PointRow> = points.iter().filter(|row| row.concept.is_some()).collect();
    let groups: BTreeSet<&str> = concepts.iter().map(|row| row.group.as_str()).collect();
    // With one group, all runs are that group.
    let named = if groups.len() > 1 { groups.into_iter().map(Some).collect() } else { Vec::new() };
    // One variable for the whole table.
    let bayes = concepts.iter().all(|row| row.over_bayes.is_some());
    let mut found = Vec::new();
    for group in std::iter::once(None).chain(named) {
        let members: Vec<&PointRow> =
            concepts.iter().copied().filter(|row| group.is_none_or(|group| row.group == group)).collect();
        let runs = collect_by(members.iter().copied(), |row| row.run.clone());
        let ends = runs.values().filter_map(|rows| rows.iter().map(|row| row.step).max());
        let last_of: BTreeMap<&String, usize> = runs.keys().zip(ends).collect();
        let last: Vec<&PointRow> = members.iter().copied().filter(|row| last_of[&row.run] == row.step).collect();
        type Coefficient = fn(&[(f64, f64)]) -> Option<f64>;
        let methods: [(CorrelationMethod, Coefficient); 2] =
            [(CorrelationMethod::Pearson, pearson), (CorrelationMethod::Spearman, spearman)];
        for (method, of) in methods {
            let correlate = |rows: &[&PointRow]| {
                let error = |row: &PointRow| row.over_bayes.filter(|_| bayes).unwrap_or(row.error);
                of(&rows.iter().map(|row| (error(row), row.cd)).collect::<Vec<_>>())
            };
            // One of exactly ±1, by chance of a few points, has no z.
            let has_z = |r: &f64| r.abs() < 1.0;
            let within: Vec<f64> = runs.values().filter_map(|rows| correlate(rows)).filter(has_z).collect();
            let pooled = |rows| correlate(rows).map(|r| OverRuns::pooled_correlation(r, runs.len()));
            let scopes = [
                (Scope::Within, OverRuns::mean_correlation(&within), within.len(), members.len()),
                (Scope::Pooled, pooled(&members), runs.len(), members.len()),
                (Scope::Last, pooled(&last), runs.len(), last.len()),
            ];
            found.extend(scopes.into_iter().filter_map(|(scope, correlation, runs, points)| {
                let OverRuns { value: r, interval } = correlation?;
                let group = group.map(str::to_owned);
                let (lo, hi) = (interval.map(|[lo, _]| lo), interval.map(|[_, hi]| hi));
                Some(CorrelationRow { group, scope, method, r, lo, hi, runs, points })
            }));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use probe::Layer;

    use super::trajectory::{SHARES, Trajectory};
    use super::*;

    const STEPS: usize = 60;
    /// Steps between the planted checkpoints; a step function is placed to within one of them.
    const EVERY: usize = 100;

    /// A planted run: the error falls from 1 through a plateau at the ridge level 0.4 to 0.2 at `fall`, CD rises from
    /// 0.25 to 0.95 at `rise`, each within 400 steps.
    fn planted(run: &str, concept: &str, fall: f64, rise: f64) -> Trajectory {
        let ramp = |step: f64, at: f64| ((step - at) / 400.0 + 0.5).clamp(0.0, 1.0);
        let point = |i: usize| {
            let step = (i * EVERY) as f64;
            let error = 1.0 - 0.6 * ramp(step, 500.0) - 0.2 * ramp(step, fall);
            PointRow {
                run: run.to_owned(),
                group: "planted".to_owned(),
                seed: 0,
                concept: Some(concept.to_owned()),
                step: i * EVERY,
                error,
                over_bayes: Some(error / 0.2),
                cd: 0.25 + 0.7 * ramp(step, rise),
                chance: 0.25,
            }
        };
        let points: Vec<PointRow> = (0..=STEPS).map(point).collect();
        let intervals = points.iter().map(|point| [point.cd - 0.05, point.cd + 0.05]).collect();
        Trajectory { points, layer: Layer(3), intervals, ridge: Some(0.4), held_out: None, switch: None }
    }

    #[test]
    fn a_planted_lag_is_found_at_every_part_of_the_way() {
        let rows = planted("a", "B1", 3000.0, 3250.0).lags();
        let from_ridge: Vec<&LagRow> = rows.iter().filter(|row| row.from == FallFrom::Ridge).collect();
        assert_eq!(from_ridge.len(), SHARES.len());
        for row in from_ridge {
            assert!((row.lag - 250.0).abs() < 1.0, "{row:?}");
            assert_eq!(row.resolution, EVERY as f64);
        }
        // Seen from the untrained model, most of the fall is the first one, long before any concept.
        let initial = rows.iter().find(|row| row.from == FallFrom::Initial && row.share == 0.5).unwrap();
        assert!(initial.lag > 2500.0, "{initial:?}");
    }

    #[test]
    fn a_mean_over_seeds_counts_a_run_once() {
        let runs = [("a", 100.0, 300.0), ("b", 200.0, 200.0), ("c", 0.0, 100.0)];
        let lags: Vec<LagRow> = runs
            .iter()
            .flat_map(|(run, first, second)| {
                [planted(run, "B1", 3000.0, 3000.0 + first), planted(run, "B2", 3000.0, 3000.0 + second)]
            })
            .flat_map(|trajectory| trajectory.lags())
            .collect();
        let means = mean_lags(&lags);
        let mean = |concept: Option<&str>| {
            let here =
                |row: &&LagRow| row.from == FallFrom::Ridge && row.share == 0.5 && row.concept.as_deref() == concept;
            means.iter().find(here).unwrap()
        };
        assert!((mean(Some("B1")).lag - 100.0).abs() < 1.0 && (mean(Some("B2")).lag - 200.0).abs() < 1.0);
        // 200, 200 and 50 over the concepts; the t interval of three runs.
        let all = mean(None);
        assert!((all.lag - 150.0).abs() < 1.0 && all.n == 3, "{all:?}");
        assert!((all.hi.unwrap() - all.lag - 4.302653 * 86.60254 / 3_f64.sqrt()).abs() < 1.0, "{all:?}");
        assert!(means.iter().all(|row| row.run.is_none()));
    }

    #[test]
    fn noise_around_chance_has_no_lag() {
        let mut flat = planted("a", "B1", 3000.0, 1e9);
        assert!(flat.lags().is_empty() && flat.end().unwrap().cd_onset.is_none());
        // A rise of one interval's half is within noise.
        flat.points.iter_mut().enumerate().for_each(|(i, point)| point.cd += 0.05 * i as f64 / STEPS as f64);
        flat.intervals = flat.points.iter().map(|point| [point.cd - 0.05, point.cd + 0.05]).collect();
        assert!(flat.lags().is_empty());
        // An error that stays above ridge has not begun to use the concept.
        let mut above = planted("a", "B1", 1e9, 3000.0);
        above.ridge = Some(0.35);
        let from: Vec<FallFrom> = above.lags().into_iter().map(|row| row.from).collect();
        assert_eq!(from, [FallFrom::Initial; 3]);
    }

    #[test]
    fn curves_have_mean_and_range_over_runs() {
        let [a, b] = [("a", 3000.0), ("b", 3400.0)].map(|(run, fall)| planted(run, "B1", fall, fall));
        let points: Vec<PointRow> = a.points.into_iter().chain(b.points).collect();
        let curves = curves(&points);
        let cd = curves.iter().find(|row| row.measure == Measure::Cd && row.step == 3200).unwrap();
        assert_eq!((cd.n, cd.lo, cd.hi), (2, 0.25, 0.95));
        assert!((cd.mean - 0.6).abs() < 1e-12);
    }

    #[test]
    fn correlation_is_within_runs_and_over_all() {
        let points: Vec<PointRow> = ["a", "b", "c", "d"]
            .iter()
            .enumerate()
            .flat_map(|(i, run)| planted(run, "B1", 3000.0, 3000.0 + 100.0 * i as f64).points)
            .collect();
        let rows = correlations(&points);
        let find = |scope: Scope, method: CorrelationMethod| {
            rows.iter().find(|row| row.scope == scope && row.method == method)
        };
        let within = find(Scope::Within, CorrelationMethod::Pearson).unwrap();
        assert!(within.r < -0.4 && within.lo.unwrap() < within.r && within.r < within.hi.unwrap(), "{within:?}");
        assert_eq!((within.runs, within.points), (4, 4 * (STEPS + 1)));
        let pooled = find(Scope::Pooled, CorrelationMethod::Spearman).unwrap();
        // Four runs, however many points, leave the correlation wide open.
        assert!(pooled.hi.unwrap() - pooled.lo.unwrap() > 1.0, "{pooled:?}");
        // All runs end alike: nothing to correlate.
        assert_eq!(find(Scope::Last, CorrelationMethod::Pearson), None);
        let mut with_another = points.clone();
        with_another.extend(
            planted("e", "B1", 3000.0, 1e9).points.into_iter().enumerate().map(|(i, point)| PointRow {
                over_bayes: Some(i as f64),
                cd: -(i as f64),
                ..point
            }),
        );
        let rows = correlations(&with_another);
        let within =
            rows.iter().find(|row| row.scope == Scope::Within && row.method == CorrelationMethod::Spearman).unwrap();
        assert_eq!(within.runs, 4, "exactly -1 has no z: {within:?}");
    }
}
