//! `lm prompts`.

use std::path::PathBuf;

use analysis::{CliError, Overrides};
use clap::Args;
use data::Purpose;
use terminal::{Failure, say};

use crate::{LmConfig, ModelFolder, PretrainedError};

/// Which prompts to show.
#[derive(Debug, Args)]
pub struct Prompts {
    /// Preset (bitwise, part-of-speech) or TOML file
    config: String,
    /// Show them as the tokens of this model as well
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    /// Prompts of every concept
    #[arg(long, default_value_t = 1, value_parser = terminal::whole::<u32>(1, Some(1000)))]
    count: u32,
    #[command(flatten)]
    overrides: Overrides,
}

impl Prompts {
    pub(super) fn run(self) -> Result<(), CliError> {
        let experiment = LmConfig::resolve(&self.config, &self.overrides.sets()?)?.build()?;
        let model = self.model.map(|path| ModelFolder::open(&path)).transpose().map_err(Failure::from)?;
        let study = &experiment.study;
        study.check_stock("--count", Purpose::Eval, self.count as usize)?;
        let drawn = study.balanced(Purpose::Eval, 0, self.count as usize)?;
        for prompt in drawn.text() {
            let concept = study.concepts().get(prompt.concept.0).map_or("Null", |concept| &concept.name);
            let text = experiment.text.template.write(prompt).text;
            say(&format!("== {concept}\n{text}"))?;
            if let Some(model) = &model {
                say(&tokens(model, &text).map_err(Failure::from)?)?;
            }
        }
        Ok(())
    }
}

/// The tokens of a text, each in its own quotes.
fn tokens(model: &ModelFolder, text: &str) -> Result<String, PretrainedError> {
    let encoded = model.tokens.encode(text)?;
    let shown: Vec<String> = encoded.ids.iter().map(|&id| format!("{:?}", model.tokens.text_of(id))).collect();
    Ok(format!("{} tokens: {}\n", encoded.ids.len(), shown.join(" ")))
}
