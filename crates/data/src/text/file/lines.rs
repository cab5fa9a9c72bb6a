//! The lines of a file of prompts.

use std::path::Path;

use serde::Deserialize;

use crate::TaskError;
use crate::text::TextPair;
use crate::text::decode::{NoText, utf8};
use crate::text::settings::Concepts;

/// A prompt as a line has it.
#[derive(Debug)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: usize,
    pub(super) concept: String,
    pub(super) instruction: Option<String>,
    /// The demonstrations that are used, and the query behind them.
    pub(super) pairs: Vec<TextPair>,
}

/// The keys of a line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    concept: String,
    demonstrations: Vec<(String, String)>,
    query: String,
    answer: String,
    instruction: Option<String>,
}

impl Line {
    /// What a model is shown: the demonstrations, and the input of the query.
    pub(super) fn asked(&self) -> (&[TextPair], &str) {
        let (query, demonstrations) = self.pairs.split_last().expect("a query");
        (demonstrations, &query.input)
    }
}

/// What is wrong with a line.
pub(super) fn refused(path: &Path, line: usize, trouble: String) -> TaskError {
    TaskError::material("task.file", format!("{}, line {line},", path.display()), trouble)
}

/// The lines of a file with the last `shots` demonstrations of each; empty ones are left out.
pub(super) fn read_lines(path: &Path, bytes: &[u8], shots: usize) -> Result<Vec<Line>, TaskError> {
    let text = utf8(bytes).map_err(|reason| {
        let found = if reason == NoText::Utf16 { "UTF-16" } else { "another encoding" };
        TaskError::material("task.file", path.display(), format!("must be UTF-8, but is {found}"))
    })?;
    let numbered = text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty());
    let read = |(line, number)| read_line(line, number, shots).map_err(|trouble| refused(path, number, trouble));
    numbered.map(read).collect()
}

fn read_line(line: &str, number: usize, shots: usize) -> Result<Line, String> {
    // Its own line number is always 1, because it is given one line.
    let reason = |error: serde_json::Error| {
        let reason = error.to_string();
        let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason).to_owned();
        if error.is_data() { reason } else { format!("is no object of JSON: {reason}") }
    };
    let object: serde_json::Value = serde_json::from_str(line).map_err(reason)?;
    if !line.trim_start().starts_with('{') {
        return Err("is no object of JSON".to_owned());
    }
    let Keys { concept, mut demonstrations, query, answer, instruction } =
        serde_json::from_value(object).map_err(reason)?;
    if concept.trim().is_empty() {
        return Err(format!("must have a concept with a name, but has {concept:?}"));
    }
    if concept == Concepts::NULL {
        return Err(format!("must have another concept than {concept:?}, the name of prompts without one"));
    }
    let Some(unused) = demonstrations.len().checked_sub(shots) else {
        return Err(format!("must have at least {shots} demonstrations, but has {}", demonstrations.len()));
    };
    demonstrations.push((query, answer));
    if let Some((_, bad)) = demonstrations.iter().find(|(_, answer)| !is_answer(answer)) {
        return Err(format!("must have answers with text in one line, but has {bad:?}"));
    }
    let pair = |(input, answer): (String, String)| TextPair { input, answer: answer.trim().to_owned() };
    let pairs = demonstrations.into_iter().skip(unused).map(pair).collect();
    Ok(Line { number, concept, instruction, pairs })
}

fn is_answer(answer: &str) -> bool {
    let answer = answer.trim();
    !answer.is_empty() && !answer.contains(['\n', '\r'])
}
