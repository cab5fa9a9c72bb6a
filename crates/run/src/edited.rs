//! Passes of a model in which something is changed.

use burn::tensor::{Tensor, TensorData};
use model::{Kernels, Model, ResidualStream};
use probe::{Change, Edit, Layer, Vectors};

/// Predictions from the first edited layer on; `first` is the number of the first prompt, and `change` does what the change
/// of that number says to the residual stream.
///
/// # Shapes
/// `[batch, n_points]`
pub(crate) fn forward_edited<B: Kernels>(
    model: &Model<B>,
    stream: &ResidualStream<B>,
    edit: &Edit,
    first: usize,
    mut change: impl FnMut(Tensor<B, 3>, usize) -> Tensor<B, 3>,
) -> Tensor<B, 2> {
    let Some(start) = edit.0.iter().filter_map(unchanged).min() else { return stream.predictions.clone() };
    let (mut h, mut embedded) = (stream.layers[start.0].clone(), stream.layers[0].clone());
    for layer in (start.0..=model.last_layer().0).map(Layer) {
        if layer > start {
            h = block(model, layer, &embedded, h, edit, first);
        }
        for number in (0..edit.0.len()).filter(|&number| state_layer(&edit.0[number]) == Some(layer)) {
            h = change(h, number);
        }
        if layer == Layer(0) {
            embedded = h.clone();
        }
    }
    model.read_out(h)
}

/// The last layer that a block has written before anything of a change is felt.
fn unchanged(change: &Change) -> Option<Layer> {
    match *change {
        Change::ReplaceHead { layer, .. } => Some(Layer(layer.0 - 1)),
        _ => state_layer(change),
    }
}

/// The layer whose states a change is of.
fn state_layer(change: &Change) -> Option<Layer> {
    match *change {
        Change::Replace { layer, .. } | Change::Add { layer, .. } => Some(layer),
        Change::ReplaceHead { .. } | Change::Ablate { .. } => None,
    }
}

/// The residual stream behind the block at `layer`, in which heads add what the edit puts in place.
fn block<B: Kernels>(
    model: &Model<B>,
    layer: Layer,
    embedded: &Tensor<B, 3>,
    h: Tensor<B, 3>,
    edit: &Edit,
    first: usize,
) -> Tensor<B, 3> {
    let heads = edit.0.iter().filter_map(|change| match change {
        Change::ReplaceHead { layer: at, head, token, by } if *at == layer => Some((head - 1, token.index(), by)),
        _ => None,
    });
    let (here, [batch, _, d_model]) = (model::Layer(layer.0), h.dims());
    let mut heads = heads.peekable();
    if heads.peek().is_none() {
        return model.block(here, embedded, h);
    }
    let writes = model.heads(here, embedded, h.clone()).expect("a model whose heads are changed has heads").writes;
    let more = heads.fold(h.zeros_like(), |more, (head, token, by)| {
        let own = writes.clone().narrow(1, head, 1).narrow(2, token, 1).reshape([batch, d_model]);
        let other = TensorData::new(replaced(batch, by, first), [batch, d_model]);
        let so_far = more.clone().narrow(1, token, 1).reshape([batch, d_model]);
        put(more, token, so_far + (Tensor::from_data(other, &own.device()) - own))
    });
    model.block_with(here, embedded, h, more).expect("a model with heads has attention")
}

/// The residual stream with other states, `[batch, d_model]`, at one token.
pub(crate) fn put<B: Kernels>(h: Tensor<B, 3>, token: usize, states: Tensor<B, 2>) -> Tensor<B, 3> {
    let [batch, _, d_model] = h.dims();
    h.slice_assign([0..batch, token..token + 1, 0..d_model], states.unsqueeze_dim(1))
}

/// Every prompt's vector, `[prompts, d_model]`; `first` is the number of the first prompt.
pub(crate) fn replaced(prompts: usize, vectors: &Vectors, first: usize) -> Vec<f32> {
    (first..first + prompts).flat_map(|prompt| vectors.of(prompt)).map(|&value| value as f32).collect()
}

/// Every prompt's state and vector added in f64, `[prompts, d_model]`.
pub(crate) fn added(states: &[f32], d_model: usize, vectors: &Vectors, first: usize) -> Vec<f32> {
    let add = |(&state, &value): (&f32, &f64)| (f64::from(state) + value) as f32;
    states
        .chunks_exact(d_model)
        .zip(first..)
        .flat_map(|(state, prompt)| state.iter().zip(vectors.of(prompt)).map(add))
        .collect()
}
