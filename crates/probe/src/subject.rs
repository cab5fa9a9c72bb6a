//! What can be asked of a model, whatever it is made of.

use data::Token;
use serde::{Deserialize, Serialize};

use crate::{Answers, Edit, Prompts, Representations, SubjectError};

/// A place in the residual stream: 0 is the embedding, l is behind block l.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "usize", into = "usize")]
pub struct Layer(pub usize);

impl Layer {
    /// More than any model has: a file that says otherwise is damaged, and a figure with all of them would never be drawn.
    pub const MOST: usize = 1024;
}

impl TryFrom<usize> for Layer {
    type Error = String;

    fn try_from(number: usize) -> Result<Self, String> {
        match number {
            0..=Self::MOST => Ok(Self(number)),
            _ => Err(format!("a layer must be between 0 and {}, but is {number}", Self::MOST)),
        }
    }
}

impl From<Layer> for usize {
    fn from(layer: Layer) -> Self {
        layer.0
    }
}

/// What is read at a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Component {
    /// The residual stream behind the block.
    Residual,
    /// What the block's attention adds to it.
    Attention,
    /// What the block's feed-forward part adds to it.
    FeedForward,
    /// What the whole block adds to it, the sum of both.
    Block,
}

impl Component {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Residual, Self::Attention, Self::FeedForward, Self::Block];

    /// The first layer that has it: only the stream is there before the first block.
    pub fn first_layer(self) -> Layer {
        Layer(usize::from(self != Self::Residual))
    }
}

/// What a model consists of, as far as measurements choose among its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anatomy {
    /// Blocks; layers count from 0, the embedding, to this.
    pub n_layers: usize,
    /// Attention heads of a block, 0 in a model without attention.
    pub n_heads: usize,
    /// Width of the residual stream.
    pub d_model: usize,
}

impl Anatomy {
    /// Nothing, if blocks are of attention and a feed-forward part.
    ///
    /// # Errors
    /// [`SubjectError::NoAttention`] when they are not: then there are no heads to switch off, and every component but the
    /// residual stream is missing.
    pub fn require_attention(&self) -> Result<(), SubjectError> {
        if self.n_heads > 0 { Ok(()) } else { Err(SubjectError::NoAttention) }
    }
}

/// Which states a measurement wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Layers, none for all that a component has.
    pub layers: Vec<Layer>,
    /// Tokens, at least one.
    pub tokens: Vec<Token>,
    /// Components, at least one.
    pub components: Vec<Component>,
}

impl Wanted {
    /// The residual stream at `tokens`, at every layer.
    pub fn residual(tokens: &[Token]) -> Self {
        Self { layers: Vec::new(), tokens: tokens.to_vec(), components: vec![Component::Residual] }
    }

    /// The layers of a component that are wanted, ascending, in a model of `n_layers` blocks.
    pub fn layers_of(&self, component: Component, n_layers: usize) -> Vec<Layer> {
        let all = (component.first_layer().0..=n_layers).map(Layer);
        all.filter(|layer| self.layers.is_empty() || self.layers.contains(layer)).collect()
    }
}

/// Some of the states that were wanted.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Which group of prompts they are of.
    pub group: usize,
    /// The states.
    pub states: Representations,
    /// The model's answers to the group, from the same pass; with the portion that has the last layer's residual stream.
    pub answers: Option<Answers>,
}

/// How answers depend on states that an edit puts in place of a model's own.
#[derive(Clone, Debug)]
pub struct Sensitivities {
    /// The answer to the last pair of every prompt, `[n_prompts]`.
    pub answers: Vec<f64>,
    /// For every change of the edit, the derivative of each prompt's answer with respect to its new state, row-major
    /// `[n_prompts, d_model]`.
    pub derivatives: Vec<Vec<f32>>,
}

/// A token that attends and the one that it attends to.
pub type Look = (Token, Token);

/// A model that can be measured.
///
/// A small model in memory and a large one that is read from disk layer by layer differ in the order in which they can
/// answer, so requests name everything that is wanted at once, and the subject chooses the order. What it gives for a prompt
/// must not depend on the prompts beside it. It reads prompts of one form, and may panic where it is given the other.
pub trait Subject: Send + Sync {
    /// What it consists of.
    fn anatomy(&self) -> &Anatomy;

