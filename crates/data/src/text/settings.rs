//! The settings that every task of text has.

use serde::Deserialize;

use super::Template;
use crate::{Concept, ConceptId, TaskError};

/// Most demonstrations in a prompt: far above what published work uses, and a prompt of so many still fits a context of
/// 4,096 tokens.
const MAX_SHOTS: usize = 64;

/// What every task of text is told beside its own fields.
///
/// | field | unit | range |
/// |---|---|---|
/// | `shots` | demonstrations | a list of at least one number of 0 … 64, ascending, without repeats |
/// | `template` | | `{input}`, some text, `{output}` and a line break, see [`Template`] |
/// | `null` | | whether Null counts as a concept |
/// | `named` | | whether a prompt begins with what names its concept |
/// | `place` | | `prompt` or `answer`, see [`Place`] |
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextSettings {
    /// The numbers of demonstrations that are measured.
    pub shots: Vec<usize>,
    /// How a pair is written.
    pub template: Template,
    /// Whether prompts without a concept count as a concept of their own, the last one.
    pub null: bool,
    /// Whether a prompt says which concept it is under, as [`TextPrompt::instruction`](super::TextPrompt::instruction).
    pub named: bool,
    /// The token whose state is read.
    pub place: Place,
}

/// The token of a prompt whose state is read and replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// The last token of the prompt, which ends with what the template writes ahead of the answer, without space.
    Prompt,
    /// The last token ahead of the first character of the answer that is no space. It is another one than that of `prompt`
    /// where the tokenizer gives the space ahead of the answer a token of its own.
    Answer,
}

impl TextSettings {
    /// The names of the fields.
    pub(super) const FIELDS: [&'static str; 5] = ["shots", "template", "null", "named", "place"];

    /// Pairs of every prompt: one more than the most demonstrations.
    pub fn n_points(&self) -> usize {
        self.shots.last().map_or(1, |most| most + 1)
    }

    /// Checks every field.
    pub(super) fn check(&self) -> Result<(), TaskError> {
        let ascending = self.shots.is_sorted_by(|a, b| a < b);
        if !ascending || self.shots.last().is_none_or(|&most| most > MAX_SHOTS) {
            let range =
                format!("a list of at least one number between 0 and {MAX_SHOTS}, ascending and without repeats");
            return Err(TaskError::out_of_range("task.shots", range, format!("{:?}", self.shots)));
        }
        Ok(())
    }

    /// The concepts of those names, all equally frequent, and Null behind them where it counts as one.
    pub(super) fn concepts<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Concepts {
        let names: Vec<&str> = names.into_iter().collect();
        let null = ConceptId(names.len());
        let all: Vec<&str> = names.into_iter().chain(self.null.then_some(Concepts::NULL)).collect();
        let weight = 1.0 / all.len() as f64;
        let all = all.into_iter().map(|name| Concept { name: name.to_owned(), weight }).collect();
        Concepts { all, null }
    }
}

/// The concepts of a task that has Null.
#[derive(Clone, Debug)]
pub(super) struct Concepts {
    /// Those that count.
    pub(super) all: Vec<Concept>,
    /// Null, which is the concept behind the others whether it counts as one or not.
    pub(super) null: ConceptId,
}

impl Concepts {
    /// The name of Null.
    pub(super) const NULL: &'static str = "Null";
}

/// Fails a test unless `task` keeps the promises of a task of text under its settings.
#[cfg(test)]
pub(super) fn check_contract(task: &dyn super::TextTask, settings: &TextSettings) {
    use crate::{Purpose, Stream};

    assert_eq!(task.n_points(), settings.n_points());
    let sum: f64 = task.concepts().iter().map(|concept| concept.weight).sum();
    assert!((sum - 1.0).abs() < 1e-12, "{sum}");
    let null = task.null().expect("every task of the library has Null");
    assert_eq!(task.concepts().get(null.0).map(|it| it.name.as_str()), settings.null.then_some(Concepts::NULL));
    for concept in (0..=null.0).map(ConceptId) {
        for purpose in [Purpose::Train, Purpose::Probe] {
            let draw = |index| task.sample(concept, purpose, &mut Stream::new(3, purpose).rng(index));
            let prompt = draw(0);
            assert_eq!(prompt, draw(0));
            assert_ne!(prompt, draw(1));
            assert_eq!((prompt.concept, prompt.pairs.len()), (concept, task.n_points()));
            assert_eq!(prompt.instruction.is_some(), settings.named && concept != null);
            for pair in &prompt.pairs {
                assert!(!pair.answer.is_empty() && pair.answer.trim() == pair.answer, "{pair:?}");
                assert!(!pair.answer.contains('\n'), "{pair:?}");
            }
        }
    }
}
