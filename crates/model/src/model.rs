//! A model of any kind: the list of kinds, and what the rest of the program sees of one.

#![allow(clippy::large_enum_variant, reason = "a program holds few models, and their tensors lie elsewhere")]

use std::fmt::{self, Display, Formatter};

use burn::module::{Module, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, backend::Backend};
use kernels::Kernels;
use serde::{Deserialize, Serialize};

use crate::lstm::{self, Lstm};
use crate::parameters::{self, Freeze, Load, Spec};
use crate::tape::Tape;
use crate::transformer::{self, Transformer};
use crate::{Architecture, Batch, Free, Heads, ModelError, Weights, Writes, loss};

/// Makes the types [`Kind`] and [`Model`] from the list of kinds. Of each the list has the type of its models and its file,
/// by whose name it goes in configurations; the file has its [`Plan`], and [`Layers`] of the type.
macro_rules! kinds {
    ($($(#[$doc:meta])+ $kind:ident in $file:ident),+) => {
        /// What a model's blocks are.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Kind {
            $($(#[$doc])+ $kind),+
        }

        impl Kind {
            pub(crate) fn plan(self) -> Plan {
                match self {
                    $(Self::$kind => $file::PLAN),+
                }
            }
        }

        impl Display for Kind {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$kind => stringify!($file)),+
                })
            }
        }

        /// A model over the interleaved sequence x1 y1 x2 y2 … that predicts each y at its x.
        ///
        /// `forward` is `read_out ∘ block(L) ∘ … ∘ block(1) ∘ embed`; there are no hooks, because a caller can stand between
        /// any two of them.
        #[derive(Module, Debug)]
        pub enum Model<B: Backend> {
            $($(#[$doc])+ $kind($kind<B>)),+
        }

        impl<B: Kernels> Model<B> {
            /// One whose parameters are still to be loaded.
            fn empty(architecture: &Architecture, device: &B::Device) -> Self {
                match architecture.kind {
                    $(Kind::$kind => Self::$kind($kind::empty(architecture, device))),+
                }
            }

            fn layers(&self) -> &dyn Layers<B> {
                match self {
                    $(Self::$kind(model) => model),+
                }
            }
        }
    };
}

kinds! {
    /// Causal attention and feed-forward, as in GPT-2.
    Transformer in transformer,
    /// An LSTM: no attention.
    Lstm in lstm
}

impl Kind {
    /// What configurations and weights are of that do not say: it is not written, so that those of the time when there
    /// was no other keep their bytes and their hash.
    pub(crate) fn unsaid() -> Self {
        Self::Transformer
    }

    pub(crate) fn is_unsaid(&self) -> bool {
        *self == Self::unsaid()
    }
}

/// What a kind says of its models before there is one.
pub(crate) struct Plan {
    /// Errors when an architecture has what the kind has not.
    pub(crate) check: fn(&Architecture) -> Result<(), ModelError>,
    /// Every parameter, in the order in which they are drawn. Those of blocks are called `blocks.N.…`, those of the way out
    /// `final_norm.…` or `read_out.…`.
    pub(crate) specs: fn(&Architecture) -> Vec<Spec>,
    /// Multiplications and additions of the matrix products in a forward pass of a prompt, where they reach the loss.
    pub(crate) forward_flops: fn(&Architecture) -> u64,
}

/// What a model of some kind computes; [`Model`] says what each of these is.
pub(crate) trait Layers<B: Kernels> {
    fn n_layers(&self) -> usize;
    fn embed(&self, xs: Tensor<B, 3>, ys: Tensor<B, 2>) -> Tensor<B, 3>;
    fn block(&self, layer: Layer, embedded: &Tensor<B, 3>, h: Tensor<B, 3>) -> Tensor<B, 3>;
    fn read_out(&self, h: Tensor<B, 3>) -> Tensor<B, 2>;
    fn forward(&self, xs: Tensor<B, 3>, ys: Tensor<B, 2>) -> Tensor<B, 2>;

    /// As `forward`, with the way back on a tape; none where the operations are no chain.
    fn taped(&self, _: &mut Tape<B>, _: Tensor<B, 3>, _: Tensor<B, 2>, _: Free) -> Option<Tensor<B, 2>> {
        None
    }

    fn writes(&self, _: Layer, _: &Tensor<B, 3>, _: Tensor<B, 3>) -> Option<Writes<B>> {
        None
    }

    fn heads(&self, _: Layer, _: &Tensor<B, 3>, _: Tensor<B, 3>) -> Option<Heads<B>> {
        None
    }

    fn block_with(&self, _: Layer, _: &Tensor<B, 3>, _: Tensor<B, 3>, _: Tensor<B, 3>) -> Option<Tensor<B, 3>> {
        None
    }
}

/// A place in the residual stream: 0 is the embedding, l is after block l.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Layer(pub usize);

/// What [`Model::residual_stream`] keeps of a forward pass.
#[derive(Clone, Debug)]
pub struct ResidualStream<B: Backend> {
    /// Hidden states of layer 0 to L, each `[batch, 2 n_points, d_model]`.
    pub layers: Vec<Tensor<B, 3>>,
    /// Predictions at the x tokens, `[batch, n_points]`.
    pub predictions: Tensor<B, 2>,
}

impl<B: Kernels> Model<B> {
    /// A model with the given weights.
    ///
    /// # Errors
    /// When a parameter is missing, superfluous, or of another shape.
    pub fn new(architecture: &Architecture, weights: &Weights, device: &B::Device) -> Result<Self, ModelError> {
        architecture.check()?;
        parameters::check(architecture, weights)?;
        Ok(Self::empty(architecture, device).map(&mut Load::new(weights, device)))
    }

    /// The same model, in which the parameters that `free` names get gradients, and no others.
    pub fn freeze_all_but(self, free: Free) -> Self {
        let n_layers = self.layers().n_layers();
        self.map(&mut Freeze::all_but(free, n_layers))
    }

    /// The weights of the linear maps inside the blocks, each with the number of maps that lie side by side in its columns.
    pub fn hidden_weights(&self, architecture: &Architecture) -> Vec<(ParamId, usize)> {
        parameters::hidden_weights(self, architecture)
    }

    /// The weights, copied to the host.
    pub fn weights(&self) -> Weights {
        parameters::to_weights(self)
    }

    /// The last layer, L.
    pub fn last_layer(&self) -> Layer {
        Layer(self.layers().n_layers())
    }

    /// Residual stream at layer 0: read-in of the tokens, with their positions where the kind has them. A y token is
    /// (y, 0, …, 0).
    ///
    /// # Shapes
    /// `[batch, n_points, d_x]` and `[batch, n_points]` to `[batch, 2 n_points, d_model]`
    pub fn embed(&self, xs: Tensor<B, 3>, ys: Tensor<B, 2>) -> Tensor<B, 3> {
        self.layers().embed(xs, ys)
    }

    /// Residual stream at `layer`, from `h`, the one at the layer before. The decoder of a transformer with a latent reads
    /// its queries from `embedded`, the one at layer 0; other blocks do not look at it.
    ///
    /// # Shapes
    /// `[batch, 2 n_points, d_model]` twice, to the same.
    ///
    /// # Panics
    /// When `layer` is 0 or behind the last.
    pub fn block(&self, layer: Layer, embedded: &Tensor<B, 3>, h: Tensor<B, 3>) -> Tensor<B, 3> {
        self.layers().block(layer, embedded, h)
    }

    /// What the two parts of the block at `layer` add to what it sees, in ordinary tensor operations on every backend; none
    /// where blocks have no such parts.
    /// It sees the residual stream at the layer before; the first block behind a latent sees what the decoder starts from.
    ///
    /// # Shapes
    /// As [`block`](Self::block), to two of the same.
    ///
    /// # Panics
    /// As [`block`](Self::block).
    pub fn writes(&self, layer: Layer, embedded: &Tensor<B, 3>, h: Tensor<B, 3>) -> Option<Writes<B>> {
        self.layers().writes(layer, embedded, h)
    }

    /// What each attention head of the block at `layer` does, in ordinary tensor operations on every backend; none where there
    /// are no heads. Behind a latent a token attends to itself and to what the latent tells it; the first x and the last y share
    /// their attention with a double of themselves.
    ///
    /// # Shapes
    /// As [`block`](Self::block); see [`Heads`].
    ///
    /// # Panics
    /// As [`block`](Self::block).
    pub fn heads(&self, layer: Layer, embedded: &Tensor<B, 3>, h: Tensor<B, 3>) -> Option<Heads<B>> {
        self.layers().heads(layer, embedded, h)
    }

    /// As [`block`](Self::block), where attention adds `more` to the stream that the feed-forward part reads; none where there
    /// is no attention. Where `more` is 0, no bit differs from `block`.
    ///
    /// # Shapes
    /// `[batch, 2 n_points, d_model]` three times, to the same.
    ///
    /// # Panics
    /// As [`block`](Self::block).
    pub fn block_with(
        &self,
        layer: Layer,
        embedded: &Tensor<B, 3>,
        h: Tensor<B, 3>,
        more: Tensor<B, 3>,
    ) -> Option<Tensor<B, 3>> {
        self.layers().block_with(layer, embedded, h, more)
    }

    /// Predictions of every y, read at its x token.
    ///
    /// # Shapes
    /// `[batch, 2 n_points, d_model]` to `[batch, n_points]`
    pub fn read_out(&self, h: Tensor<B, 3>) -> Tensor<B, 2> {
        self.layers().read_out(h)
    }

    /// Predictions of every y from the pairs before it. What cannot reach them is left out, such as the last y token.
    ///
    /// # Shapes
    /// `[batch, n_points, d_x]` and `[batch, n_points]` to `[batch, n_points]`
    pub fn forward(&self, xs: Tensor<B, 3>, ys: Tensor<B, 2>) -> Tensor<B, 2> {
        self.layers().forward(xs, ys)
    }

    /// The [`squared_error`](crate::squared_error) of the predictions and its gradient by every parameter that `free` names,
    /// without a graph; none where the backend or the kind of model needs one.
    ///
    /// # Shapes
    /// `[batch, n_points, d_x]` and `[batch, n_points]` to `[1]`
    pub fn gradients(&self, batch: Batch<B>, total: usize, free: Free) -> Option<(Tensor<B, 1>, GradientsParams)> {
        let (Batch { xs, ys }, mut tape) = (batch, Tape::new());
        let device = ys.device();
        let predictions = self.layers().taped(&mut tape, xs, ys.clone(), free)?;
        let loss = tape.run(loss::operation(predictions, ys, total), false)?;
        Some((loss, tape.gradients(self, &device)))
    }

    /// Predictions, and the hidden states of every layer on the way.
    ///
    /// # Shapes
    /// As [`forward`](Self::forward); see [`ResidualStream`].
    pub fn residual_stream(&self, xs: Tensor<B, 3>, ys: Tensor<B, 2>) -> ResidualStream<B> {
        let mut layers = vec![self.embed(xs, ys)];
        for layer in 1..=self.last_layer().0 {
            layers.push(self.block(Layer(layer), &layers[0], layers[layer - 1].clone()));
        }
        let predictions = self.read_out(layers[layers.len() - 1].clone());
        ResidualStream { layers, predictions }
    }
}
