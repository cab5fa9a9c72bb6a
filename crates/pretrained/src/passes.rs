//! All prompts through one layer before the next is read.
//!
//! Weights are read once, in the order of the layers, and one layer is in memory at a time. Sequences lie one behind the
//! other without padding, in chunks that stay in a core's cache; each attends to itself alone, so what stands beside it
//! changes nothing. A branch is a sequence with some of its states changed: up to the first of the changes it is the
//! sequence it leaves, so only what comes behind is computed again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use burn::tensor::{Tensor, TensorData};
use kernels::{Kernels, Span};
use probe::{Component, Layer};
use rayon::prelude::*;

use crate::PretrainedError;
use crate::chunk::{Chunk, shares};
use crate::decoder::{Behind, Block, Keep, Reader, Untuned, WeightSource};
use crate::folder::{DecoderConfig, Part};

/// Rows of a chunk on a CPU: products run at their full rate, and what is between them stays in cache.
pub(crate) const ROWS_ON_CPU: usize = 768;
/// Rows of a chunk on a GPU.
const ROWS_ON_GPU: usize = 16_384;

/// What goes through a model, and what is wanted of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// The tokens of every sequence, at least one each.
    pub(crate) sequences: Vec<Vec<u32>>,
    /// Sequences with changed states.
    pub(crate) branches: Vec<Branch>,
    /// Rows whose states are handed over.
    pub(crate) reads: Vec<RowAt>,
    /// Components and their layers that are handed over.
    pub(crate) layers: Vec<(Component, Layer)>,
    /// Rows whose last state is given back.
    pub(crate) last: Vec<RowAt>,
}

/// A token of a sequence or of a branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowAt {
    pub(crate) of: Member,
    /// From 0, in a branch as well.
    pub(crate) position: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Member {
    Sequence(usize),
    Branch(usize),
}

/// A sequence with changed states.
#[derive(Clone, Debug)]
pub(crate) struct Branch {
    /// The sequence it leaves.
    pub(crate) parent: usize,
    /// At least one.
    pub(crate) changes: Vec<StateChange>,
}

/// A change of the residual stream at one layer and token.
#[derive(Clone, Debug)]
pub(crate) struct StateChange {
    pub(crate) layer: Layer,
    pub(crate) position: usize,
    /// Whether the vector takes the state's place, or is added to it.
    pub(crate) replaces: bool,
    pub(crate) vector: Arc<[f32]>,
}

impl Branch {
    fn first_layer(&self) -> Layer {
        self.changes.iter().map(|change| change.layer).min().expect("a branch has a change")
    }

    pub(crate) fn first_position(&self) -> usize {
        self.changes.iter().map(|change| change.position).min().expect("a branch has a change")
    }
}

/// States of one component at one layer: a row for every read, in their order.
pub(crate) struct LayerStates {
    pub(crate) component: Component,
    pub(crate) layer: Layer,
    /// `[reads, d_model]`
    pub(crate) values: Vec<f32>,
}

/// A model through which requests go.
pub(crate) struct Passes<'a> {
    pub(crate) config: &'a DecoderConfig,
    pub(crate) source: &'a dyn WeightSource,
    /// Whether the device's work is done by threads of the host.
    pub(crate) on_cpu: bool,
    /// Is told how many of how many steps are done; says whether to stop.
    pub(crate) watch: &'a Watch<'a>,
}

/// Is told how many of how many equal steps of work are done, and says whether to go on.
pub(crate) type Watch<'a> = dyn Fn(usize, usize) -> bool + Sync + 'a;

/// What a request has come to.
pub(crate) struct Passed {
    /// `[last, d_model]`
    pub(crate) last: Vec<f32>,
    /// How long it took to read weights.
    pub(crate) reading: Duration,
}

