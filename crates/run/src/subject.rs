//! Models of ours as what measurements ask: [`ModelSubject`] is one in memory, [`Checkpoints`] those of a run.

use std::error::Error as StdError;

use burn::tensor::{Tensor, TensorData};
use data::{Prompt, Token};
use model::{
    Batch, Device, Heads, Kernels, Model, OnBackend, ResidualStream, Weights, Writes, transplant, without_head,
};
use probe::{
    Anatomy, Answers, Change, Component, Delivery, Edit, Layer, Look, Prompts, Representations, Sensitivities, Subject,
    SubjectError, Subjects, Wanted,
};
use rayon::prelude::*;

use crate::edited::{added, forward_edited, put, replaced};
use crate::sensitivities::sensitivities;
use crate::{Experiment, RunDir, RunError};

/// Prompts that go through the model together; small enough that hidden states stay in cache.
pub(crate) const CHUNK: usize = 64;

/// The prediction of y at every pair, `[n_prompts][n_points]`.
type Predictions = Vec<Vec<f64>>;

/// A model in memory. It reads prompts of numbers.
#[derive(Debug)]
pub struct ModelSubject<'a, B: Kernels> {
    model: Model<B>,
    experiment: &'a Experiment,
    anatomy: Anatomy,
    device: B::Device,
}

impl<'a, B: Kernels> ModelSubject<'a, B> {
    /// Of a model of `experiment`, which runs on `device`.
    pub fn new(model: Model<B>, experiment: &'a Experiment, device: B::Device) -> Self {
        Self { model, experiment, anatomy: experiment.anatomy(), device }
    }

    fn batch(&self, prompts: &[Prompt]) -> Batch<B> {
        Batch::new(prompts.iter().map(|prompt| (&prompt.xs[..], &prompt.ys[..])), &self.device)
    }

    fn stream(&self, model: &Model<B>, prompts: &[Prompt]) -> ResidualStream<B> {
        let batch = self.batch(prompts);
        model.residual_stream(batch.xs, batch.ys)
    }

    /// Predictions of `model`, chunk by chunk.
    fn forward(&self, model: &Model<B>, prompts: &[Prompt]) -> Predictions {
        let forward = |chunk: &[Prompt]| {
            let batch = self.batch(chunk);
            answers(model.forward(batch.xs, batch.ys))
        };
        prompts.par_chunks(CHUNK).flat_map_iter(forward).collect()
    }

    fn check_edit(&self, edit: &Edit) -> Result<(), SubjectError> {
        edit.0.iter().try_for_each(|change| match *change {
            Change::Replace { layer, .. } | Change::Add { layer, .. } => {
                check("layer", 0, self.anatomy.n_layers, layer.0)
            }
            Change::ReplaceHead { layer, head, .. } | Change::Ablate { layer, head } => {
                self.check_block(layer)?;
                check("head", 1, self.anatomy.n_heads, head)
            }
        })
    }

    /// Nothing, if there is a block with heads that writes `layer`.
    fn check_block(&self, layer: Layer) -> Result<(), SubjectError> {
        self.anatomy.require_attention()?;
        check("layer", 1, self.anatomy.n_layers, layer.0)
    }

    /// The model without the heads that `edit` switches off; none if it switches off none.
    fn ablated(&self, edit: &Edit) -> Option<Model<B>> {
        let (architecture, mut weights) = (&self.experiment.architecture, None);
        for change in &edit.0 {
            let Change::Ablate { layer, head } = *change else { continue };
            let so_far = weights.take().unwrap_or_else(|| self.model.weights());
            weights = Some(without_head(architecture, &so_far, model::Layer(layer.0), head));
        }
        let built = weights.map(|weights| Model::new(architecture, &weights, &self.device));
        built.map(|model| model.expect("only values were changed"))
    }

    /// Predictions of a chunk under every edit, where some change states; `first` is the number of its first prompt.
    fn edited(&self, chunk: &[Prompt], first: usize, edits: &[(&Edit, Option<Model<B>>)]) -> Vec<Predictions> {
        let stream = self.stream(&self.model, chunk);
        let answer = |(edit, ablated): &(&Edit, Option<Model<B>>)| match ablated {
            None => self.answer_edited(&self.model, &stream, edit, first),
            Some(model) => self.answer_edited(model, &self.stream(model, chunk), edit, first),
        };
        edits.iter().map(answer).collect()
    }

