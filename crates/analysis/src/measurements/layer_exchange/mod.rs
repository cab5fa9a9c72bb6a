//! Layer exchange: the early layers of one checkpoint with the late layers of another. Which of the two was missing?

mod rows;
mod show;

use probe::Layer;

pub use rows::ExchangeRow;

use super::effect::Effect;
use super::{MeasureError, Measurement, MetricRow, Needs, Session, sorted};
use crate::show::{Section, Shown};

/// Checkpoints whose layers are exchanged unless told otherwise.
const EXCHANGED: usize = 8;

/// The error of every pair of checkpoints: all up to a layer of the first, all behind it of the second.
#[derive(Clone, Copy, Debug)]
pub struct LayerExchange;

/// Which checkpoints, and where they are joined.
#[derive(Clone, Debug, Default, clap::Args, serde::Serialize)]
pub struct Options {
    /// Checkpoints to pair with each other, as 0,500,1000 [default: up to eight along the fall of the error]
    #[arg(long, value_name = "STEPS", value_delimiter = ',', value_parser = terminal::whole::<usize>(0, None))]
    step: Vec<usize>,
    /// Last layer of the early part, 0 for the embedding alone [default: half of the layers]
    #[arg(long, value_parser = terminal::whole::<usize>(0, None))]
    layer: Option<usize>,
}

/// What is exchanged.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    steps: Vec<usize>,
    layer: Layer,
}

impl Measurement for LayerExchange {
    const NAME: &'static str = "transplant";
    const ABOUT: &'static str = "Join early layers of one checkpoint to late ones of another";
    const NEEDS: Needs = Needs::Numbers;
    const FIGURES: &'static [&'static str] = &["transplant"];
    type Options = Options;
    type Plan = Plan;
    type Rows = Vec<ExchangeRow>;

    fn plan(Options { step, layer }: Options, session: &Session<'_>) -> Result<Plan, MeasureError> {
        let half = Layer(session.subjects.anatomy().n_layers / 2);
        let layer = session.layers("--layer", layer.into_iter().collect())?.pop().unwrap_or(half);
        step.iter().try_for_each(|&step| session.subjects.require(step))?;
        let steps = match step.is_empty() {
            true => along_the_fall(&session.subjects.steps()?, &session.folder.table().read()?, EXCHANGED),
            false => sorted(step),
        };
        Ok(Plan { steps, layer })
    }

    fn measure(&Plan { ref steps, layer }: &Plan, session: &Session<'_>) -> Result<Vec<ExchangeRow>, MeasureError> {
        let effect = Effect::new(session.study)?;
        let mut rows = Vec::new();
        for &early_step in steps {
            (session.progress)(&format!("early step {early_step}"));
            for &late_step in steps {
                let subject = session.subjects.exchanged(early_step, late_step, layer)?;
                let errors = effect.errors(&subject.plain_answers(effect.prompts())?);
                for (concept, error) in effect.by_concept(&errors) {
                    let (error, lo, hi, n) = (error.mean, error.lo, error.hi, effect.n());
                    rows.push(ExchangeRow { early_step, late_step, layer, concept, error, lo, hi, n });
                }
            }
        }
        Ok(rows)
    }

    fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
        show::show(shown)
    }
}

/// At most `most` of the `steps`, the first and the last among them: those at which the error in `metrics` has first
/// come down by equal parts of its fall, on a log scale. So plateaus have few of them, and falls have many.
fn along_the_fall(steps: &[usize], metrics: &[MetricRow], most: usize) -> Vec<usize> {
    let error = |step: usize| {
        let overall = |row: &&MetricRow| row.step == step && row.concept.is_none() && row.position.is_none();
        metrics.iter().find(overall).map(|row| row.mse.max(f64::MIN_POSITIVE).ln())
    };
    let curve: Vec<(usize, f64)> = steps.iter().filter_map(|&step| Some((step, error(step)?))).collect();
    let (Some(first), Some(last)) = (curve.first(), curve.last()) else {
        return super::spread(steps, most);
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
    use crate::Split;

    fn metrics(errors: &[f64]) -> Vec<MetricRow> {
        let row = |(step, mse): (usize, &f64)| MetricRow {
            step: 10 * step,
            split: Split::Eval,
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
        assert_eq!(along_the_fall(&[0, 10, 20, 30, 40], &[], 3), [0, 20, 40], "no error was measured");
    }
}
