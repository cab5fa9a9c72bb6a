//! The weights of one block, on a device.

use burn::backend::Autodiff;
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use kernels::{Kernels, Product, ProductInputs};
use rayon::prelude::*;

use super::WeightSource;
use crate::PretrainedError;
use crate::folder::{DecoderConfig, Part};

/// The weights of a block. What a family does not have is none.
#[derive(Clone, Debug)]
pub(crate) struct BlockWeights<B: Backend> {
    pub(crate) attention_norm: Option<NormWeights<B>>,
    pub(crate) query_key_value: Linear<B>,
    pub(crate) query_norm: Option<NormWeights<B>>,
    pub(crate) key_norm: Option<NormWeights<B>>,
    pub(crate) attention_out: Linear<B>,
    pub(crate) attention_post_norm: Option<NormWeights<B>>,
    pub(crate) feed_forward_norm: Option<NormWeights<B>>,
    /// Gate and second map side by side where there is a gate.
    pub(crate) feed_forward_in: Linear<B>,
    pub(crate) feed_forward_out: Linear<B>,
    pub(crate) feed_forward_post_norm: Option<NormWeights<B>>,
}

/// A linear map.
#[derive(Clone, Debug)]
pub(crate) struct Linear<B: Backend> {
    /// `[inputs, outputs]`
    pub(crate) weight: Tensor<B, 2>,
    /// `[1, outputs]`
    pub(crate) bias: Option<Tensor<B, 2>>,
}

/// Scale and shift of a norm, `[1, width]`.
#[derive(Clone, Debug)]
pub(crate) struct NormWeights<B: Backend> {
    pub(crate) scale: Tensor<B, 2>,
    pub(crate) shift: Tensor<B, 2>,
}

/// Reads the parts of a block.
pub(crate) struct Reader<'a, B: Backend> {
    pub(crate) source: &'a dyn WeightSource,
    pub(crate) config: &'a DecoderConfig,
    pub(crate) device: &'a B::Device,
}

impl<B: Backend> Reader<'_, B> {
    /// The weights of block number `layer`, from 0.
    pub(crate) fn block(&self, layer: usize) -> Result<BlockWeights<B>, PretrainedError> {
        let fused = self.config.name(Part::QueryKeyValue, layer).is_some();
        let side_by_side: &[Part] = if fused { &[Part::QueryKeyValue] } else { &[Part::Query, Part::Key, Part::Value] };
        let into: &[Part] = if self.config.gated { &[Part::Gate, Part::Up] } else { &[Part::Up] };
        let norm = |part| self.norm(part, layer);
        Ok(BlockWeights {
            attention_norm: norm(Part::AttentionNorm)?,
            query_key_value: self.linear(side_by_side, layer)?,
            query_norm: norm(Part::QueryNorm)?,
            key_norm: norm(Part::KeyNorm)?,
            attention_out: self.linear(&[Part::AttentionOut], layer)?,
            attention_post_norm: norm(Part::AttentionPostNorm)?,
            feed_forward_norm: norm(Part::FeedForwardNorm)?,
            feed_forward_in: self.linear(into, layer)?,
            feed_forward_out: self.linear(&[Part::Down], layer)?,
            feed_forward_post_norm: norm(Part::FeedForwardPostNorm)?,
        })
    }

    /// A norm; without stored scale and shift one that only normalises.
    pub(crate) fn norm(&self, part: Part, layer: usize) -> Result<Option<NormWeights<B>>, PretrainedError> {
        let Some(name) = self.config.name(part, layer) else { return Ok(None) };
        let (shape, shifts) = self.config.shape(part);
        let mut scale = vec![1.0; shape[0]];
        if self.config.norm.scale {
            scale = self.source.tensor(&format!("{name}.weight"), &shape)?;
            scale.iter_mut().for_each(|value| *value += self.config.norm.offset);
        }
        let shift = if shifts { self.source.tensor(&format!("{name}.bias"), &shape)? } else { vec![0.0; shape[0]] };
        Ok(Some(NormWeights { scale: self.row(scale), shift: self.row(shift) }))
    }

    /// Maps of the same input as one, their outputs side by side.
    fn linear(&self, parts: &[Part], layer: usize) -> Result<Linear<B>, PretrainedError> {
        let outputs: usize = parts.iter().map(|part| self.config.shape(*part).0[0]).sum();
        let inputs = self.config.shape(parts[0]).0[1];
        let (mut weight, mut bias, mut first) = (vec![0.0; inputs * outputs], Vec::new(), 0);
        for &part in parts {
            let name = self.config.name(part, layer).expect("a part of the family");
            let (shape, biased) = self.config.shape(part);
            let row = |output: usize| if part == Part::QueryKeyValue { self.row_of(output) } else { output };
            let values = self.source.tensor(&format!("{name}.weight"), &shape)?;
            transpose(&values, shape[0], row, &mut weight, outputs, first);
            if biased {
                let values = self.source.tensor(&format!("{name}.bias"), &shape[..1])?;
                bias.extend((0..shape[0]).map(|output| values[row(output)]));
            }
            first += shape[0];
        }
        let weight = Tensor::from_data(TensorData::new(weight, [inputs, outputs]), self.device);
        Ok(Linear { weight, bias: (!bias.is_empty()).then(|| self.row(bias)) })
    }

    /// Where an output is stored among rows that come head by head, each with its queries, keys and values: outputs are all
    /// queries, all keys, all values.
    fn row_of(&self, output: usize) -> usize {
        let (d, all) = (self.config.d_head, self.config.n_heads * self.config.d_head);
        let (kind, head, feature) = (output / all, output % all / d, output % d);
        (head * 3 + kind) * d + feature
    }

    pub(crate) fn row(&self, values: Vec<f32>) -> Tensor<B, 2> {
        let shape = [1, values.len()];
        Tensor::from_data(TensorData::new(values, shape), self.device)
    }
}

