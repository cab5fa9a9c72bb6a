//! An operator on two strings of bits.

use rand::{Rng, RngExt};
use serde::Deserialize;

use super::settings::Concepts;
use super::{TextPair, TextPrompt, TextSettings, TextTask};
use crate::{Concept, ConceptId, Purpose, TaskError};

/// Configuration of the task `bitwise`.
///
/// | field | unit | range |
/// |---|---|---|
/// | `bits` | bits of either string | 1 … 32 |
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BitwiseConfig {
    /// Length of the strings.
    pub bits: usize,
}

impl BitwiseConfig {
    pub(super) fn check(&self) -> Result<(), TaskError> {
        if (1..=32).contains(&self.bits) {
            return Ok(());
        }
        Err(TaskError::out_of_range("task.bits", "between 1 and 32", self.bits))
    }

    /// The task; the fields are checked.
    pub(super) fn build(&self, settings: &TextSettings) -> Bitwise {
        let concepts = settings.concepts(OPERATORS.map(|(name, _)| name));
        Bitwise { bits: self.bits, n_points: settings.n_points(), named: settings.named, concepts }
    }
}

/// An operator on all bits at once.
type Operator = fn(u32, u32) -> u32;

/// The concepts in order.
const OPERATORS: [(&str, Operator); 6] = [
    ("AND", |a, b| a & b),
    ("NAND", |a, b| !(a & b)),
    ("OR", |a, b| a | b),
    ("NOR", |a, b| !(a | b)),
    ("XOR", |a, b| a ^ b),
    ("XNOR", |a, b| !(a ^ b)),
];

/// Two random strings of bits, and what the concept's operator makes of them: `01101 10011` and under AND `00001`. Under
/// Null the answer is a random string.
///
/// # Source
/// The bitwise task of Han et al., arXiv 2412.12276.
#[derive(Debug)]
pub(super) struct Bitwise {
    bits: usize,
    n_points: usize,
    named: bool,
    concepts: Concepts,
}

impl TextTask for Bitwise {
    fn n_points(&self) -> usize {
        self.n_points
    }

    fn concepts(&self) -> &[Concept] {
        &self.concepts.all
    }

    fn null(&self) -> Option<ConceptId> {
        Some(self.concepts.null)
    }

    fn stock(&self, _: ConceptId, _: Purpose) -> Option<usize> {
        let bits = u32::try_from(2 * self.bits * self.n_points).ok()?;
        2usize.checked_pow(bits)
    }

    fn sample(&self, concept: ConceptId, _: Purpose, rng: &mut dyn Rng) -> TextPrompt {
        let bits = self.bits;
        let mask = u32::MAX >> (32 - bits);
        let operator = OPERATORS.get(concept.0);
        let mut pair = || {
            let (a, b) = (rng.random::<u32>() & mask, rng.random::<u32>() & mask);
            let answer = operator.map_or_else(|| rng.random(), |(_, apply)| apply(a, b)) & mask;
            TextPair { input: format!("{a:0bits$b} {b:0bits$b}"), answer: format!("{answer:0bits$b}") }
        };
        let pairs = (0..self.n_points).map(|_| pair()).collect();
        let instruction = operator.filter(|_| self.named).map(|(name, _)| format!("Bitwise {name}"));
        TextPrompt { concept, instruction, pairs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::settings::check_contract;
    use crate::{Place, Stream, Template};

    fn settings(named: bool, null: bool) -> TextSettings {
        let template = Template::new("{input} = {output}\n").unwrap();
        TextSettings { shots: vec![0, 3], template, null, named, place: Place::Prompt }
    }

    fn prompt(bits: usize, concept: usize, index: u64) -> TextPrompt {
        let mut rng = Stream::new(0, Purpose::Eval).rng(index);
        BitwiseConfig { bits }.build(&settings(true, false)).sample(ConceptId(concept), Purpose::Eval, &mut rng)
    }

    #[test]
    fn the_contract_of_a_task_of_text_is_kept() {
        for (named, null, bits) in [(false, false, 5), (true, true, 32)] {
            let settings = settings(named, null);
            check_contract(&BitwiseConfig { bits }.build(&settings), &settings);
        }
    }

    #[test]
    fn every_bit_of_an_answer_is_the_operator_of_the_two_bits_above_it() {
        let truth: [(&str, [char; 4]); 6] = [
            ("Bitwise AND", ['0', '0', '0', '1']),
            ("Bitwise NAND", ['1', '1', '1', '0']),
            ("Bitwise OR", ['0', '1', '1', '1']),
            ("Bitwise NOR", ['1', '0', '0', '0']),
            ("Bitwise XOR", ['0', '1', '1', '0']),
            ("Bitwise XNOR", ['1', '0', '0', '1']),
        ];
        for (concept, (name, table)) in truth.into_iter().enumerate() {
            for bits in [1, 5, 32] {
                let prompt = prompt(bits, concept, 7);
                assert_eq!(prompt.instruction.as_deref(), Some(name));
                for TextPair { input, answer } in &prompt.pairs {
                    let (a, b) = input.split_once(' ').unwrap();
                    assert_eq!((a.len(), b.len(), answer.len()), (bits, bits, bits));
                    for ((a, b), answer) in a.chars().zip(b.chars()).zip(answer.chars()) {
                        let row = 2 * usize::from(a == '1') + usize::from(b == '1');
                        assert_eq!(answer, table[row], "{name}: {a} {b}");
                    }
                }
            }
        }
    }

    #[test]
    fn answers_under_null_are_random() {
        let ones = |index| prompt(32, 6, index).pairs.iter().map(|it| it.answer.matches('1').count()).sum::<usize>();
        let share = (0..100).map(ones).sum::<usize>() as f64 / (100.0 * 4.0 * 32.0);
        // Five standard errors of a share of a half over 12,800 bits.
        assert!((share - 0.5).abs() < 0.022, "{share}");
    }
}
