//! Decodability along the prompt, beside what could be known at each pair.

use data::{Concept, Token};
use model::Device;
use rayon::prelude::*;
use run::{DecodabilityRow, Experiment, PositionRow, RunDir, RunError};

use super::milestones;
use crate::decodability::shuffled;
use crate::stages::{Decode, with_model};
use crate::{Decodability, DecodabilityTables, resample_prompts};

/// Writes how well every probe reads the concept at the x token of every pair, at the checkpoints `steps`, and how well
/// the predictors that infer the concept do on the same prompts; without steps at a few from first to last.
///
/// # Errors
/// When a checkpoint cannot be read or the table not be written.
pub fn write_positions(
    run: &RunDir,
    experiment: &Experiment,
    steps: &[usize],
    device: Device,
    progress: impl Fn(usize),
) -> Result<(), RunError> {
    let n_points = experiment.architecture.n_points;
    let along = Experiment { tokens: (1..=n_points).map(Token::X).collect(), ..experiment.clone() };
    let mut rows = inferred(&along);
    for step in milestones(run, experiment, steps)? {
        progress(step);
        rows.extend(read(&with_model(run, experiment, step, device, Decode { experiment: &along, step })?, &along));
    }
    Ok(run.table().replace(&rows)?)
}

/// Each pair's held-out score of every probe, and its control at the same layer.
fn read(tables: &DecodabilityTables, along: &Experiment) -> Vec<PositionRow> {
    let mut rows = Vec::new();
    for best in tables.best.iter().filter(|row| row.selection == "held_out") {
        let position = along.tokens.iter().position(|token| token.to_string() == best.token);
        let control = shuffled(&best.probe);
        let at_layer = |row: &&DecodabilityRow| row.token == best.token && row.layer == best.layer;
        let control = tables.cd.iter().filter(at_layer).find(|row| row.probe == control);
        let (Some(index), Some(control)) = (position, control) else { continue };
        let row = |reader: &str, [score, lo, hi]: [f64; 3]| PositionRow {
            step: Some(best.step),
            position: index + 1,
            reader: reader.to_owned(),
            layer: Some(best.layer),
            score,
            chance: control.chance,
            lo,
            hi,
        };
        rows.push(row(&best.probe, [best.score, best.lo, best.hi]));
        rows.push(row(&control.probe, [control.score, control.lo, control.hi]));
    }
    rows
}

/// What predictors infer of the concept at every pair: how often the likeliest is the true one, and the mean posterior
/// on the true one. Prompts here are as many of every concept, whatever the task's weights, and that is known to them.
///
/// The first is the ceiling of any reader's accuracy; the second lies below it on average, since whoever is 70% sure of the
/// likeliest concept is right in 70% of the cases and still has only 0.7 there and 0.3 elsewhere.
fn inferred(experiment: &Experiment) -> Vec<PositionRow> {
    let resamples: Vec<_> =
        (0..experiment.config.probe.resamples).map(|resample| resample_prompts(experiment, resample)).collect();
    let mut rows = Vec::new();
    for predictor in experiment.task.predictors() {
        // [resamples][prompts][n_points]: (whether the likeliest is the true one, posterior on the true one)
        let posteriors = resamples.iter().map(|prompts| {
            let of_prompt = |prompt: &data::Prompt| {
                let truth = prompt.concept.0;
                let at_pair = |over: Vec<f64>| {
                    let over = among_equals(over, experiment.task.concepts())?;
                    let likeliest = over.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
                    Some((f64::from(u8::from(likeliest.is_some_and(|(label, _)| label == truth))), over[truth]))
                };
                predictor.posterior(prompt)?.into_iter().map(at_pair).collect::<Option<Vec<_>>>()
            };
            prompts.par_iter().map(of_prompt).collect::<Option<Vec<_>>>()
        });
        let Some(posteriors) = posteriors.collect::<Option<Vec<_>>>() else { continue };
        for index in 0..experiment.architecture.n_points {
            let mut row = |reader: String, of: fn(&(f64, f64)) -> f64| {
                let mean = |prompts: &Vec<Vec<(f64, f64)>>| {
                    prompts.iter().map(|pairs| of(&pairs[index])).sum::<f64>() / prompts.len() as f64
                };
                let means: Vec<f64> = posteriors.iter().map(mean).collect();
                let Decodability { score, lo, hi, .. } = Decodability::over(&means);
                let chance = 1.0 / experiment.task.concepts().len() as f64;
                rows.push(PositionRow { step: None, position: index + 1, reader, layer: None, score, chance, lo, hi });
            };
            row(predictor.name().to_owned(), |pair| pair.0);
            row(format!("{}_posterior", predictor.name()), |pair| pair.1);
        }
    }
    rows
}

/// The posterior if all concepts had been as frequent, from that over concepts of different weights. Where one has weight
/// 0, nothing is known of it, and there is none.
fn among_equals(posterior: Vec<f64>, concepts: &[Concept]) -> Option<Vec<f64>> {
    let known = concepts.iter().all(|concept| concept.weight > 0.0);
    let likelihoods: Vec<f64> = posterior.iter().zip(concepts).map(|(p, concept)| p / concept.weight).collect();
    let sum: f64 = likelihoods.iter().sum();
    known.then(|| likelihoods.into_iter().map(|likelihood| likelihood / sum).collect())
}

#[cfg(test)]
mod tests {
    use data::TaskRegistry;
    use run::{Config, Source};

    use super::*;

    #[test]
    fn the_likeliest_concept_is_right_more_often_than_its_mean_posterior_and_both_rise_from_chance() {
        let experiment = Config::resolve(&Source::named("smoke"), &["probe.prompts_per_concept=400".to_owned()]);
        let rows = inferred(&experiment.unwrap().build(&TaskRegistry::builtin()).unwrap());
        let scores =
            |reader: &str| rows.iter().filter(|row| row.reader == reader).map(|row| row.score).collect::<Vec<_>>();
        let (right, posterior) = (scores("bayes"), scores("bayes_posterior"));
        assert_eq!((right.len(), posterior.len()), (6, 6));
        // Before the first pair nothing is known: every concept has ½, and the lower one is named.
        assert_eq!((right[0], posterior[0]), (0.5, 0.5));
        // Later both are nearly 1, and which is larger is up to the prompts drawn.
        assert!((1..4).all(|pair| right[pair] > posterior[pair]), "{right:?} {posterior:?}");
        assert!(right.windows(2).all(|pair| pair[1] > pair[0]), "{right:?}");
    }

    /// Else there could be a better reader of these prompts than the ceiling.
    #[test]
    fn what_could_be_known_of_balanced_prompts_does_not_depend_on_the_weights_of_concepts() {
        let inferred = |set: &str| {
            let experiment = Config::resolve(&Source::named("smoke"), &[set.to_owned()]);
            inferred(&experiment.unwrap().build(&TaskRegistry::builtin()).unwrap())
        };
        let (equal, unequal) = (inferred("task.weights=[1,1]"), inferred("task.weights=[4,1]"));
        assert!(!equal.is_empty() && equal.len() == unequal.len());
        for (equal, unequal) in equal.iter().zip(&unequal) {
            assert!((equal.score - unequal.score).abs() < 1e-9, "{equal:?} {unequal:?}");
        }
        assert_eq!(inferred("task.weights=[1,0]"), [], "of what never comes nothing is known");
    }
}
