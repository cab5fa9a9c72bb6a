//! A model in memory as a whole, and the gradient of the loss with respect to its adapters.

use std::ops::Range;
use std::sync::Arc;

use burn::backend::Autodiff;
use burn::tensor::{Int, Tensor, TensorData};
use data::{Purpose, Stream};
use kernels::{Kernels, Span};
use rayon::prelude::*;

use super::adapter::{AdapterConfig, AdapterPlace};
use super::loss::Logits;
use super::tuning::{Dropout, Pair, Tuning};
use crate::PretrainedError;
use crate::decoder::{Block, BlockWeights, Keep, NormWeights, Reader, Untuned, WeightSource, normalize};
use crate::folder::{DecoderConfig, Part};

/// About how many rows a shard has on a CPU: with 120, preparing the weights takes a quarter of a product's time, with
/// 240 an eighth. It decides the order of sums, so it is no setting.
const ROWS_ON_CPU: usize = 256;
/// The same on a GPU.
const ROWS_ON_GPU: usize = 4096;

/// A text to be tuned on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    /// Its tokens.
    pub ids: Vec<u32>,
    /// Which of them are learnt, each from those ahead of it; never the first.
    pub answers: Vec<Range<usize>>,
}

/// What a batch says about the adapters.
pub(crate) struct Gradients<B: Kernels> {
    /// Mean of −ln p over the tokens of answers.
    pub(crate) loss: f64,
    pub(crate) pairs: Vec<Pair<B>>,
}

/// The weights of a whole model on a device. They are constants.
pub(crate) struct Resident<'a, B: Kernels> {
    pub(crate) config: &'a DecoderConfig,
    blocks: Vec<BlockWeights<B>>,
    norm: NormWeights<B>,
    /// `[vocabulary, d_model]`
    embedding: Tensor<B, 2>,
    /// The same, unless the model has a head of its own.
    head: Tensor<B, 2>,
    on_cpu: bool,
}

/// Some examples of a batch, that go through the model together.
struct Shard<'a> {
    /// Number of the first one among all that are ever tuned on.
    first: u64,
    examples: &'a [Example],
}

/// The adapters that gradients are asked for.
pub(crate) struct Asked<'a, B: Kernels> {
    pub(crate) config: &'a AdapterConfig,
    pub(crate) places: &'a [AdapterPlace],
    pub(crate) pairs: &'a [Pair<B>],
    pub(crate) seed: u64,
}

impl Example {
    /// Tokens that are learnt.
    pub(crate) fn learnt(&self) -> usize {
        self.answers.iter().map(Range::len).sum()
    }

    /// # Errors
    /// When nothing is to be learnt, or it is not among the tokens.
    pub(crate) fn check(&self, vocabulary: usize) -> Result<(), PretrainedError> {
        let inside = |range: &Range<usize>| range.start >= 1 && range.start < range.end && range.end <= self.ids.len();
        if self.answers.is_empty() || !self.answers.iter().all(inside) {
            let range = format!("ranges of tokens from 1 to {}, at least one", self.ids.len());
            return Err(PretrainedError::out_of_range(
                "the answers of an example",
                range,
                format!("{:?}", self.answers),
            ));
        }
        match self.ids.iter().find(|id| **id as usize >= vocabulary) {
            None => Ok(()),
            Some(id) => {
                Err(PretrainedError::out_of_range("the tokens of an example", format!("below {vocabulary}"), id))
            }
        }
    }
}

