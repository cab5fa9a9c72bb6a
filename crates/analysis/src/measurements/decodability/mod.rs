//! Concept Decodability: how often a probe reads the concept from a layer at a token.

mod rows;
mod show;

use std::collections::BTreeMap;

use data::Token;
use probe::{
    Control, Delivery, Layer, Probe, ProbeReading, Prompts, Representations, States, Study, Subject, SubjectError,
    Wanted,
};
use rayon::prelude::*;

pub use rows::{BestLayerRow, DecodabilityRow, Selection};
pub(super) use show::{AtQuery, at_query, decodability_grid, layer_axis, step_axis};

use super::{Live, MeasureError, Measurement, Needs, NoOptions, OverResamples, Session};
use crate::show::{Section, Shown, query};

/// The accuracy of every probe and its control, at every layer and probed token, over resamples; and the best layer.
#[derive(Clone, Copy, Debug)]
pub struct Decodability;

/// Every layer, token, probe and control; and the best layer of every token and probe, chosen in two ways.
pub(super) type Tables = (Vec<DecodabilityRow>, Vec<BestLayerRow>);

impl Measurement for Decodability {
    const NAME: &'static str = "cd";
    const ABOUT: &'static str = "Measure Concept Decodability again, at every checkpoint";
    const NEEDS: Needs = Needs::States;
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
        Ok(decodability_rows(study, subject, step)?)
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

/// The rows of a model: every layer, probed token and probe with its control of permuted labels, over all concepts and for
/// each; and the best layer of every token and probe.
///
/// # Errors
/// When the model cannot be read.
pub fn decodability_rows(
    study: &Study,
    subject: &dyn Subject,
    step: usize,
) -> Result<(Vec<DecodabilityRow>, Vec<BestLayerRow>), SubjectError> {
    let mut scores = Scores::new(study);
    study.read(subject, &[], |resample, states| scores.add(resample, &states))?;
    Ok((scores.rows(step), scores.best_rows(step)))
}

/// The rows of a control that is in the model or in the prompts: every layer, token in `tokens` and probe with the true
/// labels, over all concepts and for each. Every group of prompts is a resample, and has prompts of every concept. The
/// groups may be shorter than the study's prompts, so the tokens are given.
///
/// # Errors
/// When the model cannot be read.
pub fn control_rows(
    study: &Study,
    subject: &dyn Subject,
    step: usize,
    control: Control,
    groups: &[Prompts],
    tokens: &[Token],
) -> Result<Vec<DecodabilityRow>, SubjectError> {
    let mut scores = Scores::of_control(study, control, tokens, groups.len());
    subject
        .read(groups, &Wanted::residual(tokens), &mut |Delivery { group, states, .. }| scores.add(group, &states))?;
    Ok(scores.rows(step))
}

/// States of one resample, with the concept of each.
#[derive(Clone, Debug)]
pub struct LabelledStates {
    /// The states.
    pub states: States,
    /// The concept of every state, by its index in the task's list. Every concept has one.
    pub labels: Vec<usize>,
}

/// The rows of a control without a model, as [`control_rows`] at one layer and token: each resample is a matrix of features.
pub fn rows_of_states(
    study: &Study,
    step: usize,
    layer: Layer,
    token: Token,
    control: Control,
    resamples: &[LabelledStates],
) -> Vec<DecodabilityRow> {
    let mut scores = Scores::of_control(study, control, &[token], resamples.len());
    for (resample, LabelledStates { states, labels }) in resamples.iter().enumerate() {
        let found = scores.score(states, labels, &scores.labellings(resample, labels));
        scores.set(resample, layer, 0, found);
    }
    scores.rows(step)
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
    /// With permuted labels, `[resamples]`; not a number where they were not scored.
    shuffled: Vec<f64>,
}

/// Accuracies of one probe on the states of one resample.
struct Accuracies {
    overall: f64,
    /// `[n_concepts]`
    by_concept: Vec<f64>,
    shuffled: Option<f64>,
}

/// Accuracies at every place.
pub(super) struct Scores<'a> {
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
    pub(super) fn new(study: &'a Study) -> Self {
        let (tokens, resamples) = (study.tokens.clone(), study.probe.resamples);
        Self { study, control: None, tokens, resamples, probes: study.probes(), places: Vec::new() }
    }

