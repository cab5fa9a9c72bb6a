//! Concept Decodability: how often a probe reads the concept from a layer at a token.

mod best;
mod controls;
mod layers_figure;
mod rows;
mod scores;
mod show;

use data::Token;
use probe::{AnyTask, Control, Delivery, Layer, ProbeKind, Prompts, States, Study, Subject, SubjectError, Wanted};

pub(crate) use best::at_best_layer;
pub use rows::{BestLayerRow, DecodabilityRow, Selection};
pub(super) use scores::{Resample, Scores, states_at};
pub(super) use show::{AtQuery, at_query, decodability_grid, layer_axis, step_axis};

use super::{Live, MeasureError, Measurement, Needs, NoOptions, Session};
use crate::show::{Section, Shown, query};

/// The accuracy of every probe and its controls, at every layer and probed token, over resamples; and the best layer. The
/// control of permuted labels is there for any prompts, and the others for text.
#[derive(Clone, Copy, Debug)]
pub struct Decodability;

/// Every layer, token, probe and control; and the best layer of every token and probe, chosen in two ways.
pub(super) type Tables = (Vec<DecodabilityRow>, Vec<BestLayerRow>);

impl Measurement for Decodability {
    const NAME: &'static str = "cd";
    const ABOUT: &'static str = "Measure Concept Decodability again, at every checkpoint";
    const NEEDS: Needs = Needs::States;
    const FIGURES: &'static [&'static str] = &["heatmap", "layers"];
    type Options = NoOptions;
    type Plan = Vec<usize>;
    type Rows = Tables;

    fn plan(NoOptions {}: NoOptions, session: &Session<'_>) -> Result<Vec<usize>, MeasureError> {
        Ok(session.subjects.steps()?)
    }

    fn measure(steps: &Vec<usize>, session: &Session<'_>) -> Result<Tables, MeasureError> {
        let (mut cd, best): Tables =
            session.over_steps(steps, |subject, step| Self::at(session.study, subject, step))?;
        // It is the same at every step, and stands at the last.
        if let (AnyTask::Text(_), Some(&last)) = (&session.study.task, steps.last())
            && let Some(untrained) = session.subjects.untrained()
        {
            (session.progress)("the untrained model");
            cd.extend(controls::rows_of_untrained(session.study, &*untrained, last)?);
        }
        Ok((cd, best))
    }

    fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
        show::show(shown)
    }
}

impl Live for Decodability {
    fn at(study: &Study, subject: &dyn Subject, step: usize) -> Result<Tables, MeasureError> {
        let (mut cd, best) = decodability_rows(study, subject, step)?;
        if matches!(study.task, AnyTask::Text(_)) {
            cd.extend(controls::rows_of_prompts(study, subject, step)?);
        }
        Ok((cd, best))
    }

    fn headline((cd, best): &Tables, _: &Shown<'_>) -> Option<String> {
        let shown = held_out_cd(best)?;
        let chance = cd.first()?.chance;
        Some(format!("CD {:.2} (chance {chance:.2})", shown.score))
    }
}

/// Held-out CD at the query's x token, among the rows of one step.
pub(crate) fn held_out_cd(best: &[BestLayerRow]) -> Option<&BestLayerRow> {
    let fair = || best.iter().filter(|row| row.probe == ProbeKind::CD && row.selection == Selection::HeldOut);
    let query = query(fair().map(|row| row.token))?;
    fair().find(|row| row.token == query)
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
///
/// # Panics
/// When the control is that of permuted labels, which is in neither.
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
///
/// # Panics
/// When the control is that of permuted labels.
pub fn rows_of_states(
    study: &Study,
    step: usize,
    layer: Layer,
    token: Token,
    control: Control,
    resamples: &[LabelledStates],
) -> Vec<DecodabilityRow> {
    let mut scores = Scores::of_control(study, control, &[token], resamples.len());
    for (resample, states) in resamples.iter().enumerate() {
        scores.add_states(resample, layer, 0, states);
    }
    scores.rows(step)
}

#[cfg(test)]
mod tests {
    use data::{Purpose, Stream, TextPrompt};
    use probe::ProbeReading;

    use super::*;
    use crate::fake::{Counter, text_study};

    const CD: probe::ProbeKind = probe::ProbeKind::CD;

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
        let groups: Vec<Prompts> = study.resamples().unwrap().iter().map(&mut permuted).collect();
        let control = Control::PermutedAnswers;
        let rows = control_rows(&study, &model, 7, control, &groups, &[token]).unwrap();
        assert_eq!(scores(&rows, token, Some(control)), plain);
        assert!(rows.iter().all(|row| (row.step, row.n, row.probe.control) == (7, groups.len(), Some(control))));

        let control = Control::Untrained;
        let rows = control_rows(&study, &Counter::new(0.0), 7, control, &study.resamples().unwrap(), &[token]).unwrap();
        // Only the input is left in its states.
        let untrained = scores(&rows, token, Some(control));
        assert_eq!([&untrained[..3], &untrained[3..6], &untrained[6..]].map(|at| at[0].2), [untrained[0].2; 3]);
        assert!(untrained[0].2 < 0.8, "{untrained:?}");
    }

    /// Whatever order a model is read in, and whether its states come from it or as they are.
    #[test]
    fn states_at_hand_give_the_rows_of_the_model_they_are_of() {
        let (study, model, token, control) = (text_study(), Counter::new(0.5), Token::X(6), Control::Bag);
        let groups = study.resamples().unwrap();
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
