//! Concept Decodability: how often a probe reads the concept from a layer at a token.

mod rows;
mod show;

use std::collections::BTreeMap;

use probe::{Layer, Probe, ProbeReading, Representations, States, Study, Subject, SubjectError};
use rayon::prelude::*;

pub use rows::{BestLayerRow, DecodabilityRow, Selection};
pub(super) use show::{AtQuery, at_query, decodability_grid, layer_axis, step_axis};

use super::{Live, MeasureError, Measurement, NoOptions, OverResamples, Session};
use crate::show::{Section, Shown, query};

/// The accuracy of every probe and its control, at every layer and probed token, over resamples; and the best layer.
#[derive(Clone, Copy, Debug)]
pub struct Decodability;

/// Every layer, token, probe and control; and the best layer of every token and probe, chosen in two ways.
pub(super) type Tables = (Vec<DecodabilityRow>, Vec<BestLayerRow>);

impl Measurement for Decodability {
    const NAME: &'static str = "cd";
    const ABOUT: &'static str = "Measure Concept Decodability again, at every checkpoint";
    const FIGURES: &'static [&'static str] = &["heatmap"];
    type Options = NoOptions;
    type Plan = Vec<usize>;
    type Rows = Tables;

    fn plan(NoOptions {}: NoOptions, session: &Session<'_>) -> Result<Vec<usize>, MeasureError> {
        Ok(session.subjects.steps()?)
    }

    fn measure(steps: &Vec<usize>, session: &Session<'_>) -> Result<Tables, MeasureError> {
        let (mut cd, mut best) = Tables::default();
        for &step in steps {
            (session.progress)(&format!("step {step}"));
            let tables = Self::at(session.study, &*session.subjects.at(step)?, step)?;
            cd.extend(tables.0);
            best.extend(tables.1);
        }
        Ok((cd, best))
    }

    fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
        show::show(shown)
    }
}

impl Live for Decodability {
    fn at(study: &Study, subject: &dyn Subject, step: usize) -> Result<Tables, MeasureError> {
        let mut scores = Scores::new(study);
        study.read(subject, &[], |resample, states| scores.add(resample, &states))?;
        Ok((scores.rows(step), scores.best_rows(step)))
    }

    fn headline((cd, best): &Tables, _: &Shown<'_>) -> Option<String> {
        let fair =
            || best.iter().filter(|row| row.probe == probe::ProbeKind::CD && row.selection == Selection::HeldOut);
        let query = query(fair().map(|row| row.token))?;
        let shown = fair().find(|row| row.token == query)?;
        let chance = cd.first()?.chance;
        Some(format!("CD {:.2} (chance {chance:.2})", shown.score))
    }
}

/// Accuracies of one probe on one layer at one token.
struct Place {
    layer: Layer,
    token: usize,
    /// Index into the study's probes.
    probe: usize,
    /// `[resamples]`
    overall: Vec<f64>,
    /// `[n_concepts][resamples]`
    by_concept: Vec<Vec<f64>>,
    /// With permuted labels, `[resamples]`.
    shuffled: Vec<f64>,
}

/// Accuracies at every place, of the resamples so far.
pub(super) struct Scores<'a> {
    study: &'a Study,
    probes: Vec<Box<dyn Probe>>,
    /// By layer, then token, then probe.
    places: Vec<Place>,
}

impl<'a> Scores<'a> {
    pub(super) fn new(study: &'a Study) -> Self {
        Self { study, probes: study.probes(), places: Vec::new() }
    }

    /// Adds resample number `resample`; the resamples of a layer come in their order, layers in any.
    pub(super) fn add(&mut self, resample: usize, states: &Representations) {
        for place in self.score(resample, states) {
            let key = |place: &Place| (place.layer, place.token, place.probe);
            match self.places.binary_search_by_key(&key(&place), key) {
                Err(at) => self.places.insert(at, place),
                Ok(at) => {
                    let known = &mut self.places[at];
                    known.overall.extend(place.overall);
                    known.shuffled.extend(place.shuffled);
                    known.by_concept.iter_mut().zip(place.by_concept).for_each(|(all, more)| all.extend(more));
                }
            }
        }
    }

    fn score(&self, resample: usize, states: &Representations) -> Vec<Place> {
        let labels = &states.labels;
        let shuffled = self.study.shuffled(labels, resample);
        let tokens = states.tokens.len();
        let places: Vec<_> =
            (0..states.layers.len()).flat_map(|layer| (0..tokens).map(move |token| (layer, token))).collect();
        let score = |&(layer, token): &(usize, usize)| {
            let here = states.states(layer, token);
            let score = |probe: usize| {
                let guesses = self.probes[probe].guess(&here, &[labels, &shuffled]);
                let of_concept = |concept| {
                    let members = || labels.iter().zip(&guesses[0]).filter(move |(label, _)| **label == concept);
                    members().filter(|(label, guess)| label == guess).count() as f64 / members().count() as f64
                };
                Place {
                    layer: states.layers[layer],
                    token,
                    probe,
                    overall: vec![accuracy(labels, &guesses[0])],
                    by_concept: (0..self.study.concepts().len()).map(|concept| vec![of_concept(concept)]).collect(),
                    shuffled: vec![accuracy(&shuffled, &guesses[1])],
                }
            };
            (0..self.probes.len()).map(score).collect::<Vec<_>>()
        };
        places.par_iter().flat_map_iter(score).collect()
    }

    /// A row for every place, concept and control.
    pub(super) fn rows(&self, step: usize) -> Vec<DecodabilityRow> {
        let mut rows = Vec::new();
        for place in &self.places {
            let kind = self.study.probe.probes[place.probe];
            let mut row = |probe: ProbeReading, concept: Option<&str>, accuracies: &[f64]| {
                let OverResamples { score, lo, hi, n } = OverResamples::of(accuracies);
                let (token, chance) = (self.study.tokens[place.token], self.study.chance());
                let (layer, concept) = (place.layer, concept.map(str::to_owned));
                rows.push(DecodabilityRow { step, layer, token, probe, concept, score, chance, lo, hi, n });
            };
            row(ProbeReading::of(kind), None, &place.overall);
            for (concept, accuracies) in self.study.concepts().iter().zip(&place.by_concept) {
                row(ProbeReading::of(kind), Some(&concept.name), accuracies);
            }
            row(ProbeReading::control(kind), None, &place.shuffled);
        }
        rows
    }

    /// The best layer of every token and probe.
    fn best_rows(&self, step: usize) -> Vec<BestLayerRow> {
        let mut best = Vec::new();
        for (index, &token) in self.study.tokens.iter().enumerate() {
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

/// The share of labels that are guessed.
pub(super) fn accuracy(labels: &[usize], guesses: &[usize]) -> f64 {
    labels.iter().zip(guesses).filter(|(label, guess)| label == guess).count() as f64 / labels.len() as f64
}

/// The states of one resample at every probed token, `[tokens]`, each at one layer.
#[derive(Clone, Default)]
pub(super) struct Resample {
    pub(super) tokens: BTreeMap<usize, States>,
    /// Concept of every prompt.
    pub(super) labels: Vec<usize>,
}

/// Every resample, with the states of each probed token at its layer in `layers`.
pub(super) fn states_at(study: &Study, subject: &dyn Subject, layers: &[Layer]) -> Result<Vec<Resample>, SubjectError> {
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
