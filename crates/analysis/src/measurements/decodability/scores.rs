//! Accuracies of every probe at every layer and token, over resamples.

use std::collections::BTreeMap;

use data::Token;
use probe::{
    Control, Guess, Layer, Probe, ProbeReading, Representations, States, Study, Subject, SubjectError, accuracy,
};
use rayon::prelude::*;

use super::{BestLayerRow, DecodabilityRow, LabelledStates, Selection};
use crate::measurements::OverResamples;

/// Accuracies of one probe on one layer at one token.
struct Place {
    layer: Layer,
    token: usize,
    /// Index into the study's probes.
    probe: usize,
    /// With the true labels.
    scores: ByResample,
    /// With permuted labels, where they were scored.
    shuffled: Option<ByResample>,
}

/// Accuracies in every resample; not a number in those that were not scored.
struct ByResample {
    /// `[resamples]`
    overall: Vec<f64>,
    /// `[n_concepts][resamples]`
    by_concept: Vec<Vec<f64>>,
}

/// Accuracies of one probe on the states of one resample, with one labelling.
struct Accuracies {
    overall: f64,
    /// `[n_concepts]`
    by_concept: Vec<f64>,
}

impl Accuracies {
    fn of(labels: &[usize], guesses: &[Guess], concepts: usize) -> Self {
        let of_concept = |concept| {
            let members = labels.iter().zip(guesses).filter(move |(label, _)| **label == concept);
            accuracy(members.map(|(_, guess)| guess))
        };
        Self { overall: accuracy(guesses), by_concept: (0..concepts).map(of_concept).collect() }
    }
}

impl ByResample {
    fn new(concepts: usize, resamples: usize) -> Self {
        let none = vec![f64::NAN; resamples];
        Self { by_concept: vec![none.clone(); concepts], overall: none }
    }

    fn set(&mut self, resample: usize, Accuracies { overall, by_concept }: &Accuracies) {
        self.overall[resample] = *overall;
        self.by_concept.iter_mut().zip(by_concept).for_each(|(all, one)| all[resample] = *one);
    }
}

/// Accuracies at every place.
pub(in crate::measurements) struct Scores<'a> {
    study: &'a Study,
    /// Which control the states are. Where they are none, permuted labels are scored beside the true ones.
    control: Option<Control>,
    tokens: Vec<Token>,
    resamples: usize,
    probes: Vec<Box<dyn Probe>>,
    /// By layer, then token, then probe.
    places: Vec<Place>,
}

impl<'a> Scores<'a> {
    /// Of the study's resamples at its tokens.
    pub(in crate::measurements) fn new(study: &'a Study) -> Self {
        let (tokens, resamples) = (study.tokens.clone(), study.probe.resamples);
        Self { study, control: None, tokens, resamples, probes: study.probes(), places: Vec::new() }
    }

    /// Of another number of resamples at other tokens, whose states are a control.
    pub(super) fn of_control(study: &'a Study, control: Control, tokens: &[Token], resamples: usize) -> Self {
        assert!(
            control != Control::Shuffled,
            "permuted labels are scored beside the true ones, by `decodability_rows`"
        );
        Self { control: Some(control), tokens: tokens.to_vec(), resamples, ..Self::new(study) }
    }

    /// Adds states of resample number `resample`, at the tokens in their order; resamples and layers come in any.
    pub(in crate::measurements) fn add(&mut self, resample: usize, states: &Representations) {
        let labellings = self.labellings(resample, &states.labels);
        let tokens = states.tokens.len();
        let places: Vec<_> =
            (0..states.layers.len()).flat_map(|layer| (0..tokens).map(move |token| (layer, token))).collect();
        let score = |&(layer, token): &(usize, usize)| {
            let found = self.score(&states.states(layer, token), &labellings);
            (states.layers[layer], token, found)
        };
        let found: Vec<_> = places.par_iter().map(score).collect();
        found.into_iter().for_each(|(layer, token, found)| self.set(resample, layer, token, &found));
    }

    /// Adds states of resample number `resample` that are not a model's, at one layer and token, an index into the tokens.
    pub(super) fn add_states(&mut self, resample: usize, layer: Layer, token: usize, these: &LabelledStates) {
        let LabelledStates { states, labels } = these;
        let found = self.score(states, &self.labellings(resample, labels));
        self.set(resample, layer, token, &found);
    }

    /// The labels that are guessed: the true ones, and where the states are no control permuted ones behind them.
    fn labellings(&self, resample: usize, labels: &[usize]) -> Vec<Vec<usize>> {
        let shuffled = self.control.is_none().then(|| self.study.shuffled(labels, resample));
        std::iter::once(labels.to_vec()).chain(shuffled).collect()
    }

    /// What every probe makes of some states, `[probes][labellings]`.
    fn score(&self, states: &States, labellings: &[Vec<usize>]) -> Vec<Vec<Accuracies>> {
        let (labellings, concepts): (Vec<&[usize]>, _) =
            (labellings.iter().map(Vec::as_slice).collect(), self.study.concepts().len());
        let of_probe = |probe: &dyn Probe| {
            let guesses = probe.guess(states, &labellings);
            labellings.iter().zip(&guesses).map(|(labels, guesses)| Accuracies::of(labels, guesses, concepts)).collect()
        };
        self.probes.iter().map(|probe| of_probe(probe.as_ref())).collect()
    }

