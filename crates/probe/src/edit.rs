//! Changes of a model's inner states, as data.

use data::Token;

use crate::Layer;

/// Changes that are made together while a model answers. An empty list changes nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edit(pub Vec<Change>);

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The residual stream at a layer and token is replaced. At layer 0 it is the embedding that changes, wherever it is
    /// read.
    Replace {
        /// The layer.
        layer: Layer,
        /// The token.
        token: Token,
        /// What takes its place.
        by: Vectors,
    },
    /// Something is added to the residual stream at a layer and token.
    Add {
        /// The layer.
        layer: Layer,
        /// The token.
        token: Token,
        /// What is added.
        what: Vectors,
    },
    /// What an attention head adds to the residual stream is replaced at a token.
    ReplaceHead {
        /// The layer that the head's block writes, from 1.
        layer: Layer,
        /// The head, from 1.
        head: usize,
        /// The token.
        token: Token,
        /// What takes its place.
        by: Vectors,
    },
    /// The output of an attention head is zero at every token.
    Ablate {
        /// The layer that the head's block writes, from 1.
        layer: Layer,
        /// The head, from 1.
        head: usize,
    },
}

/// A vector of the residual stream's width for every prompt.
#[derive(Clone, Debug, PartialEq)]
pub enum Vectors {
    /// The same for all, `[d_model]`.
    Same(Vec<f64>),
    /// One for each, `[n_prompts][d_model]`.
    Each(Vec<Vec<f64>>),
}

impl Edit {
    /// The one change.
    pub fn of(change: Change) -> Self {
        Self(vec![change])
    }

    /// Whether a state of the residual stream is changed.
    pub fn changes_states(&self) -> bool {
        self.0.iter().any(|change| !matches!(change, Change::Ablate { .. }))
    }
}

impl Vectors {
    /// That of prompt number `prompt`.
    ///
    /// # Panics
    /// When there are fewer prompts.
    pub fn of(&self, prompt: usize) -> &[f64] {
        match self {
            Self::Same(vector) => vector,
            Self::Each(vectors) => &vectors[prompt],
        }
    }
}