impl Passes<'_> {
    /// Sends a request through. States are handed over layer by layer.
    ///
    /// # Errors
    /// When weights cannot be read, a state is not finite, `deliver` fails, or the watch says to stop.
    pub(crate) fn run<B: Kernels>(
        &self,
        request: &Request,
        device: &B::Device,
        deliver: &mut dyn FnMut(LayerStates) -> Result<(), PretrainedError>,
    ) -> Result<Passed, PretrainedError> {
        let reader = Reader::<B> { source: self.source, config: self.config, device };
        let longest = request.sequences.iter().map(Vec::len).max().unwrap_or(0);
        let rope = Arc::new(self.config.rope.table(longest));
        let mut reading = Duration::ZERO;
        let mut chunks = self.embed::<B>(request, device)?;
        let (done, total) = (AtomicUsize::new(0), chunks.len() * self.config.n_layers);
        self.branch_off(request, &mut chunks, Layer(0));
        self.hand_over(request, Layer(0), &chunks, &[], deliver)?;
        for layer in 0..self.config.n_layers {
            let started = Instant::now();
            let weights = reader.block(layer)?;
            reading += started.elapsed();
            let block = Block { config: self.config, weights: &weights, rope: &rope, layer, tuning: &Untuned };
            let behind = Layer(layer + 1);
            let parts = request.layers.iter().any(|(component, at)| *at == behind && *component != Component::Residual);
            let rows = self.wanted_rows(request, behind);
            let step = |mut chunk: Chunk<B>| {
                if !(self.watch)(done.fetch_add(1, Ordering::Relaxed), total) {
                    return Err(PretrainedError::Interrupted);
                }
                let spans = chunk.spans.clone().into();
                let rows = rows.as_ref().map(|rows| chunk.keep_only(rows.iter().copied()));
                let Behind { h, added } = block.forward(chunk.h, &spans, &Keep { parts, rows });
                chunk.h = h;
                Ok((chunk, added))
            };
            let stepped: Vec<_> = if self.on_cpu {
                chunks.into_par_iter().map(step).collect::<Result<_, _>>()?
            } else {
                chunks.into_iter().map(step).collect::<Result<_, _>>()?
            };
            let added: Vec<Option<[Tensor<B, 2>; 2]>>;
            (chunks, added) = stepped.into_iter().unzip();
            self.branch_off(request, &mut chunks, behind);
            self.hand_over(request, behind, &chunks, &added, deliver)?;
        }
        let last = self.gather(&request.last, Layer(self.config.n_layers), &chunks, |at| chunks[at].h.clone())?;
        Ok(Passed { last, reading })
    }

    /// The rows that are wanted behind a layer, if not all: behind the last one only those that are read.
    fn wanted_rows(&self, request: &Request, behind: Layer) -> Option<Vec<RowAt>> {
        let changed = request.branches.iter().flat_map(|branch| &branch.changes).any(|change| change.layer == behind);
        let last = behind.0 == self.config.n_layers && !changed;
        last.then(|| request.reads.iter().chain(&request.last).copied().collect())
    }

    /// The embedded sequences, in chunks.
    fn embed<B: Kernels>(&self, request: &Request, device: &B::Device) -> Result<Vec<Chunk<B>>, PretrainedError> {
        let d = self.config.d_model;
        let mut tokens: Vec<usize> = request.sequences.iter().flatten().map(|&token| token as usize).collect();
        tokens.sort_unstable();
        tokens.dedup();
        let name = self.config.name(Part::Embedding, 0).expect("every model has an embedding");
        let mut table = self.source.rows(&format!("{name}.weight"), &tokens, d)?;
        table.iter_mut().for_each(|value| *value *= self.config.embedding_scale);
        let row = |token: &u32| {
            let at = tokens.binary_search(&(*token as usize)).expect("every token is among them");
            &table[at * d..(at + 1) * d]
        };
        let lengths: Vec<usize> = request.sequences.iter().map(Vec::len).collect();
        let (most, threads) = if self.on_cpu { (ROWS_ON_CPU, rayon::current_num_threads()) } else { (ROWS_ON_GPU, 1) };
        let chunk = |sequences: Vec<usize>| {
            let tokens = sequences.iter().flat_map(|&sequence| &request.sequences[sequence]);
            let values: Vec<f32> = tokens.flat_map(row).copied().collect();
            let shape = [values.len() / d, d];
            let mut chunk = Chunk::new(Tensor::from_data(TensorData::new(values, shape), device));
            let mut start = 0;
            for sequence in sequences {
                chunk.add(Member::Sequence(sequence), Span::whole(start, lengths[sequence]));
                start += lengths[sequence];
            }
            chunk
        };
        Ok(shares(&lengths, most, threads).into_iter().map(chunk).collect())
    }

    /// Lets the branches begin whose first change is at `layer`, and makes all changes there.
    fn branch_off<B: Kernels>(&self, request: &Request, chunks: &mut [Chunk<B>], layer: Layer) {
        let mut by_chunk: Vec<Vec<usize>> = vec![Vec::new(); chunks.len()];
        for (number, branch) in request.branches.iter().enumerate() {
            if branch.changes.iter().any(|change| change.layer == layer) {
                let home = |chunk: &Chunk<B>| chunk.has(Member::Sequence(branch.parent));
                let at = chunks.iter().position(home).expect("the parent is a sequence of the request");
                by_chunk[at].push(number);
            }
        }
        for (chunk, branches) in chunks.iter_mut().zip(by_chunk) {
            for &number in branches.iter().filter(|&&number| request.branches[number].first_layer() == layer) {
                let branch = &request.branches[number];
                let from = branch.first_position();
                chunk.branch(number, branch.parent, from, request.sequences[branch.parent].len() - from);
            }
            let changes = branches.iter().flat_map(|&number| {
                let changes = request.branches[number].changes.iter().filter(|change| change.layer == layer);
                changes.map(move |change| (RowAt { of: Member::Branch(number), position: change.position }, change))
            });
            chunk.change(changes);
        }
    }

    fn hand_over<B: Kernels>(
        &self,
        request: &Request,
        layer: Layer,
        chunks: &[Chunk<B>],
        added: &[Option<[Tensor<B, 2>; 2]>],
        deliver: &mut dyn FnMut(LayerStates) -> Result<(), PretrainedError>,
    ) -> Result<(), PretrainedError> {
        for &(component, _) in request.layers.iter().filter(|(_, at)| *at == layer) {
            let part = |at: usize, which: usize| added[at].as_ref().expect("kept where it is wanted")[which].clone();
            let values = self.gather(&request.reads, layer, chunks, |at| match component {
                Component::Residual => chunks[at].h.clone(),
                Component::Attention => part(at, 0),
                Component::FeedForward => part(at, 1),
                Component::Block => part(at, 0) + part(at, 1),
            })?;
            deliver(LayerStates { component, layer, values })?;
        }
        Ok(())
    }

    /// The rows at `places`, in their order, of what there is for every chunk at `layer`.
    fn gather<B: Kernels>(
        &self,
        places: &[RowAt],
        layer: Layer,
        chunks: &[Chunk<B>],
        of: impl Fn(usize) -> Tensor<B, 2>,
    ) -> Result<Vec<f32>, PretrainedError> {
        let d = self.config.d_model;
        let mut found = vec![0.0; places.len() * d];
        for (at, chunk) in chunks.iter().enumerate() {
            let (to, values) = chunk.select(places, || of(at));
            for (to, values) in to.into_iter().zip(values.chunks_exact(d)) {
                found[to * d..(to + 1) * d].copy_from_slice(values);
            }
        }
        match found.iter().find(|value| !value.is_finite()) {
            None => Ok(found),
            Some(value) => {
                Err(PretrainedError::out_of_range(format!("every state at layer {}", layer.0), "finite", value))
            }
        }
    }
}