    /// Notes what every probe made of resample number `resample` at a layer and token.
    fn set(&mut self, resample: usize, layer: Layer, token: usize, found: &[Vec<Accuracies>]) {
        for (probe, found) in found.iter().enumerate() {
            let none = || ByResample::new(self.study.concepts().len(), self.resamples);
            let key = |place: &Place| (place.layer, place.token, place.probe);
            let at = self.places.binary_search_by_key(&(layer, token, probe), key).unwrap_or_else(|at| {
                let shuffled = found.get(1).map(|_| none());
                self.places.insert(at, Place { layer, token, probe, scores: none(), shuffled });
                at
            });
            let Place { scores, shuffled, .. } = &mut self.places[at];
            std::iter::once(scores).chain(shuffled).zip(found).for_each(|(all, one)| all.set(resample, one));
        }
    }

    /// A row for every place and concept, and the same for the control with permuted labels where it was scored.
    pub(in crate::measurements) fn rows(&self, step: usize) -> Vec<DecodabilityRow> {
        let mut rows = Vec::new();
        for Place { layer, token, probe, scores, shuffled } in &self.places {
            let mut row = |control, concept: Option<&str>, accuracies: &[f64]| {
                let OverResamples { score, lo, hi, n } = OverResamples::of(accuracies);
                let (token, chance) = (self.tokens[*token], self.study.chance());
                let (layer, concept) = (*layer, concept.map(str::to_owned));
                let probe = ProbeReading { probe: self.study.probe.probes[*probe], control };
                rows.push(DecodabilityRow { step, layer, token, probe, concept, score, chance, lo, hi, n });
            };
            let shuffled = shuffled.iter().map(|scores| (Some(Control::Shuffled), scores));
            for (control, scores) in std::iter::once((self.control, scores)).chain(shuffled) {
                row(control, None, &scores.overall);
                for (concept, accuracies) in self.study.concepts().iter().zip(&scores.by_concept) {
                    row(control, Some(&concept.name), accuracies);
                }
            }
        }
        rows
    }

    /// The best layer of every token and probe.
    pub(super) fn best_rows(&self, step: usize) -> Vec<BestLayerRow> {
        let mut best = Vec::new();
        for (index, &token) in self.tokens.iter().enumerate() {
            for (number, &probe) in self.study.probe.probes.iter().enumerate() {
                let here = |place: &&Place| (place.token, place.probe) == (index, number);
                let layers: Vec<_> = self.places.iter().filter(here).collect();
                let chosen = [Selection::HeldOut, Selection::Optimistic].into_iter().zip(best_layers(&layers));
                for (selection, (layer, accuracies)) in chosen {
                    let OverResamples { score, lo, hi, .. } = OverResamples::of(accuracies);
                    best.push(BestLayerRow { step, token, probe, selection, layer, score, lo, hi });
                }
            }
        }
        best
    }
}

/// The states of one resample at every probed token, `[tokens]`, each at one layer.
#[derive(Clone, Default)]
pub(in crate::measurements) struct Resample {
    pub(in crate::measurements) tokens: BTreeMap<usize, States>,
    /// Concept of every prompt.
    pub(in crate::measurements) labels: Vec<usize>,
}

/// Every resample, with the states of each probed token at its layer in `layers`.
pub(in crate::measurements) fn states_at(
    study: &Study,
    subject: &dyn Subject,
    layers: &[Layer],
) -> Result<Vec<Resample>, SubjectError> {
    let mut found = vec![Resample::default(); study.probe.resamples];
    study.read(subject, layers, |resample, states| {
        for (token, layer) in layers.iter().enumerate() {
            if let Some(at) = states.layers.iter().position(|here| here == layer) {
                found[resample].tokens.insert(token, states.states(at, token));
            }
        }
        found[resample].labels = states.labels;
    })?;
    Ok(found)
}

/// The best layer and its accuracies: chosen on the first half of the resamples and scored on the second, and both on
/// all. Among equals the earliest layer is chosen.
fn best_layers<'a>(layers: &[&'a Place]) -> [(Layer, &'a [f64]); 2] {
    let half = layers[0].scores.overall.len() / 2;
    let choose = |on: std::ops::Range<usize>| {
        let sum = |place: &Place| place.scores.overall[on.clone()].iter().sum::<f64>();
        // Equal counts of right guesses, in another order, may differ by rounding.
        let better = |best: &'a Place, place: &&'a Place| if sum(place) > sum(best) + 1e-9 { *place } else { best };
        layers[1..].iter().fold(layers[0], |best, place| better(best, place))
    };
    let all = layers[0].scores.overall.len();
    let (fair, optimistic) = (choose(0..half), choose(0..all));
    [(fair.layer, &fair.scores.overall[half..]), (optimistic.layer, &optimistic.scores.overall)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_held_out_score_does_not_see_the_resamples_that_chose_the_layer() {
        let place = |layer, overall: &[f64]| Place {
            layer,
            token: 0,
            probe: 0,
            scores: ByResample { overall: overall.to_vec(), by_concept: Vec::new() },
            shuffled: None,
        };
        // Layer 1 is lucky in the first half; layer 2 is better on the whole.
        let layers = [
            place(Layer(0), &[0.2, 0.2, 0.2, 0.2]),
            place(Layer(1), &[0.9, 0.9, 0.1, 0.1]),
            place(Layer(2), &[0.6, 0.6, 0.6, 0.6]),
        ];
        let [held_out, optimistic] = best_layers(&layers.iter().collect::<Vec<_>>());
        assert_eq!(held_out, (Layer(1), &[0.1, 0.1][..]));
        assert_eq!(optimistic, (Layer(2), &[0.6, 0.6, 0.6, 0.6][..]));
    }
}
