//! `lm check`.

use std::path::PathBuf;

use analysis::{CliError, Machine};
use clap::Args;
use serde::Serialize;
use terminal::{Failure, say, say_json};

use crate::cost::Cost;
use crate::{DecoderConfig, ModelFolder, PretrainedError};

/// The folder to look at.
#[derive(Debug, Args)]
pub struct Check {
    /// A folder with config.json, tokenizer.json and *.safetensors
    folder: PathBuf,
    /// Prompts whose cost is said
    #[arg(long, default_value_t = 600, value_parser = terminal::whole::<u32>(1, Some(10_000_000)))]
    prompts: u32,
    /// Tokens of each
    #[arg(long, default_value_t = 200, value_parser = terminal::whole::<u32>(1, Some(1_000_000)))]
    tokens: u32,
    #[command(flatten)]
    machine: Machine,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Found<'a> {
    architecture: &'static str,
    parameters: usize,
    layers: usize,
    width: usize,
    heads: usize,
    key_value_heads: usize,
    vocabulary: usize,
    positions: usize,
    tied_head: bool,
    stored_as: &'a str,
    bytes: u64,
    prompts: u32,
    tokens_a_prompt: u32,
    seconds: f64,
    memory_bytes: u64,
}

impl Check {
    pub(super) fn run(self) -> Result<(), CliError> {
        self.machine.prepare()?;
        let folder = ModelFolder::open(&self.folder).map_err(Failure::from)?;
        let config = &folder.config;
        if self.tokens as usize > config.positions {
            let range = format!("at most the model's positions ({})", config.positions);
            return Err(Failure::from(PretrainedError::out_of_range("--tokens", range, self.tokens)).into());
        }
        let cost = Cost::of(config, self.prompts as usize * self.tokens as usize);
        let DecoderConfig { n_layers, d_model, n_heads, n_kv_heads, vocabulary, positions, .. } = *config;
        let found = Found {
            architecture: config.family.name(),
            parameters: config.parameters(),
            layers: n_layers,
            width: d_model,
            heads: n_heads,
            key_value_heads: n_kv_heads,
            vocabulary,
            positions,
            tied_head: config.tied,
            stored_as: folder.tensors.stored_as(),
            bytes: folder.tensors.bytes(),
            prompts: self.prompts,
            tokens_a_prompt: self.tokens,
            seconds: cost.seconds(),
            memory_bytes: cost.bytes(),
        };
        if self.json {
            return Ok(say_json(&found)?);
        }
        let head = if config.tied { "its head is the embedding" } else { "with a head of its own" };
        say(&format!(
            "{}: {} with {:.1} million parameters in {} ({:.2} GB), {head}",
            self.folder.display(),
            found.architecture,
            found.parameters as f64 / 1e6,
            found.stored_as,
            found.bytes as f64 / 1e9
        ))?;
        say(&format!(
            "{n_layers} blocks of width {d_model}, {n_heads} heads on {n_kv_heads} of keys and values, {vocabulary} tokens, {positions} positions"
        ))?;
        Ok(say(&format!("{} prompts of {} tokens: about {cost}", self.prompts, self.tokens))?)
    }
}