    /// Hands over the states of every group of prompts, in any order and in any portions of components and layers; the
    /// prompts of a group and the wanted tokens come together. What is delivered says what it is.
    ///
    /// # Errors
    /// When the model cannot be read, or has no component that is wanted.
    fn read(&self, groups: &[Prompts], wanted: &Wanted, deliver: &mut dyn FnMut(Delivery)) -> Result<(), SubjectError>;

    /// Answers `prompts` under every edit, each starting from the model as it is. Where one edit changes a state, the
    /// answers of all come from passes that keep the residual stream, so that they can be subtracted from each other.
    ///
    /// # Errors
    /// When the model cannot be read, or an edit names a layer or head that it does not have.
    fn answers(&self, prompts: &Prompts, edits: &[Edit]) -> Result<Vec<Answers>, SubjectError>;

    /// Answers `prompts` as the model is.
    ///
    /// # Errors
    /// When the model cannot be read.
    fn plain_answers(&self, prompts: &Prompts) -> Result<Answers, SubjectError> {
        Ok(self.answers(prompts, &[Edit::default()])?.swap_remove(0))
    }

    /// The answers to the last pair of every prompt when states are replaced, and how they depend on what takes their place.
    /// None from a subject that cannot be differentiated.
    ///
    /// # Errors
    /// When the model cannot be read, or the edit names a layer that it does not have.
    ///
    /// # Panics
    /// When the edit does anything but replace states.
    fn sensitivities(&self, _: &Prompts, _: &Edit) -> Result<Option<Sensitivities>, SubjectError> {
        Ok(None)
    }

    /// What each attention head of the block at `layer` adds to the residual stream at `tokens`, head by head. The bias of the
    /// attention's output is no head's.
    ///
    /// # Errors
    /// When the model cannot be read, has no such layer, or does not tell its heads apart.
    fn head_outputs(
        &self,
        _: &Prompts,
        _layer: Layer,
        _tokens: &[Token],
    ) -> Result<Vec<Representations>, SubjectError> {
        Err(SubjectError::NoHeads)
    }

    /// The share of its attention that each head of the block at `layer` gives, at the first token of each of `looks`, to the
    /// second, `[n_heads][looks][n_prompts]`.
    ///
    /// # Errors
    /// As [`head_outputs`](Self::head_outputs).
    fn attention(&self, _: &Prompts, _layer: Layer, _looks: &[Look]) -> Result<Vec<Vec<Vec<f32>>>, SubjectError> {
        Err(SubjectError::NoHeads)
    }

    /// The tokens of every answer of prompts of text, as the model has them, `[n_prompts][n_points][]`.
    ///
    /// # Errors
    /// When the model is not one of text, or the prompts cannot be cut into its tokens.
    fn answer_tokens(&self, _: &Prompts) -> Result<Vec<Vec<Vec<u32>>>, SubjectError> {
        Err(SubjectError::NoText)
    }
}

/// The states of a model over training: its checkpoints.
pub trait Subjects {
    /// Steps at which there is one, ascending: those of the schedule, not where a run happened to be interrupted.
    ///
    /// # Errors
    /// When there is none, or they cannot be listed.
    fn steps(&self) -> Result<Vec<usize>, SubjectError>;

    /// The last step at which there is one, scheduled or not.
    ///
    /// # Errors
    /// When there is none.
    fn last_step(&self) -> Result<usize, SubjectError>;

    /// Nothing, if there is one at `step`.
    ///
    /// # Errors
    /// [`SubjectError::NoStep`] when there is none.
    fn require(&self, step: usize) -> Result<(), SubjectError>;

    /// What all of them consist of.
    fn anatomy(&self) -> &Anatomy;

    /// The model after `step` steps.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    fn at(&self, step: usize) -> Result<Box<dyn Subject + '_>, SubjectError>;

    /// The layers up to `up_to` of the model after `early` steps, joined to all behind it of the one after `late` steps.
    ///
    /// # Errors
    /// When one of them cannot be read.
    fn exchanged(&self, early: usize, late: usize, up_to: Layer) -> Result<Box<dyn Subject + '_>, SubjectError>;

    /// The same architecture with weights drawn anew; none where a step of its own is that.
    fn untrained(&self) -> Option<Box<dyn Subject + '_>> {
        None
    }
}
