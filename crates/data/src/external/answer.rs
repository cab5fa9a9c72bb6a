//! The other end: a task of this library that answers as a generator.

use std::io::{BufRead, Error, Result, Write};
use std::sync::Arc;

use super::worker::purpose_named;
use crate::{ConceptId, Draws, PromptShape, Stream, Task};

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
                let refuse = || Error::other(format!("{request:?} is no request"));
                let draws = draws_of(&request, task.concepts().len()).ok_or_else(refuse)?;
                let prompts = task.draw(&draws).map_err(Error::other)?;
                prompts.iter().flat_map(bytes_of).collect()
            }
        };
        answers.write_all(&bytes)?;
        answers.flush()?;
    }
    Ok(())
}

/// What `sample SEED PURPOSE INDEX COUNT CONCEPT` asks for.
fn draws_of(request: &str, n_concepts: usize) -> Option<Draws> {
    let words: Vec<&str> = request.split(' ').collect();
    let ["sample", seed, purpose, index, count, concept] = words[..] else { return None };
    let stream = Stream::new(seed.parse().ok()?, purpose_named(purpose)?);
    let (first, count) = (index.parse().ok()?, count.parse().ok()?);
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