    /// The forward pass from the first edited layer on.
    fn answer_edited(&self, model: &Model<B>, stream: &ResidualStream<B>, edit: &Edit, first: usize) -> Predictions {
        answers(forward_edited(model, stream, edit, first, |h, number| self.changed(h, &edit.0[number], first)))
    }

    /// The residual stream at one layer with the state at one token changed.
    fn changed(&self, h: Tensor<B, 3>, change: &Change, first: usize) -> Tensor<B, 3> {
        let (Change::Replace { token, by: vectors, .. } | Change::Add { token, what: vectors, .. }) = change else {
            return h;
        };
        let [batch, _, d_model] = h.dims();
        let states = match change {
            Change::Add { .. } => {
                let states = to_vec(h.clone().narrow(1, token.index(), 1));
                added(&states, d_model, vectors, first)
            }
            _ => replaced(batch, vectors, first),
        };
        let states = Tensor::<B, 2>::from_data(TensorData::new(states, [batch, d_model]), &self.device);
        put(h, token.index(), states)
    }

    /// What `at` takes from the heads of the block at `layer`, `[batch, n_heads, …]`, at each of some places:
    /// `[n_heads][places]`, one prompt behind the other.
    fn of_heads(
        &self,
        prompts: &Prompts,
        layer: Layer,
        places: usize,
        at: impl Fn(&Heads<B>, usize) -> Tensor<B, 4> + Sync,
    ) -> Result<Vec<Vec<Vec<f32>>>, SubjectError> {
        self.check_block(layer)?;
        let of_chunk = |chunk: &[Prompt]| {
            let stream = self.stream(&self.model, chunk);
            let below = stream.layers[layer.0 - 1].clone();
            let heads = self.model.heads(model::Layer(layer.0), &stream.layers[0], below);
            let heads = heads.expect("a model with attention has heads");
            let of_head = |head| (0..places).map(|place| to_vec(at(&heads, place).narrow(1, head, 1))).collect();
            (0..self.anatomy.n_heads).map(of_head).collect::<Vec<Vec<Vec<f32>>>>()
        };
        let chunks: Vec<_> = prompts.pairs().par_chunks(CHUNK).map(of_chunk).collect();
        let joined = |head: usize, place: usize| chunks.iter().flat_map(|chunk| chunk[head][place].clone()).collect();
        let of_head = |head| (0..places).map(|place| joined(head, place)).collect();
        Ok((0..self.anatomy.n_heads).map(of_head).collect())
    }

    /// Everything that is wanted of some prompts, one portion a component, and the answers.
    fn portions(&self, prompts: &[Prompt], wanted: &Wanted) -> (Vec<Representations>, Predictions) {
        let chunks: Vec<(Vec<Vec<Vec<f32>>>, Predictions)> =
            prompts.par_chunks(CHUNK).map(|chunk| self.capture(chunk, wanted)).collect();
        let (states, answers): (Vec<_>, Vec<_>) = chunks.into_iter().unzip();
        let labels: Vec<usize> = prompts.iter().map(|prompt| prompt.concept.0).collect();
        let d_model = self.anatomy.d_model;
        let portion = |(index, &component): (usize, &Component)| {
            let layers = wanted.layers_of(component, self.anatomy.n_layers);
            let mut values = Vec::with_capacity(layers.len() * wanted.tokens.len() * labels.len() * d_model);
            for layer in 0..layers.len() {
                for token in 0..wanted.tokens.len() {
                    for chunk in &states {
                        let rows = chunk[index][layer].chunks_exact(d_model);
                        values.extend(rows.skip(token).step_by(wanted.tokens.len()).flatten());
                    }
                }
            }
            Representations::new(labels.clone(), component, layers, wanted.tokens.clone(), values)
        };
        // A component may have none of the wanted layers.
        let has_layers =
            |(_, component): &(usize, &Component)| !wanted.layers_of(**component, self.anatomy.n_layers).is_empty();
        let portions = wanted.components.iter().enumerate().filter(has_layers).map(portion).collect();
        (portions, answers.concat())
    }

