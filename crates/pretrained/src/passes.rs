//! All prompts through one layer before the next is read.
//!
//! Weights are read once, in the order of the layers, and one layer is in memory at a time. Sequences lie one behind the
//! other without padding, in chunks that stay in a core's cache; each attends to itself alone, so what stands beside it
//! changes nothing. A branch is a sequence with some of its states changed: up to the first of the changes it is the
//! sequence it leaves, so only what comes behind is computed again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Int, Tensor, TensorData};
use kernels::{Kernels, Span};
use probe::{Component, Layer};
use rayon::prelude::*;

use crate::PretrainedError;
use crate::decoder::{Behind, Block, Reader, Untuned, WeightSource};
use crate::folder::{DecoderConfig, Part};

/// Rows of a chunk on a CPU: products run at their full rate, and what is between them stays in cache.
pub(crate) const ROWS_ON_CPU: usize = 384;
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

/// Some sequences and their branches, with the residual stream behind the layers so far.
struct Chunk<B: Kernels> {
    h: Tensor<B, 2>,
    spans: Vec<Span>,
    members: Vec<Member>,
    /// First row of a member, and its first position there.
    rows: BTreeMap<Member, (usize, usize)>,
}

impl Passes<'_> {
    /// Sends a request through. States are handed over layer by layer; the last states come back, `[last, d_model]`.
    ///
    /// # Errors
    /// When weights cannot be read, `deliver` fails, or the watch says to stop.
    pub(crate) fn run<B: Kernels>(
        &self,
        request: &Request,
        device: &B::Device,
        deliver: &mut dyn FnMut(LayerStates) -> Result<(), PretrainedError>,
    ) -> Result<Vec<f32>, PretrainedError> {
        let reader = Reader::<B> { source: self.source, config: self.config, device };
        let longest = request.sequences.iter().map(Vec::len).max().unwrap_or(0);
        let rope = Arc::new(self.config.rope.table(longest));
        let mut chunks = self.embed::<B>(request, device)?;
        let (done, total) = (AtomicUsize::new(0), chunks.len() * self.config.n_layers);
        self.branch_off(request, &mut chunks, Layer(0));
        self.hand_over(request, Layer(0), &chunks, &[], deliver)?;
        for layer in 0..self.config.n_layers {
            let weights = reader.block(layer)?;
            let block = Block { config: self.config, weights: &weights, rope: &rope, layer, tuning: &Untuned };
            let behind = Layer(layer + 1);
            let parts = request.layers.iter().any(|(component, at)| *at == behind && *component != Component::Residual);
            let step = |chunk: Chunk<B>| {
                if !(self.watch)(done.fetch_add(1, Ordering::Relaxed), total) {
                    return Err(PretrainedError::Interrupted);
                }
                let Behind { h, added } = block.forward(chunk.h, &chunk.spans.clone().into(), parts);
                Ok((Chunk { h, ..chunk }, added))
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
        Ok(self.gather(&request.last, &chunks, |chunk| chunk.h.clone()))
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
        let most = if self.on_cpu { ROWS_ON_CPU } else { ROWS_ON_GPU };
        let mut chunks = Vec::new();
        let mut first = 0;
        while first < request.sequences.len() {
            let (mut end, mut rows) = (first, 0);
            while end < request.sequences.len() && (rows == 0 || rows + request.sequences[end].len() <= most) {
                rows += request.sequences[end].len();
                end += 1;
            }
            let values: Vec<f32> = request.sequences[first..end].iter().flatten().flat_map(row).copied().collect();
            let h = Tensor::from_data(TensorData::new(values, [rows, d]), device);
            let mut chunk = Chunk { h, spans: Vec::new(), members: Vec::new(), rows: BTreeMap::new() };
            let mut start = 0;
            for sequence in first..end {
                let len = request.sequences[sequence].len();
                chunk.add(Member::Sequence(sequence), Span::whole(start, len));
                start += len;
            }
            chunks.push(chunk);
            first = end;
        }
        Ok(chunks)
    }

    /// Lets the branches begin whose first change is at `layer`, and makes all changes there.
    fn branch_off<B: Kernels>(&self, request: &Request, chunks: &mut [Chunk<B>], layer: Layer) {
        let mut by_chunk: Vec<Vec<usize>> = vec![Vec::new(); chunks.len()];
        for (number, branch) in request.branches.iter().enumerate() {
            if branch.changes.iter().any(|change| change.layer == layer) {
                let home = |chunk: &Chunk<B>| chunk.rows.contains_key(&Member::Sequence(branch.parent));
                let at = chunks.iter().position(home).expect("the parent is a sequence of the request");
                by_chunk[at].push(number);
            }
        }
        for (chunk, branches) in chunks.iter_mut().zip(by_chunk) {
            for &number in branches.iter().filter(|&&number| request.branches[number].first_layer() == layer) {
                let branch = &request.branches[number];
                let parent = Member::Sequence(branch.parent);
                let from = branch.first_position();
                let (start, _) = chunk.rows[&parent];
                let len = request.sequences[branch.parent].len() - from;
                let [rows, _] = chunk.h.dims();
                let copied = chunk.h.clone().narrow(0, start + from, len);
                chunk.h = Tensor::cat(vec![chunk.h.clone(), copied], 0);
                chunk.add(Member::Branch(number), Span { start: rows, len, from: Some((start, from)) });
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
            let index = |chunk: &Chunk<B>| chunks.iter().position(|it| std::ptr::eq(it, chunk)).expect("one of them");
            let part = |chunk: &Chunk<B>, which: usize| {
                added[index(chunk)].as_ref().expect("kept where it is wanted")[which].clone()
            };
            let values = self.gather(&request.reads, chunks, |chunk| match component {
                Component::Residual => chunk.h.clone(),
                Component::Attention => part(chunk, 0),
                Component::FeedForward => part(chunk, 1),
                Component::Block => part(chunk, 0) + part(chunk, 1),
            });
            deliver(LayerStates { component, layer, values })?;
        }
        Ok(())
    }

    /// The rows at `places`, in their order.
    fn gather<B: Kernels>(
        &self,
        places: &[RowAt],
        chunks: &[Chunk<B>],
        of: impl Fn(&Chunk<B>) -> Tensor<B, 2>,
    ) -> Vec<f32> {
        let d = self.config.d_model;
        let mut found = vec![0.0; places.len() * d];
        for chunk in chunks {
            let here = places.iter().enumerate().filter_map(|(to, place)| Some((to, chunk.row(*place)?)));
            let (to, rows): (Vec<usize>, Vec<i32>) = here.map(|(to, row)| (to, row as i32)).unzip();
            if rows.is_empty() {
                continue;
            }
            let all = of(chunk);
            let count = rows.len();
            let rows = Tensor::<B, 1, Int>::from_data(TensorData::new(rows, [count]), &all.device());
            let values: Vec<f32> = all.select(0, rows).into_data().to_vec().expect("states are f32");
            for (to, values) in to.into_iter().zip(values.chunks_exact(d)) {
                found[to * d..(to + 1) * d].copy_from_slice(values);
            }
        }
        found
    }
}

impl<B: Kernels> Chunk<B> {
    fn add(&mut self, member: Member, span: Span) {
        self.rows.insert(member, (span.start, span.before()));
        self.spans.push(span);
        self.members.push(member);
    }

    /// The row at a place; none where it is not of this chunk.
    fn row(&self, place: RowAt) -> Option<usize> {
        let (start, first) = self.rows.get(&place.of)?;
        Some(start + place.position - first)
    }

    /// Changes some rows.
    fn change<'a>(&mut self, changes: impl Iterator<Item = (RowAt, &'a StateChange)>) {
        let [_, d] = self.h.dims();
        let device = self.h.device();
        for (place, change) in changes {
            let row = self.row(place).expect("the branch is of this chunk");
            let vector = Tensor::<B, 2>::from_data(TensorData::new(change.vector.to_vec(), [1, d]), &device);
            let now = if change.replaces { vector } else { self.h.clone().narrow(0, row, 1) + vector };
            self.h = self.h.clone().slice_assign([row..row + 1, 0..d], now);
        }
    }
}