/// Writes the rows of a stored map, `[outputs, inputs]`, as columns of `to`, `[inputs, all]`, from column `first` on.
/// Products with a map that lies like this go through it as it lies.
fn transpose(
    from: &[f32],
    outputs: usize,
    row: impl Fn(usize) -> usize + Sync,
    to: &mut [f32],
    all: usize,
    first: usize,
) {
    /// Inputs at a time: a cache line of a stored row.
    const INPUTS: usize = 16;
    let inputs = from.len() / outputs;
    to.par_chunks_mut(INPUTS * all).enumerate().for_each(|(block, to)| {
        for output in 0..outputs {
            let from = &from[row(output) * inputs + block * INPUTS..];
            for (to, value) in to[first + output..].iter_mut().step_by(all).zip(from) {
                *to = *value;
            }
        }
    });
}

impl<B: Backend> BlockWeights<B> {
    /// The same as constants of a graph.
    pub(crate) fn constant(&self) -> BlockWeights<Autodiff<B>> {
        let norm = |norm: &Option<NormWeights<B>>| norm.as_ref().map(NormWeights::constant);
        let linear = |linear: &Linear<B>| {
            let constant = |tensor: &Tensor<B, 2>| Tensor::from_inner(tensor.clone());
            Linear { weight: constant(&linear.weight), bias: linear.bias.as_ref().map(constant) }
        };
        BlockWeights {
            attention_norm: norm(&self.attention_norm),
            query_key_value: linear(&self.query_key_value),
            query_norm: norm(&self.query_norm),
            key_norm: norm(&self.key_norm),
            attention_out: linear(&self.attention_out),
            attention_post_norm: norm(&self.attention_post_norm),
            feed_forward_norm: norm(&self.feed_forward_norm),
            feed_forward_in: linear(&self.feed_forward_in),
            feed_forward_out: linear(&self.feed_forward_out),
            feed_forward_post_norm: norm(&self.feed_forward_post_norm),
        }
    }
}

impl<B: Backend> NormWeights<B> {
    /// The same as constants of a graph.
    pub(crate) fn constant(&self) -> NormWeights<Autodiff<B>> {
        NormWeights { scale: Tensor::from_inner(self.scale.clone()), shift: Tensor::from_inner(self.shift.clone()) }
    }
}

impl<B: Kernels> Linear<B> {
    /// x W + b
    ///
    /// # Shapes
    /// `[rows, inputs]` to `[rows, outputs]`
    pub(crate) fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        let [inputs, outputs] = self.weight.dims();
        let product = Product { inputs, outputs, transposed: false };
        let y = product.apply(ProductInputs { weight: self.weight.clone(), x });
        match &self.bias {
            Some(bias) => y + bias.clone(),
            None => y,
        }
    }
}

/// Rows that are stored head by head, each with its queries, keys and values, as all queries, all keys, all values;
/// `len` values are the queries of a head.
pub(crate) fn side_by_side(values: &[f32], len: usize) -> Vec<f32> {
    (0..3).flat_map(|kind| values.chunks_exact(len).skip(kind).step_by(3)).flatten().copied().collect()
}

/// The inverse of [`side_by_side`].
pub(crate) fn head_by_head(values: &[f32], len: usize) -> Vec<f32> {
    let heads = values.len() / len / 3;
    (0..heads).flat_map(|head| values.chunks_exact(len).skip(head).step_by(heads)).flatten().copied().collect()
}
