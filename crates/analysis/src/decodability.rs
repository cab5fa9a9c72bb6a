//! Concept Decodability: how often a probe reads the concept from a layer at a token.

use data::{Prompt, Purpose, Sampler, Stream};
use model::{Kernels, Transformer};
use rand::seq::SliceRandom;
use rayon::prelude::*;
use run::{BestLayerRow, DecodabilityRow, Experiment};

use crate::interval::quantile;
use crate::{Probe, Representations, probes};

/// Accuracies over resamples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decodability {
    /// Mean accuracy.
    pub score: f64,
    /// 2.5% quantile of the resamples, linearly interpolated.
    pub lo: f64,
    /// 97.5% quantile of the resamples, linearly interpolated.
    pub hi: f64,
    /// Resamples.
    pub n: usize,
}

impl Decodability {
    /// Mean and 95% interval of accuracies (or of another number), one a resample.
    ///
    /// # Panics
    /// When there is none.
    pub fn over(accuracies: &[f64]) -> Self {
        let mut sorted = accuracies.to_vec();
        sorted.sort_by(f64::total_cmp);
        let score = accuracies.iter().sum::<f64>() / accuracies.len() as f64;
        Self { score, lo: quantile(&sorted, 0.025), hi: quantile(&sorted, 0.975), n: sorted.len() }
    }
}

/// The rows of one checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodabilityTables {
    /// Every layer, token, probe and control.
    pub cd: Vec<DecodabilityRow>,
    /// The best layer of every token and probe, chosen in two ways.
    pub best: Vec<BestLayerRow>,
}

/// Accuracies of one probe on one layer at one token.
struct Place {
    layer: usize,
    token: usize,
    /// Index into the experiment's probes.
    probe: usize,
    /// `[resamples]`
    overall: Vec<f64>,
    /// `[n_concepts][resamples]`
    by_concept: Vec<Vec<f64>>,
    /// With permuted labels, `[resamples]`.
    shuffled: Vec<f64>,
}

/// Probes a model after `step` steps of training, with the prompts that belong to the experiment's seed.
pub fn decodability<B: Kernels>(
    model: &Transformer<B>,
    experiment: &Experiment,
    step: usize,
    device: &B::Device,
) -> DecodabilityTables {
    decodability_of(|resample| resample_states(model, experiment, resample, device), experiment, step)
}

/// Probes what `states` gives for the number of a resample, one after the other.
pub(crate) fn decodability_of(
    states: impl Fn(usize) -> Representations,
    experiment: &Experiment,
    step: usize,
) -> DecodabilityTables {
    let probes = probes(experiment);
    let score = |resample| score_resample(&probes, &states(resample), experiment, resample);
    let resamples = (0..experiment.config.probe.resamples).map(score).collect();
    tables(&probes, &gather(resamples), experiment, step)
}

/// Name in tables of a probe's control with permuted labels.
pub(crate) fn shuffled(probe: &str) -> String {
    format!("{probe}_shuffled")
}

/// The prompts of resample number `resample`, the same number of every concept.
pub fn resample_prompts(experiment: &Experiment, resample: usize) -> Vec<Prompt> {
    let stream = Stream::new(experiment.config.seed, Purpose::Probe);
    let per_concept = experiment.config.probe.prompts_per_concept;
    Sampler::new(experiment.task.clone(), stream).balanced(resample as u64, per_concept)
}

/// The hidden states that resample number `resample` of the table is computed from.
pub fn resample_states<B: Kernels>(
    model: &Transformer<B>,
    experiment: &Experiment,
    resample: usize,
    device: &B::Device,
) -> Representations {
    Representations::collect(model, &resample_prompts(experiment, resample), &experiment.tokens, device)
}

fn score_resample(
    probes: &[Box<dyn Probe>],
    states: &Representations,
    experiment: &Experiment,
    resample: usize,
) -> Vec<Place> {
    let labels = &states.labels;
    let shuffled = shuffled_labels(labels, experiment, resample);
    let places: Vec<_> =
        (0..states.n_layers()).flat_map(|layer| (0..states.tokens.len()).map(move |token| (layer, token))).collect();
    let score = |&(layer, token): &(usize, usize)| {
        let here = states.states(layer, token);
        let score = |probe: usize| {
            let guesses = probes[probe].guess(&here, &[labels, &shuffled]);
            let of_concept = |concept| {
                let members = || labels.iter().zip(&guesses[0]).filter(move |(label, _)| **label == concept);
                members().filter(|(label, guess)| label == guess).count() as f64 / members().count() as f64
            };
            Place {
                layer,
                token,
                probe,
                overall: vec![accuracy(labels, &guesses[0])],
                by_concept: (0..experiment.task.concepts().len()).map(|concept| vec![of_concept(concept)]).collect(),
                shuffled: vec![accuracy(&shuffled, &guesses[1])],
            }
        };
        (0..probes.len()).map(score).collect::<Vec<_>>()
    };
    places.par_iter().flat_map_iter(score).collect()
}

