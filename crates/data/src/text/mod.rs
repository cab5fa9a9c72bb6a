//! Prompts of text: demonstrations of a concept, and a query with its answer.
//!
//! A [`TextTask`] is a distribution over [`TextPrompt`]s, and a [`TextTaskConfig`] describes one. A [`TextSampler`] draws
//! its prompts by address. A [`Template`] writes a prompt as one text and says where in it each answer stands, so that
//! whoever cuts the text into tokens finds the answers again.

mod bitwise;
mod config;
mod decode;
mod file;
mod part_of_speech;
mod prompt;
mod sampler;
mod settings;
mod task;
mod template;

pub use bitwise::BitwiseConfig;
pub use config::{ReadFiles, TextFile, TextKind, TextTaskConfig};
pub use file::FileConfig;
pub use part_of_speech::{PartOfSpeechConfig, WordClass};
pub use prompt::{TextPair, TextPrompt};
pub use sampler::TextSampler;
pub use settings::{Place, TextSettings};
pub use task::TextTask;
pub use template::{Spans, Template, Written};

use crate::Purpose;

/// A finite stock is cut into two parts, so that a model that was trained on one is measured on what it never saw.
const PARTS: usize = 2;

/// The part of a finite stock that prompts of `purpose` are drawn from: its items at even places are trained on, those at
/// odd places serve every other purpose.
fn part(purpose: Purpose) -> usize {
    usize::from(purpose != Purpose::Train)
}