    /// The wanted states of one chunk, `[components][layers]`, each row-major `[prompts, tokens, d_model]`.
    fn capture(&self, chunk: &[Prompt], wanted: &Wanted) -> (Vec<Vec<Vec<f32>>>, Predictions) {
        let stream = self.stream(&self.model, chunk);
        let keep = |h: Tensor<B, 3>| {
            let kept = wanted.tokens.iter().map(|token| h.clone().narrow(1, token.index(), 1)).collect();
            to_vec(Tensor::cat(kept, 1))
        };
        let writes = |layer: usize| {
            let below = stream.layers[layer - 1].clone();
            let writes = self.model.writes(model::Layer(layer), &stream.layers[0], below);
            writes.expect("a model with attention has both parts")
        };
        let at = |component, Layer(layer)| match component {
            Component::Residual => stream.layers[layer].clone(),
            Component::Attention => writes(layer).attention,
            Component::FeedForward => writes(layer).feed_forward,
            Component::Block => {
                let Writes { attention, feed_forward } = writes(layer);
                attention + feed_forward
            }
        };
        let of = |&component: &Component| {
            let layers = wanted.layers_of(component, self.anatomy.n_layers);
            layers.into_iter().map(|layer| keep(at(component, layer))).collect()
        };
        (wanted.components.iter().map(of).collect(), answers(stream.predictions.clone()))
    }
}

impl<B: Kernels> Subject for ModelSubject<'_, B> {
    fn anatomy(&self) -> &Anatomy {
        &self.anatomy
    }

    fn read(&self, groups: &[Prompts], wanted: &Wanted, deliver: &mut dyn FnMut(Delivery)) -> Result<(), SubjectError> {
        if wanted.components.iter().any(|component| *component != Component::Residual) {
            self.anatomy.require_attention()?;
        }
        for (group, prompts) in groups.iter().enumerate() {
            let (portions, mut predictions) = self.portions(prompts.pairs(), wanted);
            for states in portions {
                let whole = states.component == Component::Residual;
                let answers = whole.then(|| Answers::Numbers(std::mem::take(&mut predictions)));
                deliver(Delivery { group, states, answers });
            }
        }
        Ok(())
    }

    fn head_outputs(
        &self,
        prompts: &Prompts,
        layer: Layer,
        tokens: &[Token],
    ) -> Result<Vec<Representations>, SubjectError> {
        let at = |heads: &Heads<B>, token: usize| heads.writes.clone().narrow(2, tokens[token].index(), 1);
        let of_head = |values: Vec<Vec<f32>>| {
            Representations::new(prompts.labels(), Component::Attention, vec![layer], tokens.to_vec(), values.concat())
        };
        Ok(self.of_heads(prompts, layer, tokens.len(), at)?.into_iter().map(of_head).collect())
    }

    fn attention(&self, prompts: &Prompts, layer: Layer, looks: &[Look]) -> Result<Vec<Vec<Vec<f32>>>, SubjectError> {
        self.of_heads(prompts, layer, looks.len(), |heads, look| {
            let (from, to) = looks[look];
            heads.weights.clone().narrow(2, from.index(), 1).narrow(3, to.index(), 1)
        })
    }

    fn sensitivities(&self, prompts: &Prompts, edit: &Edit) -> Result<Option<Sensitivities>, SubjectError> {
        self.check_edit(edit)?;
        Ok(Some(sensitivities(&self.model, self.experiment, &self.device, prompts.pairs(), edit)))
    }

    fn answers(&self, prompts: &Prompts, edits: &[Edit]) -> Result<Vec<Answers>, SubjectError> {
        let prompts = prompts.pairs();
        edits.iter().try_for_each(|edit| self.check_edit(edit))?;
        if !edits.iter().any(Edit::changes_states) {
            let answer = |edit| {
                let ablated = self.ablated(edit);
                Answers::Numbers(self.forward(ablated.as_ref().unwrap_or(&self.model), prompts))
            };
            return Ok(edits.iter().map(answer).collect());
        }
        let edits: Vec<(&Edit, Option<Model<B>>)> = edits.iter().map(|edit| (edit, self.ablated(edit))).collect();
        let of_chunk = |(number, chunk): (usize, &[Prompt])| self.edited(chunk, number * CHUNK, &edits);
        let chunks: Vec<Vec<Predictions>> = prompts.par_chunks(CHUNK).enumerate().map(of_chunk).collect();
        let under = |edit: usize| chunks.iter().flat_map(|chunk| chunk[edit].iter().cloned()).collect();
        Ok((0..edits.len()).map(|edit| Answers::Numbers(under(edit))).collect())
    }
}

