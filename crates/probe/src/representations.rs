//! Hidden states on the host.

use data::Token;
use nalgebra::DMatrix;

use crate::{Component, Layer, States};

/// Hidden states of one component of some prompts, at some layers and tokens.
#[derive(Clone, Debug)]
pub struct Representations {
    /// Concept of every prompt.
    pub labels: Vec<usize>,
    /// What was read.
    pub component: Component,
    /// The layers, ascending.
    pub layers: Vec<Layer>,
    /// The tokens.
    pub tokens: Vec<Token>,
    /// Row-major `[layers, tokens, n_prompts, d_model]`.
    values: Vec<f32>,
}

impl Representations {
    /// Of values in row-major order.
    ///
    /// # Shapes
    /// `[layers, tokens, labels, d_model]`
    ///
    /// # Panics
    /// When there is no layer, token or prompt, or the number of values is no multiple of theirs.
    pub fn new(
        labels: Vec<usize>,
        component: Component,
        layers: Vec<Layer>,
        tokens: Vec<Token>,
        values: Vec<f32>,
    ) -> Self {
        assert!(values.len().is_multiple_of(layers.len() * tokens.len() * labels.len()), "every state has one width");
        Self { labels, component, layers, tokens, values }
    }

    /// Width of the states.
    pub fn d_model(&self) -> usize {
        self.values.len() / (self.layers.len() * self.tokens.len() * self.labels.len())
    }

    /// The states of all prompts at a layer and token, each an index into [`layers`](Self::layers) and
    /// [`tokens`](Self::tokens).
    pub fn states(&self, layer: usize, token: usize) -> States {
        let values = self.row_major(layer, token).iter().map(|&value| f64::from(value));
        States::new(DMatrix::from_row_iterator(self.labels.len(), self.d_model(), values))
    }

    /// As [`states`](Self::states), in f32 as the model gave them: row-major `[n_prompts, d_model]`.
    pub fn row_major(&self, layer: usize, token: usize) -> &[f32] {
        let len = self.labels.len() * self.d_model();
        let start = (layer * self.tokens.len() + token) * len;
        &self.values[start..start + len]
    }
}
