//! The first word of a class in a sentence. `docs/parts-of-speech.md` says what the classes are.

mod corpus;
mod join;
mod stock;
mod tags;

use std::path::PathBuf;

use rand::{Rng, RngExt};
use serde::Deserialize;

use self::stock::Stock;
use super::settings::Concepts;
use super::{PARTS, TextFile, TextPair, TextPrompt, TextSettings, TextTask, part};
use crate::{Concept, ConceptId, Purpose, TaskError};

pub use self::tags::WordClass;

/// Configuration of the task `part_of_speech`.
///
/// | field | unit | range |
/// |---|---|---|
/// | `corpus` | | a file or a folder of tagged text |
/// | `classes` | | at least two of `noun`, `adjective`, `verb`, `adverb`, `preposition`, `pronoun`, without repeats |
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartOfSpeechConfig {
    /// Where the tagged sentences are.
    pub corpus: PathBuf,
    /// The concepts.
    pub classes: Vec<WordClass>,
}

impl PartOfSpeechConfig {
    pub(super) fn check(&self) -> Result<(), TaskError> {
        let again = (1..self.classes.len()).any(|i| self.classes[..i].contains(&self.classes[i]));
        if self.classes.len() >= 2 && !again {
            return Ok(());
        }
        let names: Vec<&str> = self.classes.iter().map(|class| class.name()).collect();
        let range = "a list of at least two classes without repeats";
        Err(TaskError::out_of_range("task.classes", range, format!("{names:?}")))
    }

    /// The task on the sentences of `files`; the fields are checked.
    ///
    /// # Errors
    /// When a file is in another encoding, no file has tagged sentences, or a class has too few of them for a prompt.
    pub(super) fn build(&self, settings: &TextSettings, files: Vec<TextFile>) -> Result<PartOfSpeech, TaskError> {
        let stock = Stock::read(&self.corpus, &files, &self.classes)?;
        let n_points = settings.n_points();
        let refused = |trouble: String| TaskError::material("task.corpus", self.corpus.display(), &trouble);
        for (k, class) in self.classes.iter().enumerate() {
            if stock.sentences.iter().all(|sentence| sentence.answers[k].is_none()) {
                let name = class.name();
                return Err(refused(format!("has no sentence with a first {name} that can be an answer")));
            }
        }
        // Only a sentence that every class can be asked of says nothing itself about which one is.
        let serves_all = |&i: &usize| stock.sentences[i].answers.iter().all(Option::is_some);
        let pool = parts((0..stock.sentences.len()).filter(serves_all).collect());
        let least = pool.iter().map(Vec::len).min().unwrap_or(0);
        if least < n_points {
            let range = format!("must have at least {n_points} sentences with a word of every class in each half");
            return Err(refused(format!("{range}, but has {least}")));
        }
        let concepts = settings.concepts(self.classes.iter().map(|class| class.name()));
        Ok(PartOfSpeech { stock, pool, n_points, named: settings.named, concepts })
    }
}

/// Numbers of sentences, those to train on apart from the rest.
fn parts(sentences: Vec<usize>) -> [Vec<usize>; PARTS] {
    let (rest, train) = sentences.into_iter().partition(|i| i % PARTS == part(Purpose::Eval));
    [train, rest]
}

/// Sentences of a corpus, and the first word of the concept's class in each.
///
/// # Source
/// The part-of-speech task of Han et al., arXiv 2412.12276.
#[derive(Debug)]
pub(super) struct PartOfSpeech {
    stock: Stock,
    /// The sentences with a word of every class, by part.
    pool: [Vec<usize>; PARTS],
    n_points: usize,
    named: bool,
    concepts: Concepts,
}

impl TextTask for PartOfSpeech {
    fn n_points(&self) -> usize {
        self.n_points
    }

    fn concepts(&self) -> &[Concept] {
        &self.concepts.all
    }

    fn null(&self) -> Option<ConceptId> {
        Some(self.concepts.null)
    }

    fn stock(&self, _: ConceptId, purpose: Purpose) -> Option<usize> {
        let sentences = self.pool[part(purpose)].len();
        (0..self.n_points).try_fold(1usize, |prompts, used| prompts.checked_mul(sentences - used))
    }

    fn sample(&self, concept: ConceptId, purpose: Purpose, rng: &mut dyn Rng) -> TextPrompt {
        let pool = &self.pool[part(purpose)];
        let mut drawn: Vec<usize> = Vec::with_capacity(self.n_points);
        while drawn.len() < self.n_points {
            let sentence = pool[rng.random_range(0..pool.len())];
            if !drawn.contains(&sentence) {
                drawn.push(sentence);
            }
        }
        let mut pair = |i: usize| {
            let sentence = &self.stock.sentences[i];
            let answer = match sentence.answers.get(concept.0) {
                Some(answer) => answer.clone().expect("every sentence of the pool answers every class"),
                None => sentence.words[rng.random_range(0..sentence.words.len())].clone(),
            };
            TextPair { input: sentence.text.clone(), answer: sentence.text[answer].to_owned() }
        };
        let pairs = drawn.into_iter().map(&mut pair).collect();
        let named = self.named && concept != self.concepts.null;
        let instruction = named.then(|| format!("First {} of the sentence", self.concepts.all[concept.0].name));
        TextPrompt { concept, instruction, pairs }
    }
}

#[cfg(test)]
mod tests;
