//! Controls of text: what a probe reads without training, without the pairing of inputs and answers, and from the words of
//! the answers alone.

use std::collections::{BTreeMap, BTreeSet};

use nalgebra::DMatrix;
use probe::{Control, Layer, Prompts, States, Study, Subject, SubjectError};

use super::{DecodabilityRow, LabelledStates, control_rows, rows_of_states};
use crate::measurements::shots::{query_after, shots_of};

/// The rows of the controls that one model of text has. After two demonstrations and more: states of prompts in which the
/// answers of the demonstrations are permuted, at every layer. After one and more: the bag of the demonstrations' answers,
/// which stands at layer 0 and has nothing of the model but how it cuts answers into tokens.
///
/// # Errors
/// When the model cannot be read, or the prompts cannot be cut into its tokens.
///
/// # Panics
/// When the study is of pairs of numbers.
pub(super) fn rows_of_prompts(
    study: &Study,
    subject: &dyn Subject,
    step: usize,
) -> Result<Vec<DecodabilityRow>, SubjectError> {
    let (mut rows, resamples) = (Vec::new(), study.resamples()?);
    for shots in shots_of(study).into_iter().filter(|&shots| shots >= 2) {
        let permuted = |resample| study.with_answers_permuted(resample, shots);
        let groups: Vec<Prompts> = (0..resamples.len()).map(permuted).collect::<Result<_, _>>()?;
        let token = query_after(shots);
        rows.extend(control_rows(study, subject, step, Control::PermutedAnswers, &groups, &[token])?);
    }
    let answers = |prompts: &Prompts| Ok((subject.answer_tokens(prompts)?, prompts.labels()));
    let answers = resamples.iter().map(answers).collect::<Result<Vec<_>, SubjectError>>()?;
    for shots in shots_of(study).into_iter().filter(|&shots| shots >= 1) {
        let bag = |(tokens, labels): &(Vec<Vec<Vec<u32>>>, Vec<usize>)| LabelledStates {
            states: bags(tokens, shots),
            labels: labels.clone(),
        };
        let bags: Vec<LabelledStates> = answers.iter().map(bag).collect();
        rows.extend(rows_of_states(study, step, Layer(0), query_after(shots), Control::Bag, &bags));
    }
    Ok(rows)
}

/// The rows of a model of the same architecture with weights drawn anew.
///
/// # Errors
/// When the model cannot be read.
pub(super) fn rows_of_untrained(
    study: &Study,
    subject: &dyn Subject,
    step: usize,
) -> Result<Vec<DecodabilityRow>, SubjectError> {
    control_rows(study, subject, step, Control::Untrained, &study.resamples()?, &study.tokens)
}

/// How often each token occurs in the first `shots` answers of each prompt, tokens that occur in none being left out.
///
/// # Shapes
/// `[n_prompts][n_points][tokens]` to `[n_prompts, tokens that occur]`.
fn bags(answers: &[Vec<Vec<u32>>], shots: usize) -> States {
    let tokens_of = |prompt: &Vec<Vec<u32>>| prompt[..shots].concat();
    let known: BTreeSet<u32> = answers.iter().flat_map(tokens_of).collect();
    let columns: BTreeMap<u32, usize> = known.into_iter().zip(0..).collect();
    let mut counts = DMatrix::zeros(answers.len(), columns.len());
    for (row, prompt) in answers.iter().enumerate() {
        tokens_of(prompt).iter().for_each(|token| counts[(row, columns[token])] += 1.0);
    }
    States::new(counts)
}

#[cfg(test)]
mod tests {
    use data::Token;
    use probe::{ProbeKind, ProbeReading, Subjects};

    use super::*;
    use crate::fake::{Counter, TextTraining, text_study};

    #[test]
    fn a_bag_counts_the_tokens_of_the_demonstrations_and_not_of_the_query() {
        let answers = [vec![vec![7, 5], vec![7], vec![99]], vec![vec![5], vec![8, 8], vec![1]]];
        let expected = DMatrix::from_row_slice(2, 3, &[1.0, 2.0, 0.0, 1.0, 0.0, 2.0]);
        assert_eq!(*bags(&answers, 2).rows(), expected);
        assert_eq!(*bags(&answers, 1).rows(), DMatrix::from_row_slice(2, 2, &[1.0, 1.0, 1.0, 0.0]));
    }

    fn score(rows: &[DecodabilityRow], control: Control, token: Token, layer: usize) -> f64 {
        let reading = ProbeReading::control(ProbeKind::CD, control);
        let here = |row: &&DecodabilityRow| {
            row.probe == reading && row.token == token && row.layer == Layer(layer) && row.concept.is_none()
        };
        rows.iter().find(here).unwrap_or_else(|| panic!("{reading} at {token}, layer {layer}")).score
    }

    /// The fake reads the answers as a set: permuting them changes nothing, not training it everything.
    #[test]
    fn every_control_of_text_has_its_rows() {
        let (study, step) = (text_study(), 4);
        let rows = rows_of_prompts(&study, &Counter::new(0.5), step).unwrap();
        let concepts = study.concepts().len() + 1;
        // Two numbers of demonstrations: three layers each, and one bag each.
        assert_eq!(rows.len(), 2 * (3 + 1) * study.probe.probes.len() * concepts);
        assert!(rows.iter().all(|row| row.step == step && row.n == study.probe.resamples));
        for token in [Token::X(4), Token::X(6)] {
            assert_eq!(score(&rows, Control::PermutedAnswers, token, 2), 1.0);
            // Random digits say little.
            assert!(score(&rows, Control::Bag, token, 0) < 0.8);
        }
        let untrained = TextTraining::new();
        let rows = rows_of_untrained(&study, &*untrained.untrained().unwrap(), step).unwrap();
        assert_eq!(rows.len(), 2 * 3 * study.probe.probes.len() * concepts);
        assert!(score(&rows, Control::Untrained, Token::X(6), 2) < 0.8);
    }

    #[test]
    fn no_demonstration_has_neither_bag_nor_permutation() {
        let mut study = text_study();
        study.tokens = vec![Token::X(1), Token::X(2)];
        let rows = rows_of_prompts(&study, &Counter::new(0.5), 0).unwrap();
        assert!(rows.iter().all(|row| row.token == Token::X(2) && row.probe.control == Some(Control::Bag)));
        assert!(!rows.is_empty());
    }
}
