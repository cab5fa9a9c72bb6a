//! Decodability along the prompt, beside what could be known at each pair.

mod errors_figure;
mod rows;
mod show;

use data::{Concept, Prompt, TaskError, Token};
use probe::{Control, Guess, ProbeReading, Study};
use rayon::prelude::*;

pub use rows::{PositionRow, Reader};

use super::decodability::{Decodability, DecodabilityRow, Tables};
use super::{Live, MeasureError, Measurement, Needs, OverResamples, Selection, Session, Steps};
use crate::show::{Section, Shown};

/// How well every probe reads the concept at the x token of every pair, and how well the predictors that infer the concept
/// do on the same prompts.
#[derive(Clone, Copy, Debug)]
pub struct AlongPrompt;

impl Measurement for AlongPrompt {
    const NAME: &'static str = "positions";
    const ABOUT: &'static str = "Measure decodability at every pair, beside what could be known there";
    const NEEDS: Needs = Needs::Numbers;
    const FIGURES: &'static [&'static str] = &["positions", "reading"];
    type Options = Steps;
    type Plan = Vec<usize>;
    type Rows = Vec<PositionRow>;

    fn plan(Steps { step }: Steps, session: &Session<'_>) -> Result<Vec<usize>, MeasureError> {
        session.milestones(step)
    }

    fn measure(steps: &Vec<usize>, session: &Session<'_>) -> Result<Vec<PositionRow>, MeasureError> {
        let every_pair = (1..=session.study.n_points()).map(Token::X).collect();
        let along = Study { tokens: every_pair, ..session.study.clone() };
        let mut rows = inferred(&along)?;
        rows.extend(session.over_steps(steps, |subject, step| Ok(read(&Decodability::at(&along, subject, step)?)))?);
        Ok(rows)
    }

    fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
        show::show(shown)
    }
}

/// Each pair's held-out score of every probe, and its control at the same layer.
fn read((cd, best): &Tables) -> Vec<PositionRow> {
    let mut rows = Vec::new();
    for best in best.iter().filter(|row| row.selection == Selection::HeldOut) {
        let reading = ProbeReading::control(best.probe, Control::Shuffled);
        let there = |row: &&DecodabilityRow| (row.token, row.layer, row.probe) == (best.token, best.layer, reading);
        let control = cd.iter().filter(there).find(|row| row.concept.is_none());
        let (Token::X(position), Some(control)) = (best.token, control) else { continue };
        let row = |reading: ProbeReading, [score, lo, hi]: [f64; 3]| PositionRow {
            step: Some(best.step),
            position,
            reader: Reader::Probe(reading),
            layer: Some(best.layer),
            score,
            chance: control.chance,
            lo,
            hi,
        };
        rows.push(row(ProbeReading::of(best.probe), [best.score, best.lo, best.hi]));
        rows.push(row(reading, [control.score, control.lo, control.hi]));
    }
    rows
}

/// What predictors infer of the concept at every pair: how often the likeliest is the true one, and the mean posterior
/// on the true one. Prompts here are as many of every concept, whatever the task's weights, and that is known to them.
///
/// The first is the ceiling of any reader's accuracy; the second lies below it on average, since whoever is 70% sure of the
/// likeliest concept is right in 70% of the cases and still has only 0.7 there and 0.3 elsewhere.
fn inferred(study: &Study) -> Result<Vec<PositionRow>, TaskError> {
    let resamples = study.resamples()?;
    let mut rows = Vec::new();
    for predictor in study.task.pairs().predictors() {
        // [resamples][prompts][n_points]: (credit of the likeliest, posterior on the true one)
        let posteriors = resamples.iter().map(|prompts| {
            let of_prompt = |prompt: &Prompt| {
                let truth = prompt.concept.0;
                let at_pair = |over: Vec<f64>| {
                    let over = among_equals(over, study.concepts())?;
                    Some((Guess::among(&over, truth, 1.0).credit, over[truth]))
                };
                predictor.posterior(prompt)?.into_iter().map(at_pair).collect::<Option<Vec<_>>>()
            };
            prompts.pairs().par_iter().map(of_prompt).collect::<Option<Vec<_>>>()
        });
        let Some(posteriors) = posteriors.collect::<Option<Vec<_>>>() else { continue };
        for index in 0..study.n_points() {
            let mut row = |reader: Reader, of: fn(&(f64, f64)) -> f64| {
                let mean = |prompts: &Vec<Vec<(f64, f64)>>| {
                    prompts.iter().map(|pairs| of(&pairs[index])).sum::<f64>() / prompts.len() as f64
                };
                let means: Vec<f64> = posteriors.iter().map(mean).collect();
                let OverResamples { score, lo, hi, .. } = OverResamples::of(&means);
                let chance = study.chance();
                rows.push(PositionRow { step: None, position: index + 1, reader, layer: None, score, chance, lo, hi });
            };
            row(Reader::Predictor(predictor.name().to_owned()), |pair| pair.0);
            row(Reader::Posterior(predictor.name().to_owned()), |pair| pair.1);
        }
    }
    Ok(rows)
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
    use super::*;
    use crate::fake::study_with;

    #[test]
    fn the_likeliest_concept_is_right_more_often_than_its_mean_posterior_and_both_rise_from_chance() {
        let mut study = study_with("weights = [1, 1]");
        study.probe.prompts_per_concept = 400;
        let rows = inferred(&study).unwrap();
        let scores =
            |reader: Reader| rows.iter().filter(|row| row.reader == reader).map(|row| row.score).collect::<Vec<_>>();
        let (right, posterior) =
            (scores(Reader::Predictor("bayes".to_owned())), scores(Reader::Posterior("bayes".to_owned())));
        assert_eq!((right.len(), posterior.len()), (6, 6));
        // Before the first pair nothing is known: every concept has ½, and half of the credit.
        assert_eq!((right[0], posterior[0]), (0.5, 0.5));
        // Later both are nearly 1, and which is larger is up to the prompts drawn.
        assert!((1..4).all(|pair| right[pair] > posterior[pair]), "{right:?} {posterior:?}");
        assert!(right.windows(2).all(|pair| pair[1] > pair[0]), "{right:?}");
    }

    /// Else there could be a better reader of these prompts than the ceiling.
    #[test]
    fn what_could_be_known_of_balanced_prompts_does_not_depend_on_the_weights_of_concepts() {
        let inferred = |weights: &str| inferred(&study_with(weights)).unwrap();
        let (equal, unequal) = (inferred("weights = [1, 1]"), inferred("weights = [4, 1]"));
        assert!(!equal.is_empty() && equal.len() == unequal.len());
        for (equal, unequal) in equal.iter().zip(&unequal) {
            assert!((equal.score - unequal.score).abs() < 1e-9, "{equal:?} {unequal:?}");
        }
        assert_eq!(inferred("weights = [1, 0]"), [], "of what never comes nothing is known");
    }
}
