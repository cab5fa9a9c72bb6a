//! `lm states`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use analysis::{CliError, Machine};
use clap::Args;
use probe::{Component, Layer};
use record::{Npz, Output, check_writable};
use serde::{Deserialize, Serialize};
use terminal::{Failure, note, say, say_json};

use super::work::Work;
use crate::cost::Cost;
use crate::model::LanguageModel;
use crate::passes::{Member, Passed, Request, RowAt};
use crate::{DecoderConfig, ModelFolder, PretrainedError};

/// Which states of what.
#[derive(Debug, Args)]
pub struct States {
    /// A folder with config.json, tokenizer.json and *.safetensors
    #[arg(long, value_name = "FOLDER")]
    model: PathBuf,
    /// JSON lines, each an object with a `text`
    #[arg(long, value_name = "FILE")]
    prompts: PathBuf,
    /// The file to write, NumPy arrays: tokens, hidden and logits
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write over what is there, even if it is no earlier file of states; files of a run are never written over
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    machine: Machine,
    /// Print how long it took as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Line {
    text: String,
}

#[derive(Serialize)]
struct Took {
    /// Opening the folder and the prompts, and reading weights.
    load_s: f64,
    forward_s: f64,
    tokens: usize,
}

impl States {
    pub(super) fn run(self) -> Result<(), CliError> {
        let started = Instant::now();
        let output = Output { mark: "emergence lm states", force: self.force };
        // Before hours of work as well as behind them.
        output.check(&self.out)?;
        let device = self.machine.prepare()?;
        let texts = texts(&self.prompts).map_err(Failure::from)?;
        let folder = ModelFolder::open(&self.model).map_err(Failure::from)?;
        let encoded = texts.iter().map(|text| Ok(folder.tokens.encode(text)?.ids));
        let sequences = encoded.collect::<Result<Vec<_>, PretrainedError>>().map_err(Failure::from)?;
        let tokens = sequences.iter().map(Vec::len).sum();
        check_writable(&self.out)?;
        let (load_s, started) = (started.elapsed().as_secs_f64(), Instant::now());
        if !self.json {
            let DecoderConfig { n_layers, d_model, vocabulary, .. } = folder.config;
            let kept = sequences.len() * ((n_layers + 1) * d_model + vocabulary);
            let cost = Cost::of(&folder.config, tokens).keeping(kept);
            note(&format!("{} texts, {tokens} tokens: about {cost}", sequences.len()));
        }
        let model = LanguageModel::new(&folder, device);
        let work = Work::new();
        let found = last_states(&model, sequences, &work).map_err(Failure::from)?;
        let (reading_s, forward_s) = (found.passed.reading.as_secs_f64(), started.elapsed().as_secs_f64());
        let logits = model.logits(&found.passed.last).map_err(Failure::from)?;
        drop(work);
        write(&self.out, output, &found, &logits, &folder)?;
        if self.json {
            return Ok(say_json(&Took { load_s: load_s + reading_s, forward_s: forward_s - reading_s, tokens })?);
        }
        Ok(say(&self.out.display().to_string())?)
    }
}

/// The texts of a file, one a line.
fn texts(path: &Path) -> Result<Vec<String>, PretrainedError> {
    if !path.is_file() {
        return Err(PretrainedError::file(path, "it must be a file with JSON lines, but there is none"));
    }
    let content = std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => PretrainedError::file(path, "it must be UTF-8, but is in another encoding"),
        _ => PretrainedError::io("read", path, error),
    })?;
    let content = content.strip_prefix('\u{feff}').unwrap_or(&content);
    let lines = content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let text = |(number, line): (usize, &str)| {
        let line: Line = serde_json::from_str(line).map_err(|error| {
            let reason = format!("line {} must be a JSON object with a text, but {error}", number + 1);
            PretrainedError::file(path, reason)
        })?;
        Ok(line.text)
    };
    let texts: Vec<String> = lines.map(text).collect::<Result<_, PretrainedError>>()?;
    if texts.is_empty() {
        return Err(PretrainedError::file(path, "it must have a text at least, but is empty"));
    }
    Ok(texts)
}

struct Found {
    sequences: Vec<Vec<u32>>,
    /// `[layers + 1][n, d_model]`
    hidden: Vec<Vec<f32>>,
    passed: Passed,
}

fn last_states(model: &LanguageModel<'_>, sequences: Vec<Vec<u32>>, work: &Work) -> Result<Found, PretrainedError> {
    let last_token =
        |(number, ids): (usize, &Vec<u32>)| RowAt { of: Member::Sequence(number), position: ids.len() - 1 };
    let reads: Vec<RowAt> = sequences.iter().enumerate().map(last_token).collect();
    let layers = (0..=model.config().n_layers).map(|layer| (Component::Residual, Layer(layer))).collect();
    let request = Request { sequences, last: reads.clone(), reads, layers, ..Request::default() };
    let mut hidden = Vec::new();
    let passed = model.pass(&request, &|done, total| work.watch(done, total), &mut |states| {
        hidden.push(states.values);
        Ok(())
    })?;
    Ok(Found { sequences: request.sequences, hidden, passed })
}

fn write(path: &Path, output: Output, found: &Found, logits: &[f32], folder: &ModelFolder) -> Result<(), CliError> {
    let (n, layers, d) = (found.sequences.len(), found.hidden.len(), folder.config.d_model);
    let longest = found.sequences.iter().map(Vec::len).max().unwrap_or(0);
    Npz::write(path, output, |npz| {
        let padded =
            |ids: &Vec<u32>| (0..longest).map(|at| ids.get(at).map_or(-1, |&id| i64::from(id))).collect::<Vec<_>>();
        npz.array("tokens", &[n, longest], found.sequences.iter().flat_map(padded))?;
        let row = |i: usize| found.hidden.iter().flat_map(move |layer| &layer[i * d..(i + 1) * d]).copied();
        npz.array("hidden", &[n, layers, d], (0..n).flat_map(row))?;
        npz.array("logits", &[n, folder.config.vocabulary], logits.iter().copied())
    })?;
    Ok(())
}