impl<'a, B: Kernels> Resident<'a, B> {
    /// Reads a model.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn read(
        config: &'a DecoderConfig,
        source: &dyn WeightSource,
        on_cpu: bool,
        device: &B::Device,
    ) -> Result<Self, PretrainedError> {
        let reader = Reader::<B> { source, config, device };
        let matrix = |part: Part| {
            let (shape, name) = (config.shape(part).0, config.name(part, 0).expect("every model has it"));
            let values = source.tensor(&format!("{name}.weight"), &shape)?;
            Ok::<_, PretrainedError>(Tensor::from_data(TensorData::new(values, shape), device))
        };
        let embedding = matrix(Part::Embedding)?;
        let head = if config.tied { embedding.clone() } else { matrix(Part::Head)? };
        let blocks = (0..config.n_layers).map(|layer| reader.block(layer)).collect::<Result<_, _>>()?;
        let norm = reader.norm(Part::FinalNorm, 0)?.expect("every model has it");
        Ok(Self { config, blocks, norm, embedding, head, on_cpu })
    }

    /// Gradients of the mean of −ln p over the tokens of all answers.
    ///
    /// The batch is cut into shards of whole examples, each with its own graph, since threads that share one wait for each
    /// other. How it is cut depends on the examples alone, and gradients are summed in the order of the shards.
    pub(crate) fn gradients(&self, first: u64, examples: &[Example], asked: &Asked<'_, B>) -> Gradients<B> {
        let total: usize = examples.iter().map(Example::learnt).sum();
        let shards = self.shards(first, examples);
        let of = |shard: &Shard<'_>| self.of_shard(shard, total, asked);
        let parts: Vec<Gradients<B>> =
            if self.on_cpu { shards.par_iter().map(of).collect() } else { shards.iter().map(of).collect() };
        let loss = parts.iter().map(|part| part.loss).sum();
        let mut by_factor = vec![[Vec::new(), Vec::new()]; asked.places.len()];
        for part in parts {
            for (sums, pair) in by_factor.iter_mut().zip(part.pairs) {
                sums.iter_mut().zip(pair).for_each(|(sum, gradient)| sum.push(gradient));
            }
        }
        Gradients { loss, pairs: by_factor.into_iter().map(|pair| pair.map(B::add_parts)).collect() }
    }

    /// Parts of nearly as many examples, 2ⁿ of them, so that none is left when threads share them.
    fn shards<'b>(&self, first: u64, examples: &'b [Example]) -> Vec<Shard<'b>> {
        let rows: usize = examples.iter().map(|example| example.ids.len()).sum();
        let each = if self.on_cpu { ROWS_ON_CPU } else { ROWS_ON_GPU };
        let count = rows.div_ceil(each).next_power_of_two().min(examples.len());
        let bound = |shard: usize| shard * examples.len() / count;
        let shard =
            |shard| Shard { first: first + bound(shard) as u64, examples: &examples[bound(shard)..bound(shard + 1)] };
        (0..count).map(shard).collect()
    }

    fn of_shard(&self, shard: &Shard<'_>, total: usize, asked: &Asked<'_, B>) -> Gradients<B> {
        let mut spans = Vec::new();
        let (mut rows, mut tokens, mut ids) = (Vec::new(), Vec::new(), Vec::new());
        for example in shard.examples {
            let start = ids.len();
            for place in example.answers.iter().cloned().flatten() {
                rows.push((start + place - 1) as i32);
                tokens.push(example.ids[place]);
            }
            ids.extend(example.ids.iter().map(|&id| id as i32));
            spans.push(Span::whole(start, example.ids.len()));
        }
        let device = self.embedding.device();
        let index = |values: Vec<i32>| {
            let len = values.len();
            Tensor::<B, 1, Int>::from_data(TensorData::new(values, [len]), &device)
        };
        let longest = spans.iter().map(|span| span.len).max().unwrap_or(0);
        let (spans, rope) = (spans.into(), Arc::new(self.config.rope.table(longest)));

        // What lies below the first adapter has no gradient.
        let mut h = self.embedding.clone().select(0, index(ids)) * self.config.embedding_scale;
        let first = asked.places.iter().map(|place| place.layer).min().unwrap_or(self.config.n_layers);
        for (layer, weights) in self.blocks.iter().enumerate().take(first) {
            h = Block { config: self.config, weights, rope: &rope, layer, tuning: &Untuned }
                .forward(h, &spans, &Keep::stream())
                .h;
        }
        let leaf = |tensor: &Tensor<B, 2>| Tensor::<Autodiff<B>, 2>::from_inner(tensor.clone()).require_grad();
        let factors: Vec<Pair<Autodiff<B>>> = asked.pairs.iter().map(|pair| pair.each_ref().map(leaf)).collect();
        let numbered = |(at, example): (usize, &Example)| (shard.first + at as u64, example.ids.len());
        let examples: Vec<_> = shard.examples.iter().enumerate().map(numbered).collect();
        let dropout = (asked.config.dropout > 0.0).then(|| Dropout {
            stream: Stream::new(asked.seed, Purpose::Dropout),
            probability: asked.config.dropout,
            examples: &examples,
        });
        let tuning = Tuning { config: asked.config, places: asked.places, factors: &factors, dropout };
        let mut h = Tensor::<Autodiff<B>, 2>::from_inner(h);
        for (layer, weights) in self.blocks.iter().enumerate().skip(first) {
            let weights = &weights.constant();
            h = Block { config: self.config, weights, rope: &rope, layer, tuning: &tuning }
                .forward(h, &spans, &Keep::stream())
                .h;
        }
        let states = normalize(self.config, &self.norm.constant(), h.select(0, Tensor::from_inner(index(rows))));
        let logits = Logits { weight: &self.head, cap: self.config.logit_cap };
        let found = logits.cross_entropy(&states.clone().inner(), &tokens);
        // A function of the states that is linear and has the loss's gradient.
        let along = (states * Tensor::from_inner(found.gradient / total as f64)).sum();
        let mut gradients = along.backward();
        let pairs = factors.iter().zip(asked.pairs).map(|(pair, values)| {
            let gradient = |at: usize| pair[at].grad_remove(&mut gradients).unwrap_or_else(|| values[at].zeros_like());
            [0, 1].map(gradient)
        });
        Gradients { pairs: pairs.collect(), loss: found.sum / total as f64 }
    }
}
