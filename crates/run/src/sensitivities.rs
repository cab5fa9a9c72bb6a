//! How answers of a model of ours depend on the states that an edit puts in place.

use burn::backend::Autodiff;
use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use data::Prompt;
use model::{Batch, Kernels, Model};
use probe::{Change, Edit, Sensitivities};
use rayon::prelude::*;

use crate::Experiment;
use crate::edited::{forward_edited, put, replaced};
use crate::subject::{CHUNK, to_vec};

/// Those of the last answer to each of `prompts` when `edit` replaces states of `model`, chunk by chunk.
///
/// # Panics
/// When the edit does anything else.
pub(crate) fn sensitivities<B: Kernels>(
    model: &Model<B>,
    experiment: &Experiment,
    device: &B::Device,
    prompts: &[Prompt],
    edit: &Edit,
) -> Sensitivities {
    let replaces = edit.0.iter().all(|change| matches!(change, Change::Replace { .. }));
    assert!(replaces, "a derivative is one with respect to a state that is put in place");
    let weights = model.weights();
    let of_chunk = |(number, chunk): (usize, &[Prompt])| {
        // A model for each chunk: threads that share a graph wait for each other.
        let model = Model::<Autodiff<B>>::new(&experiment.architecture, &weights, device);
        of_chunk(&model.expect("these are a model's weights").no_grad(), device, chunk, number * CHUNK, edit)
    };
    let chunks: Vec<Sensitivities> = prompts.par_chunks(CHUNK).enumerate().map(of_chunk).collect();
    let of_change = |change: usize| chunks.iter().flat_map(|chunk| chunk.derivatives[change].iter().copied()).collect();
    Sensitivities {
        derivatives: (0..edit.0.len()).map(of_change).collect(),
        answers: chunks.iter().flat_map(|chunk| chunk.answers.iter().copied()).collect(),
    }
}

/// Those of a chunk, whose first prompt has the number `first`.
fn of_chunk<B: Kernels>(
    model: &Model<Autodiff<B>>,
    device: &B::Device,
    prompts: &[Prompt],
    first: usize,
    edit: &Edit,
) -> Sensitivities {
    let batch = Batch::new(prompts.iter().map(|prompt| (&prompt.xs[..], &prompt.ys[..])), device);
    let stream = model.residual_stream(batch.xs, batch.ys);
    let mut states = Vec::new();
    let predictions = forward_edited(model, &stream, edit, first, |h, number| {
        let Change::Replace { token, by, .. } = &edit.0[number] else { unreachable!("every change replaces") };
        let data = TensorData::new(replaced(prompts.len(), by, first), [prompts.len(), h.dims()[2]]);
        let state = Tensor::<Autodiff<B>, 2>::from_data(data, device).require_grad();
        states.push((number, state.clone()));
        put(h, token.index(), state)
    });
    let last = predictions.dims()[1] - 1;
    let answers = predictions.narrow(1, last, 1);
    // Prompts do not see each other, so that the derivative of the sum is that of each answer.
    let gradients = answers.clone().sum().backward();
    // From the first layer to the last, as the changes were made, back to their order in the edit.
    states.sort_by_key(|(number, _)| *number);
    let derivative = |(_, state): (usize, Tensor<Autodiff<B>, 2>)| match state.grad(&gradients) {
        Some(gradient) => to_vec(gradient),
        // No answer depends on it.
        None => vec![0.0; state.shape().num_elements()],
    };
    Sensitivities {
        answers: to_vec(answers.inner()).into_iter().map(f64::from).collect(),
        derivatives: states.into_iter().map(derivative).collect(),
    }
}