/// The labels of resample number `resample` as its control has them.
pub(crate) fn shuffled_labels(labels: &[usize], experiment: &Experiment, resample: usize) -> Vec<usize> {
    let mut shuffled = labels.to_vec();
    shuffled.shuffle(&mut Stream::new(experiment.config.seed, Purpose::Shuffle).rng(resample as u64));
    shuffled
}

pub(crate) fn accuracy(labels: &[usize], guesses: &[usize]) -> f64 {
    labels.iter().zip(guesses).filter(|(label, guess)| label == guess).count() as f64 / labels.len() as f64
}

/// Joins the resamples of every place.
fn gather(resamples: Vec<Vec<Place>>) -> Vec<Place> {
    let mut resamples = resamples.into_iter();
    let mut places = resamples.next().unwrap_or_default();
    for resample in resamples {
        for (place, more) in places.iter_mut().zip(resample) {
            place.overall.extend(more.overall);
            place.shuffled.extend(more.shuffled);
            place.by_concept.iter_mut().zip(more.by_concept).for_each(|(all, more)| all.extend(more));
        }
    }
    places
}

fn tables(probes: &[Box<dyn Probe>], places: &[Place], experiment: &Experiment, step: usize) -> DecodabilityTables {
    let concepts = experiment.task.concepts();
    let mut cd = Vec::new();
    for place in places {
        let mut row = |probe: String, concept: Option<&str>, accuracies: &[f64]| {
            let Decodability { score, lo, hi, n } = Decodability::over(accuracies);
            let token = experiment.tokens[place.token].to_string();
            let (concept, chance) = (concept.map(str::to_owned), 1.0 / concepts.len() as f64);
            cd.push(DecodabilityRow { step, layer: place.layer, token, probe, concept, score, chance, lo, hi, n });
        };
        let name = probes[place.probe].name();
        row(name.to_owned(), None, &place.overall);
        for (concept, accuracies) in concepts.iter().zip(&place.by_concept) {
            row(name.to_owned(), Some(&concept.name), accuracies);
        }
        row(shuffled(name), None, &place.shuffled);
    }
    let mut best = Vec::new();
    for (token, name) in experiment.tokens.iter().enumerate() {
        for (probe, reader) in probes.iter().enumerate() {
            let layers: Vec<_> = places.iter().filter(|place| (place.token, place.probe) == (token, probe)).collect();
            for (selection, (layer, accuracies)) in ["held_out", "optimistic"].into_iter().zip(best_layers(&layers)) {
                let Decodability { score, lo, hi, .. } = Decodability::over(accuracies);
                let [token, probe, selection] = [name.to_string(), reader.name().to_owned(), selection.to_owned()];
                best.push(BestLayerRow { step, token, probe, selection, layer, score, lo, hi });
            }
        }
    }
    DecodabilityTables { cd, best }
}

/// The best layer and its accuracies: chosen on the first half of the resamples and scored on the second, and both on
/// all. Among equals the earliest layer is chosen.
fn best_layers<'a>(layers: &[&'a Place]) -> [(usize, &'a [f64]); 2] {
    let half = layers[0].overall.len() / 2;
    let choose = |on: std::ops::Range<usize>| {
        let sum = |place: &Place| place.overall[on.clone()].iter().sum::<f64>();
        // Equal counts of right guesses, in another order, may differ by rounding.
        let better = |best: &'a Place, place: &&'a Place| if sum(place) > sum(best) + 1e-9 { *place } else { best };
        layers[1..].iter().fold(layers[0], |best, place| better(best, place))
    };
    let all = layers[0].overall.len();
    let (fair, optimistic) = (choose(0..half), choose(0..all));
    [(fair.layer, &fair.overall[half..]), (optimistic.layer, &optimistic.overall)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_is_the_quantiles_of_the_resamples() {
        let accuracies: Vec<f64> = (0..=40).map(|i| f64::from(i) / 40.0).collect();
        let found = Decodability::over(&accuracies);
        assert!((found.score - 0.5).abs() < 1e-12);
        assert!((found.lo - 0.025).abs() < 1e-12 && (found.hi - 0.975).abs() < 1e-12);
    }

    #[test]
    fn the_held_out_score_does_not_see_the_resamples_that_chose_the_layer() {
        let place = |layer, overall: &[f64]| Place {
            layer,
            token: 0,
            probe: 0,
            overall: overall.to_vec(),
            by_concept: Vec::new(),
            shuffled: Vec::new(),
        };
        // Layer 1 is lucky in the first half; layer 2 is better on the whole.
        let layers =
            [place(0, &[0.2, 0.2, 0.2, 0.2]), place(1, &[0.9, 0.9, 0.1, 0.1]), place(2, &[0.6, 0.6, 0.6, 0.6])];
        let [held_out, optimistic] = best_layers(&layers.iter().collect::<Vec<_>>());
        assert_eq!(held_out, (1, &[0.1, 0.1][..]));
        assert_eq!(optimistic, (2, &[0.6, 0.6, 0.6, 0.6][..]));
    }
}
