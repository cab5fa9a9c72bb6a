//! The sentences of a corpus that prompts are drawn from.

use std::collections::HashSet;
use std::ops::{Range, RangeInclusive};
use std::path::Path;

use rayon::prelude::*;

use super::corpus::{self, FORMATS, Format};
use super::join::{Joined, is_whole, join};
use super::tags::WordClass;
use crate::TaskError;
use crate::text::TextFile;
use crate::text::decode::{NoText, utf8, utf8_or_latin1};

/// Words of a sentence: shorter ones are headlines and interjections, and of longer ones ten demonstrations fill the
/// context of a small model.
pub(super) const WORDS: RangeInclusive<usize> = 5..=25;

/// The sentences that are used for at least one class.
#[derive(Debug)]
pub(super) struct Stock {
    pub(super) sentences: Vec<Asked>,
}

/// A sentence and what is asked about it.
#[derive(Debug)]
pub(super) struct Asked {
    /// The sentence as it is written.
    pub(super) text: String,
    /// For every class of the task, where its first word stands; none where the sentence is not used for the class.
    pub(super) answers: Vec<Option<Range<usize>>>,
    /// Where the words stand that can be an answer. Never empty.
    pub(super) words: Vec<Range<usize>>,
}

impl Stock {
    /// The sentences of `files`, which are what stands at `path`.
    ///
    /// # Errors
    /// When a file is in another encoding, a single file in no known format, or no file has tagged sentences.
    pub(super) fn read(path: &Path, files: &[TextFile], classes: &[WordClass]) -> Result<Self, TaskError> {
        let is_folder = !matches!(files, [file] if file.path == path);
        let read: Vec<_> = files.par_iter().map(read_file).collect::<Result<_, _>>()?;
        if let (false, [None], [file]) = (is_folder, read.as_slice(), files) {
            let found = match utf8_or_latin1(&file.bytes) {
                _ if file.bytes.trim_ascii().is_empty() => "empty",
                Err(_) => "in another encoding than UTF-8 and Latin-1",
                Ok(_) => "none of these",
            };
            return Err(refused(path, &format!("must be {FORMATS}, but is {found}")));
        }
        if read.iter().all(Option::is_none) {
            return Err(refused(path, &format!("must have a file of {FORMATS}, but has none")));
        }
        let sentences: Vec<_> = read.into_iter().flatten().flatten().collect();
        let asked = sentences.par_iter().filter_map(|sentence| Asked::new(sentence, classes));
        let mut sentences: Vec<_> = asked.collect();
        let mut seen = HashSet::new();
        sentences.retain(|asked| seen.insert(asked.text.clone()));
        Ok(Self { sentences })
    }
}

fn refused(path: &Path, trouble: &str) -> TaskError {
    TaskError::material("task.corpus", path.display(), trouble)
}

/// The sentences of a file; none where it is in no known format.
fn read_file(file: &TextFile) -> Result<Option<Vec<corpus::Sentence>>, TaskError> {
    let text = match utf8_or_latin1(&file.bytes) {
        Ok(text) => text,
        Err(NoText::Utf16) => return Err(refused(&file.path, "must be UTF-8 or Latin-1, but is UTF-16")),
        Err(NoText::Other) => return Ok(None),
    };
    let Some((format, sentences)) = corpus::sentences(&text) else { return Ok(None) };
    let is_word_and_tag = matches!(format, Format::Lines | Format::Chunks);
    if !is_word_and_tag && utf8(&file.bytes).is_err() {
        return Err(refused(&file.path, "must be UTF-8, but is Latin-1 or another encoding"));
    }
    Ok(Some(sentences))
}

impl Asked {
    /// What is asked about a sentence; none where it is too short or too long, or used for no class.
    fn new(sentence: &[corpus::Word], classes: &[WordClass]) -> Option<Self> {
        let n_words = sentence.iter().filter(|word| word.text.contains(char::is_alphanumeric)).count();
        if !WORDS.contains(&n_words) {
            return None;
        }
        let Joined { text, words } = join(sentence.iter().map(|word| word.text.as_str()));
        let first = |class: &WordClass| sentence.iter().position(|word| word.class == Some(*class));
        let firsts: Vec<Option<usize>> = classes.iter().map(first).collect();
        let lower = |i: usize| sentence[i].text.to_lowercase();
        let answer = |i: usize| {
            let alike = firsts.iter().flatten().filter(|&&other| lower(other) == lower(i)).count();
            (alike == 1 && is_whole(&text, &words[i])).then(|| words[i].clone())
        };
        let answers: Vec<_> = firsts.iter().map(|first| first.and_then(answer)).collect();
        let words = words.iter().filter(|word| is_whole(&text, word)).cloned().collect();
        answers.iter().any(Option::is_some).then_some(Self { text, answers, words })
    }
}