    fn of_control(study: &'a Study, control: Control, tokens: &[Token], resamples: usize) -> Self {
        Self { control: Some(control), tokens: tokens.to_vec(), resamples, ..Self::new(study) }
    }

    /// Adds states of resample number `resample`, at the tokens in their order; resamples and layers come in any.
    pub(super) fn add(&mut self, resample: usize, states: &Representations) {
        let labellings = self.labellings(resample, &states.labels);
        let tokens = states.tokens.len();
        let places: Vec<_> =
            (0..states.layers.len()).flat_map(|layer| (0..tokens).map(move |token| (layer, token))).collect();
        let score = |&(layer, token): &(usize, usize)| {
            let found = self.score(&states.states(layer, token), &states.labels, &labellings);
            (states.layers[layer], token, found)
        };
        let found: Vec<_> = places.par_iter().map(score).collect();
        found.into_iter().for_each(|(layer, token, found)| self.set(resample, layer, token, found));
    }

    /// The labels that are guessed: the true ones, and where the states are no control permuted ones behind them.
    fn labellings(&self, resample: usize, labels: &[usize]) -> Vec<Vec<usize>> {
        let shuffled = self.control.is_none().then(|| self.study.shuffled(labels, resample));
        std::iter::once(labels.to_vec()).chain(shuffled).collect()
    }

    /// What every probe makes of some states, of which `labels` are true.
    fn score(&self, states: &States, labels: &[usize], labellings: &[Vec<usize>]) -> Vec<Accuracies> {
        let labellings: Vec<&[usize]> = labellings.iter().map(Vec::as_slice).collect();
        let of_probe = |probe: &dyn Probe| {
            let guesses = probe.guess(states, &labellings);
            let of_concept = |concept| {
                let members = || labels.iter().zip(&guesses[0]).filter(move |(label, _)| **label == concept);
                members().filter(|(label, guess)| label == guess).count() as f64 / members().count() as f64
            };
            Accuracies {
                overall: accuracy(labels, &guesses[0]),
                by_concept: (0..self.study.concepts().len()).map(of_concept).collect(),
                shuffled: labellings.get(1).map(|shuffled| accuracy(shuffled, &guesses[1])),
            }
        };
        self.probes.iter().map(|probe| of_probe(probe.as_ref())).collect()
    }

    /// Notes what every probe made of resample number `resample` at a layer and token.
    fn set(&mut self, resample: usize, layer: Layer, token: usize, found: Vec<Accuracies>) {
        for (probe, Accuracies { overall, by_concept, shuffled }) in found.into_iter().enumerate() {
            let none = vec![f64::NAN; self.resamples];
            let key = |place: &Place| (place.layer, place.token, place.probe);
            let at = self.places.binary_search_by_key(&(layer, token, probe), key).unwrap_or_else(|at| {
                let by_concept = vec![none.clone(); by_concept.len()];
                let place = Place { layer, token, probe, overall: none.clone(), by_concept, shuffled: none };
                self.places.insert(at, place);
                at
            });
            let place = &mut self.places[at];
            place.overall[resample] = overall;
            place.by_concept.iter_mut().zip(by_concept).for_each(|(all, one)| all[resample] = one);
            place.shuffled[resample] = shuffled.unwrap_or(f64::NAN);
        }
    }

    /// A row for every place and concept, and for the control with permuted labels where it was scored.
    pub(super) fn rows(&self, step: usize) -> Vec<DecodabilityRow> {
        let mut rows = Vec::new();
        for place in &self.places {
            let kind = self.study.probe.probes[place.probe];
            let mut row = |control, concept: Option<&str>, accuracies: &[f64]| {
                let OverResamples { score, lo, hi, n } = OverResamples::of(accuracies);
                let (token, chance) = (self.tokens[place.token], self.study.chance());
                let (layer, concept) = (place.layer, concept.map(str::to_owned));
                let probe = ProbeReading { probe: kind, control };
                rows.push(DecodabilityRow { step, layer, token, probe, concept, score, chance, lo, hi, n });
            };
            row(self.control, None, &place.overall);
            for (concept, accuracies) in self.study.concepts().iter().zip(&place.by_concept) {
                row(self.control, Some(&concept.name), accuracies);
            }
            if self.control.is_none() {
                row(Some(Control::Shuffled), None, &place.shuffled);
            }
        }
        rows
    }

