//! The other end: a task of this library that answers as a generator.

use std::io::{BufRead, Error, Result, Write};
use std::sync::Arc;

use super::worker::purpose_named;
use crate::{ConceptId, Draws, PromptShape, Stream, Task};

/// The last prompt that a request may begin at: that of the last batch of the longest training is far below it.
const MOST_INDEX: u64 = i64::MAX as u64;
/// Prompts of a request at most, which are made before the first is answered.
const MOST_COUNT: usize = 1 << 20;

/// Answers the requests of a task of the kind `process` with prompts of `task`, until they end.
///
/// # Errors
/// When a line is no request, the task cannot make the prompts, or a stream fails.
pub fn answer(task: &Arc<dyn Task>, requests: impl BufRead, mut answers: impl Write) -> Result<()> {
    for request in requests.lines() {
        let request = request?;
        let bytes = match request.as_str() {
            "version" => format!("{}\n", env!("CARGO_PKG_VERSION")).into_bytes(),
            "shape" => {
                let PromptShape { n_points, d_x } = task.shape();
                format!("{n_points} {d_x}\n").into_bytes()
            }
            "concepts" => {
                let line = |concept: &crate::Concept| format!("{} {}\n", concept.weight, concept.name);
                let lines: String = task.concepts().iter().map(line).collect();
                format!("{}\n{lines}", task.concepts().len()).into_bytes()
            }
            _ => {
                let n_concepts = task.concepts().len();
                let draws = draws_of(&request, n_concepts).ok_or_else(|| refusal(&request, n_concepts))?;
                let prompts = task.draw(&draws).map_err(Error::other)?;
                prompts.iter().flat_map(bytes_of).collect()
            }
        };
        answers.write_all(&bytes)?;
        answers.flush()?;
    }
    Ok(())
}

fn refusal(request: &str, n_concepts: usize) -> Error {
    let last = n_concepts - 1;
    Error::other(format!(
        "a request must be version, shape, concepts or sample SEED PURPOSE INDEX COUNT CONCEPT, with PURPOSE train, eval, \
         probe or patch, INDEX at most {MOST_INDEX}, COUNT at most {MOST_COUNT} and CONCEPT from -1 to {last}, \
         but is {request:?}"
    ))
}

/// What `sample SEED PURPOSE INDEX COUNT CONCEPT` asks for.
fn draws_of(request: &str, n_concepts: usize) -> Option<Draws> {
    let words: Vec<&str> = request.split(' ').collect();
    let ["sample", seed, purpose, index, count, concept] = words[..] else { return None };
    let stream = Stream::new(seed.parse().ok()?, purpose_named(purpose)?);
    let first = index.parse().ok().filter(|first| *first <= MOST_INDEX)?;
    let count = count.parse().ok().filter(|count| *count <= MOST_COUNT)?;
    let concept = match concept {
        "-1" => None,
        concept => Some(ConceptId(concept.parse().ok().filter(|concept| *concept < n_concepts)?)),
    };
    Some(Draws { stream, first, count, concept, before: first })
}

fn bytes_of(prompt: &crate::Prompt) -> Vec<u8> {
    let numbers = prompt.xs.iter().chain(&prompt.ys).flat_map(|number| number.to_le_bytes());
    (prompt.concept.0 as i32).to_le_bytes().into_iter().chain(numbers).collect()
}