fn check(part: &'static str, first: usize, last: usize, value: usize) -> Result<(), SubjectError> {
    if (first..=last).contains(&value) {
        return Ok(());
    }
    Err(SubjectError::NoPart { part, range: format!("{first} and {last}"), value })
}

pub(crate) fn to_vec<B: Kernels, const D: usize>(tensor: Tensor<B, D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().to_vec().expect("the data was just converted to f32")
}

/// Predictions on the host, `[batch, n_points]`.
fn answers<B: Kernels>(predictions: Tensor<B, 2>) -> Predictions {
    let [_, n_points] = predictions.dims();
    let widen = |row: &[f32]| row.iter().map(|&value| f64::from(value)).collect();
    to_vec(predictions).chunks_exact(n_points).map(widen).collect()
}

/// The checkpoints of a run, on a device.
#[derive(Debug)]
pub struct Checkpoints<'a> {
    run: &'a RunDir,
    experiment: &'a Experiment,
    anatomy: Anatomy,
    device: Device,
}

impl<'a> Checkpoints<'a> {
    /// Of `run`, whose models are those of `experiment`.
    pub fn new(run: &'a RunDir, experiment: &'a Experiment, device: Device) -> Self {
        Self { run, experiment, anatomy: experiment.anatomy(), device }
    }

    fn subject(&self, weights: &Weights) -> Box<dyn Subject + 'a> {
        struct Load<'w, 'a>(&'w Weights, &'a Experiment);
        impl<'a> OnBackend for Load<'_, 'a> {
            type Output = Box<dyn Subject + 'a>;
            fn on<B: Kernels>(self, device: B::Device) -> Self::Output {
                let model = Model::<B>::new(&self.1.architecture, self.0, &device);
                let model = model.expect("a checkpoint's weights are checked when it is read");
                Box::new(ModelSubject::new(model, self.1, device))
            }
        }
        self.device.run(Load(weights, self.experiment))
    }

    fn weights(&self, step: usize) -> Result<Weights, SubjectError> {
        Ok(self.run.checkpoint(self.experiment, step)?.weights)
    }
}

impl Subjects for Checkpoints<'_> {
    fn steps(&self) -> Result<Vec<usize>, SubjectError> {
        Ok(self.run.scheduled_steps(self.experiment)?)
    }

    fn last_step(&self) -> Result<usize, SubjectError> {
        Ok(self.run.last_step()?)
    }

    fn require(&self, step: usize) -> Result<(), SubjectError> {
        Ok(self.run.require(step)?)
    }

    fn anatomy(&self) -> &Anatomy {
        &self.anatomy
    }

    fn at(&self, step: usize) -> Result<Box<dyn Subject + '_>, SubjectError> {
        Ok(self.subject(&self.weights(step)?))
    }

    fn exchanged(&self, early: usize, late: usize, up_to: Layer) -> Result<Box<dyn Subject + '_>, SubjectError> {
        let (early, late) = (self.weights(early)?, self.weights(late)?);
        Ok(self.subject(&transplant(&self.experiment.architecture, &early, &late, model::Layer(up_to.0))))
    }
}

impl From<RunError> for SubjectError {
    fn from(error: RunError) -> Self {
        match error {
            RunError::NoCheckpoint { path, step, known } => {
                Self::NoStep { place: path.display().to_string(), step, known }
            }
            error => Self::Unreadable(Box::<dyn StdError + Send + Sync>::from(error)),
        }
    }
}
