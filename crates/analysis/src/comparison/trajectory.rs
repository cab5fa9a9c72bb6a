//! What one run shows over training: error and decodability, and when each goes its way.

use std::collections::BTreeMap;

use data::Role;
use probe::{Layer, ProbeKind, ProbeReading};
use record::RecordError;

use super::lag::{Crossing, crossing, for_good};
use super::{Compared, FallFrom, LagRow, PointRow, SweepRow};
use crate::{AlgorithmRow, BaselineRow, BestLayerRow, DecodabilityRow, MetricRow, Selection, nearest};

/// The parts of the way at which rise and fall are compared. The answer should not hang on the choice of one.
pub(super) const SHARES: [f64; 3] = [0.25, 0.5, 0.75];

/// What one run shows of one concept, or of all together.
pub(super) struct Trajectory {
    pub(super) points: Vec<PointRow>,
    pub(super) layer: Layer,
    /// Interval of CD over resamples, a point each.
    pub(super) intervals: Vec<[f64; 2]>,
    /// Error of ridge regression, in units of `PointRow::error`.
    pub(super) ridge: Option<f64>,
    /// Score and interval at the end that replace those of the last point.
    pub(super) held_out: Option<[f64; 3]>,
    /// From where on the answers stay nearest to the optimal predictor's.
    pub(super) switch: Option<Crossing>,
}

/// Those of a run's concepts, and first of all together; none for a run without a checkpoint.
pub(super) fn trajectories(run: &Compared, group: &str, probe: ProbeKind) -> Result<Vec<Trajectory>, RecordError> {
    let Compared { folder, legend, token, .. } = run;
    let here = |row: &BestLayerRow| row.probe == probe && row.token == *token && row.selection == Selection::HeldOut;
    let Some(best) = folder.table::<BestLayerRow>().read()?.into_iter().rfind(here) else {
        return Ok(Vec::new());
    };
    let metrics = folder.table::<MetricRow>().read()?;
    let baselines = folder.table::<BaselineRow>().read()?;
    let mut decoded = folder.table::<DecodabilityRow>().read()?;
    let mut trace = folder.table::<AlgorithmRow>().read()?;
    if trace.iter().map(|row| row.step).max() < metrics.iter().map(|row| row.step).max() {
        // Of an earlier end, which does not tell what stayed.
        trace.clear();
    }
    decoded.retain(|row| row.probe == ProbeReading::of(probe) && row.token == *token && row.layer == best.layer);
    let concepts = legend.concepts.iter().map(|concept| Some(concept.name.clone()));
    let of_concept = |concept: Option<String>| {
        let level = |role: Role| {
            let predictor = &legend.with_role(role)?.name;
            let here =
                |row: &&BaselineRow| row.predictor == *predictor && row.position.is_none() && row.concept == concept;
            baselines.iter().find(here).map(|row| row.relative_mse)
        };
        let bayes = level(Role::Optimal);
        let errors = metrics.iter().filter(|row| row.position.is_none() && row.concept == concept);
        let errors: BTreeMap<usize, f64> = errors.map(|row| (row.step, row.relative_mse)).collect();
        let (mut points, mut intervals) = (Vec::new(), Vec::new());
        for row in decoded.iter().filter(|row| row.concept == concept) {
            let Some(&error) = errors.get(&row.step) else { continue };
            intervals.push([row.lo, row.hi]);
            points.push(PointRow {
                run: run.run.clone(),
                group: group.to_owned(),
                seed: run.seed,
                concept: concept.clone(),
                step: row.step,
                error,
                over_bayes: bayes.map(|bayes| error / bayes),
                cd: row.score,
                chance: row.chance,
            });
        }
        let held_out = concept.is_none().then_some([best.score, best.lo, best.hi]);
        let nearest = nearest(&trace, legend, concept.as_deref(), None);
        let optimal: Vec<(usize, bool)> =
            nearest.iter().map(|row| (row.step, legend.role(&row.predictor) == Role::Optimal)).collect();
        let (ridge, switch) = (level(Role::WithoutConcept), for_good(&optimal));
        Trajectory { points, layer: best.layer, intervals, ridge, held_out, switch }
    };
    Ok(std::iter::once(None).chain(concepts).map(of_concept).collect())
}

impl Trajectory {
    pub(super) fn end(&self) -> Option<SweepRow> {
        let (last, [lo, hi]) = (self.points.last()?.clone(), *self.intervals.last()?);
        let [cd, cd_lo, cd_hi] = self.held_out.unwrap_or([last.cd, lo, hi]);
        let untrained = self.intervals[0][1];
        let above = self.points.iter().zip(&self.intervals).find(|(_, interval)| interval[0] > untrained);
        let step = |crossing: Option<Crossing>| crossing.map(|crossing| crossing.step);
        Some(SweepRow {
            step: last.step,
            error: last.error,
            over_bayes: last.over_bayes,
            layer: self.layer,
            cd,
            cd_lo,
            cd_hi,
            chance: last.chance,
            cd_onset: above.map(|(point, _)| point.step),
            cd_half: step(self.rise(0.5)),
            error_half: step(self.fall(FallFrom::Ridge, 0.5)),
            run: last.run,
            group: last.group,
            seed: last.seed,
            concept: last.concept,
        })
    }

    /// Where CD has gone a part of its way up from the untrained model's; none unless its interval at the end lies above
    /// chance and that of the untrained model, or the way would be noise.
    fn rise(&self, share: f64) -> Option<Crossing> {
        let (first, last) = (self.intervals.first()?, self.intervals.last()?);
        let risen = last[0] > first[1].max(self.points.last()?.chance);
        let curve: Vec<(f64, f64)> = self.points.iter().map(|point| (point.step as f64, point.cd)).collect();
        risen.then(|| crossing(&curve, curve[0].1, share)).flatten()
    }

    /// Where the error has gone a part of its way down from the level `from`; none if it does not end below. A switch has
    /// no parts, and is compared with half of the way of the other side.
    fn fall(&self, from: FallFrom, share: f64) -> Option<Crossing> {
        let (first, last) = (self.points.first()?.error, self.points.last()?.error);
        let from = match from {
            FallFrom::Switch => return self.switch.filter(|_| share == 0.5),
            FallFrom::Ridge => self.ridge?,
            FallFrom::Initial => first,
        };
        let curve: Vec<(f64, f64)> = self.points.iter().map(|point| (point.step as f64, point.error)).collect();
        (last < from).then(|| crossing(&curve, from, share)).flatten()
    }

    /// One row for each beginning of the fall and part of the way, where both events are there; of single concepts only:
    /// the curve of their mean is none that any of them follows.
    pub(super) fn lags(&self) -> Vec<LagRow> {
        let Some(PointRow { group, run, concept: Some(concept), .. }) = self.points.first() else {
            return Vec::new();
        };
        let row = |(from, share): (FallFrom, f64)| {
            let (fall, rise) = (self.fall(from, share)?, self.rise(share)?);
            Some(LagRow {
                group: group.clone(),
                run: Some(run.clone()),
                concept: Some(concept.clone()),
                from,
                share,
                error_step: fall.step,
                cd_step: rise.step,
                lag: rise.step - fall.step,
                lo: None,
                hi: None,
                n: 1,
                resolution: fall.gap.max(rise.gap),
            })
        };
        [FallFrom::Ridge, FallFrom::Initial, FallFrom::Switch]
            .into_iter()
            .flat_map(|from| SHARES.map(|share| (from, share)))
            .filter_map(row)
            .collect()
    }
}
