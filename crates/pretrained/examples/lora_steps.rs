//! Times the steps of tuning low-rank adapters, to be set beside `benches/pretrained/compare_lora.py`.
//!
//!     cargo run -p pretrained --example lora_steps -- MODEL PROMPTS
//!
//! MODEL is the folder of a model. PROMPTS has JSON lines with a `text` and `answer_start`, the byte at which each answer begins;
//! an answer ends with its line. Prints the median of the seconds a step, and all of them. With `MIMALLOC_PURGE_DELAY=-1` memory
//! is not given back to the system between steps, which is a tenth faster.

use std::cell::Cell;
use std::error::Error;
use std::io::Write;
use std::ops::Range;
use std::path::Path;

use kernels::Device;
use pretrained::{Encoded, Example, Finetune, FinetuneConfig, Free, LanguageModel, ModelFolder, bench_steps};
use serde::Deserialize;

/// As the program has.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const STEPS: usize = 12;
/// Those of them that are not counted.
const WARM_UP: usize = 2;

#[derive(Deserialize)]
struct Line {
    text: String,
    answer_start: Vec<usize>,
}

fn main() -> Result<(), Box<dyn Error>> {
    kernels::keep_freed_memory();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, prompts] = arguments.as_slice() else { return Err("MODEL PROMPTS".into()) };
    let model = ModelFolder::open(Path::new(model))?;
    let text = std::fs::read_to_string(prompts)?;
    let prompts = text.lines().map(|line| example(&model, line)).collect::<Result<Vec<_>, _>>()?;
    let config = FinetuneConfig {
        rank: 16,
        alpha: 16.0,
        dropout: 0.1,
        targets: Vec::new(),
        free: Free::All,
        samples: 1000,
        batch_size: 8,
        learning_rate: 1e-4,
        checkpoint_every: STEPS,
    };
    let tokens = Cell::new(0);
    let examples = |numbers: Range<u64>| {
        let chosen: Vec<_> = numbers.map(|at| prompts[at as usize % prompts.len()].clone()).collect();
        tokens.set(chosen.iter().map(|example| example.ids.len()).sum::<usize>());
        Ok(chosen)
    };
    let tuning = Finetune { config: &config, seed: 0, examples: &examples };
    let mut seconds = bench_steps(&LanguageModel::new(&model, Device::Flex), &tuning, STEPS)?.split_off(WARM_UP);
    seconds.sort_by(f64::total_cmp);
    let median = f64::midpoint(seconds[(seconds.len() - 1) / 2], seconds[seconds.len() / 2]);
    writeln!(std::io::stdout(), "{median:.4} s a step of {} tokens, {seconds:.3?}", tokens.get())?;
    Ok(())
}

/// A prompt with the tokens of its answers.
fn example(model: &ModelFolder, line: &str) -> Result<Example, Box<dyn Error>> {
    let Line { text, answer_start } = serde_json::from_str(line)?;
    let end = |at: usize| text[at..].find('\n').map_or(text.len(), |length| at + length);
    let answers: Vec<Range<usize>> = answer_start.into_iter().map(|at| at..end(at)).collect();
    let Encoded { ids, places } = model.tokens.encode(&text)?;
    let inside = |at: &usize| answers.iter().any(|answer| places[*at].0 < answer.end && places[*at].1 > answer.start);
    Ok(Example { answers: (1..ids.len()).filter(inside).map(|at| at..at + 1).collect(), ids })
}