    /// The best layer of every token and probe.
    fn best_rows(&self, step: usize) -> Vec<BestLayerRow> {
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
    use data::{Purpose, Stream, TextPrompt};

    use super::*;
    use crate::fake::{Counter, text_study};

    const CD: probe::ProbeKind = probe::ProbeKind::CD;

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

    const SHOTS: usize = 3;

    /// CD over all concepts and for each, by layer.
    fn scores(rows: &[DecodabilityRow], token: Token, control: Option<Control>) -> Vec<(Layer, Option<String>, f64)> {
        let here = |row: &&DecodabilityRow| row.token == token && row.probe == ProbeReading { probe: CD, control };
        rows.iter().filter(here).map(|row| (row.layer, row.concept.clone(), row.score)).collect()
    }

    /// A model that reads the answers as a set does as well where they are permuted, and one that reads nothing does not.
    #[test]
    fn controls_are_scored_with_true_labels_over_all_concepts_and_for_each() {
        let (study, model, token) = (text_study(), Counter::new(0.5), Token::X(SHOTS + 1));
        let rows = decodability_rows(&study, &model, 7).unwrap().0;
        let plain = scores(&rows, token, None);
        let layers = [0, 1, 2].map(Layer);
        let places: Vec<_> = plain.iter().map(|(layer, concept, _)| (*layer, concept.as_deref())).collect();
        let expected = layers.into_iter().flat_map(|layer| [None, Some("up"), Some("down")].map(|name| (layer, name)));
        assert_eq!(places, expected.collect::<Vec<_>>());
        assert!(plain[3..].iter().all(|(.., score)| *score == 1.0), "{plain:?}");

        let mut rng = Stream::new(0, Purpose::Shuffle).rng(0);
        let mut permuted = |prompts: &Prompts| -> Prompts {
            let permute = |prompt: &TextPrompt| prompt.with_answers_permuted(SHOTS, &mut rng);
            prompts.text().iter().map(permute).collect::<Vec<_>>().into()
        };
        let groups: Vec<Prompts> = study.resamples().iter().map(&mut permuted).collect();
        let control = Control::PermutedAnswers;
        let rows = control_rows(&study, &model, 7, control, &groups, &[token]).unwrap();
        assert_eq!(scores(&rows, token, Some(control)), plain);
        assert!(rows.iter().all(|row| (row.step, row.n, row.probe.control) == (7, groups.len(), Some(control))));

        let control = Control::Untrained;
        let rows = control_rows(&study, &Counter::new(0.0), 7, control, &study.resamples(), &[token]).unwrap();
        // Only the input is left in its states.
        let untrained = scores(&rows, token, Some(control));
        assert_eq!([&untrained[..3], &untrained[3..6], &untrained[6..]].map(|at| at[0].2), [untrained[0].2; 3]);
        assert!(untrained[0].2 < 0.8, "{untrained:?}");
    }

    /// Whatever order a model is read in, and whether its states come from it or as they are.
    #[test]
    fn states_at_hand_give_the_rows_of_the_model_they_are_of() {
        let (study, model, token, control) = (text_study(), Counter::new(0.5), Token::X(6), Control::Bag);
        let groups = study.resamples();
        let rows = control_rows(&study, &model, 0, control, &groups, &[token]).unwrap();
        let of_resample = |resample: &Resample| {
            let states = resample.tokens[&0].clone();
            LabelledStates { states, labels: resample.labels.clone() }
        };
        for layer in [0, 1, 2].map(Layer) {
            let states: Vec<LabelledStates> =
                states_at(&study, &model, &[layer; 2]).unwrap().iter().map(of_resample).collect();
            let found = rows_of_states(&study, 0, layer, token, control, &states);
            let expected: Vec<_> = rows.iter().filter(|row| row.layer == layer).cloned().collect();
            assert_eq!(found, expected);
            assert_eq!(found.len(), study.probe.probes.len() * 3);
        }
    }
}
