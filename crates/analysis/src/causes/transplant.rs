//! Transplants: the early layers of one checkpoint with the late layers of another. Which of the two was missing?

use model::{Device, FusedBackend, Layer, OnBackend, Transformer, Weights, transplant};
use run::{Experiment, MetricRow, RunDir, RunError, TransplantRow};

use crate::causes::Measure;

/// Errors of every pair of checkpoints, given as steps and weights: all up to `layer` of the first, all behind it of
/// the second. `progress` is told the step of each first one.
///
/// # Panics
/// When the weights are not of the experiment's architecture.
pub fn transplants<B: FusedBackend>(
    checkpoints: &[(usize, Weights)],
    experiment: &Experiment,
    layer: Layer,
    device: &B::Device,
    progress: &dyn Fn(usize),
) -> Vec<TransplantRow> {
    let measure = Measure::new(experiment);
    let mut rows = Vec::new();
    for (early_step, early) in checkpoints {
        progress(*early_step);
        for (late_step, late) in checkpoints {
            let weights = transplant(&experiment.architecture, early, late, layer);
            let model = Transformer::<B>::new(&experiment.architecture, &weights, device);
            let model = model.expect("the weights are of the experiment's architecture");
            for (concept, error) in measure.by_concept(&measure.errors(&model, device)) {
                rows.push(TransplantRow {
                    early_step: *early_step,
                    late_step: *late_step,
                    layer: layer.0,
                    concept,
                    error: error.mean,
                    lo: error.lo,
                    hi: error.hi,
                    n: measure.n(),
                });
            }
        }
    }
    rows
}

/// Writes the table of transplants anew, for all pairs of the checkpoints at `steps`; `progress` is told each step.
///
/// # Errors
/// When a checkpoint cannot be read or the table not be written.
pub fn write_transplants(
    run: &RunDir,
    experiment: &Experiment,
    steps: &[usize],
    layer: Layer,
    device: Device,
    progress: &dyn Fn(usize),
) -> Result<(), RunError> {
    let load = |step: &usize| Ok((*step, run.checkpoint(experiment, *step)?.weights));
    let checkpoints = steps.iter().map(load).collect::<Result<Vec<_>, RunError>>()?;
    Ok(run.table().replace(&device.run(Pairs { checkpoints: &checkpoints, experiment, layer, progress }))?)
}

struct Pairs<'a> {
    checkpoints: &'a [(usize, Weights)],
    experiment: &'a Experiment,
    layer: Layer,
    progress: &'a dyn Fn(usize),
}

impl OnBackend for Pairs<'_> {
    type Output = Vec<TransplantRow>;
    fn on<B: FusedBackend>(self, device: B::Device) -> Vec<TransplantRow> {
        transplants::<B>(self.checkpoints, self.experiment, self.layer, &device, self.progress)
    }
}

/// At most `most` of the `steps`, the first and the last among them: those at which the error in `metrics` has first
/// come down by equal parts of its fall, on a log scale. So plateaus have few of them, and falls have many.
pub(crate) fn along_the_fall(steps: &[usize], metrics: &[MetricRow], most: usize) -> Vec<usize> {
    let error = |step: usize| {
        let overall = |row: &&MetricRow| row.step == step && row.concept.is_none() && row.position.is_none();
        metrics.iter().find(overall).map(|row| row.mse.max(f64::MIN_POSITIVE).ln())
    };
    let curve: Vec<(usize, f64)> = steps.iter().filter_map(|&step| Some((step, error(step)?))).collect();
    let (Some(first), Some(last)) = (curve.first(), curve.last()) else {
        return steps.iter().copied().take(most).collect();
    };
    let gaps = most.saturating_sub(1).max(1);
    let level = |part: usize| first.1 + (last.1 - first.1) * part as f64 / gaps as f64;
    let reached = |part| curve.iter().find(|(_, error)| *error <= level(part)).map(|(step, _)| *step);
    let mut chosen: Vec<usize> = (1..gaps).filter_map(reached).chain([first.0, last.0]).collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(errors: &[f64]) -> Vec<MetricRow> {
        let row = |(step, mse): (usize, &f64)| MetricRow {
            step: 10 * step,
            split: "eval".to_owned(),
            concept: None,
            position: None,
            mse: *mse,
            relative_mse: *mse,
        };
        errors.iter().enumerate().map(row).collect()
    }

    #[test]
    fn checkpoints_are_chosen_where_the_error_falls() {
        let errors = [1.0, 1.0, 1.0, 0.5, 0.25, 0.25, 0.25, 0.125, 0.0625];
        let steps: Vec<usize> = (0..9).map(|step| 10 * step).collect();
        assert_eq!(along_the_fall(&steps, &metrics(&errors), 5), [0, 30, 40, 70, 80]);
        assert_eq!(along_the_fall(&steps, &metrics(&errors), 3), [0, 40, 80]);
    }

    #[test]
    fn an_error_that_does_not_fall_leaves_the_ends() {
        assert_eq!(along_the_fall(&[0, 10, 20], &metrics(&[1.0, 1.0, 1.5]), 5), [0, 20]);
        assert_eq!(along_the_fall(&[0], &metrics(&[1.0]), 5), [0]);
    }
}
