//! A run's states and models in the formats of other tools.

use std::fs;
use std::io::{Cursor, Result as IoResult};
use std::path::Path;

use data::{Predictor, Prompt};
use model::{Device, FusedBackend, Latent, Transformer};
use npyz::WriterBuilder;
use npyz::npz::NpzWriter;
use record::{RecordError, write_together};
use run::{Experiment, ProbeConfig, RunDir, RunError};
use thiserror::Error;

use crate::stages::{OnModel, with_model};
use crate::{HeldOut, Probe, Representations, causes, probes, resample_prompts, resample_states};

/// Why an export failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// An option has a value outside its range.
    #[error("{field} must be {range}, but is {value}")]
    OutOfRange {
        /// The option.
        field: &'static str,
        /// The allowed values.
        range: String,
        /// The value found.
        value: String,
    },
    /// The run could not be read, or the export not be written.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Arrays on their way into a file.
type Npz = NpzWriter<Cursor<Vec<u8>>>;

/// The prompts and hidden states of one resample of the decodability table, ready to write.
#[derive(Debug)]
pub struct StatesExport {
    prompts: Vec<Prompt>,
    states: Representations,
    /// What our probes guess, by name: `[layers + 1][tokens][n]`.
    guesses: Vec<(String, Vec<Vec<Vec<usize>>>)>,
    settings: ProbeConfig,
    /// The task's closed-form predictors by name, with their predictions, `[n][n_points]`.
    predictors: Vec<(String, Vec<Vec<f64>>)>,
}

impl StatesExport {
    /// Of the checkpoint at `step`.
    ///
    /// # Errors
    /// When the checkpoint cannot be read.
    pub fn collect(
        run: &RunDir,
        experiment: &Experiment,
        step: usize,
        resample: usize,
        device: Device,
    ) -> Result<Self, ExportError> {
        let resamples = experiment.config.probe.resamples;
        if resample >= resamples {
            let range = format!("between 0 and probe.resamples - 1 ({})", resamples - 1);
            return Err(ExportError::OutOfRange { field: "--resample", range, value: resample.to_string() });
        }
        struct Collect<'a>(&'a Experiment, usize);
        impl OnModel for Collect<'_> {
            type Output = Representations;
            fn on<B: FusedBackend>(self, model: &Transformer<B>, device: &B::Device) -> Representations {
                resample_states(model, self.0, self.1, device)
            }
        }
        let states = with_model(run, experiment, step, device, Collect(experiment, resample))?;
        let of_probe = |probe: Box<dyn Probe>| {
            let guess = |layer, token| probe.guess(&states.states(layer, token), &[&states.labels]).swap_remove(0);
            let of_layer = |layer| (0..states.tokens.len()).map(|token| guess(layer, token)).collect();
            (probe.name().to_owned(), (0..states.n_layers()).map(of_layer).collect())
        };
        let guesses = probes(experiment).into_iter().map(of_probe).collect();
        let prompts = resample_prompts(experiment, resample);
        let task = &experiment.task;
        let answers = |predictor: Box<dyn Predictor>| {
            (predictor.name().to_owned(), prompts.iter().map(|prompt| predictor.predict(prompt)).collect())
        };
        let predictors = task.predictors().into_iter().chain(task.algorithms()).map(answers).collect();
        Ok(Self { prompts, states, guesses, settings: experiment.config.probe.clone(), predictors })
    }

    /// Writes NumPy arrays: `hidden` `[n, layers + 1, tokens, d_model]` f32, `concept` `[n]`, `xs` `[n, n_points, d_x]`,
    /// `ys` and `predictions` `[n, n_points]`, `tokens` `[tokens]`, their places in the sequence from 0, for every probe
    /// of the run its guesses under its name, `[n, layers + 1, tokens]`, the probes' settings `neighbours`, `folds`,
    /// `ridge` and `shrinkage`, and `predictor_<name>` `[n, n_points]` of every closed-form predictor.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_npz(&self, path: &Path) -> Result<(), ExportError> {
        write_npz(path, |npz| {
            let states = &self.states;
            let (n, layers, tokens, d) = (self.prompts.len(), states.n_layers(), states.tokens.len(), states.d_model());
            let row = |i: usize, layer, token| states.row_major(layer, token)[i * d..(i + 1) * d].iter().copied();
            let places: Vec<_> = (0..layers).flat_map(|layer| (0..tokens).map(move |token| (layer, token))).collect();
            let each = |i: usize| places.iter().map(move |&(layer, token)| (i, layer, token));
            let hidden = (0..n).flat_map(each).flat_map(|(i, layer, token)| row(i, layer, token));
            array(npz, "hidden", &[n, layers, tokens, d], hidden)?;
            array(npz, "tokens", &[tokens], states.tokens.iter().map(|token| token.index() as i64))?;
            prompt_arrays(npz, "", &self.prompts)?;
            let n_points = self.prompts[0].ys.len();
            array(npz, "predictions", &[n, n_points], states.predictions.iter().flatten().copied())?;
            for (probe, guesses) in &self.guesses {
                let guesses = (0..n).flat_map(each).map(|(i, layer, token)| guesses[layer][token][i] as i64);
                array(npz, probe, &[n, layers, tokens], guesses)?;
            }
            let ProbeConfig { neighbours, folds, ridge, shrinkage, .. } = self.settings;
            for (name, count) in [("neighbours", neighbours), ("folds", folds)] {
                array(npz, name, &[], std::iter::once(count as i64))?;
            }
            for (name, strength) in [("ridge", ridge), ("shrinkage", shrinkage)] {
                array(npz, name, &[], std::iter::once(strength))?;
            }
            self.predictors.iter().try_for_each(|(name, predictions)| {
                array(npz, &format!("predictor_{name}"), &[n, n_points], predictions.iter().flatten().copied())
            })
        })
    }
}

/// Writes the prompts that causes are measured with, for programs that repeat it: the held-out ones (`eval_xs`
/// `[n, n_points, d_x]`, `eval_ys` `[n, n_points]`, `eval_concept` `[n]`), those behind the mean activations (`mean_…`,
/// `mean_prompts` of every concept), the random direction that belongs to each held-out prompt (`directions`
/// `[n, d_model]`) and the concepts' prior weights (`weights`).
///
/// # Errors
/// When the file cannot be written.
pub fn write_prompts(experiment: &Experiment, mean_prompts: usize, path: &Path) -> Result<(), ExportError> {
    let held_out = HeldOut::new(experiment);
    let means = causes::mean_prompts(experiment, mean_prompts);
    write_npz(path, |npz| {
        prompt_arrays(npz, "eval_", held_out.prompts())?;
        prompt_arrays(npz, "mean_", &means)?;
        let (n, d_model) = (held_out.prompts().len(), experiment.architecture.d_model);
        let stream = causes::directions(experiment);
        let direction = |index| causes::direction(stream, index as u64, d_model).as_slice().to_vec();
        array(npz, "directions", &[n, d_model], (0..n).flat_map(direction))?;
        let weights = experiment.task.concepts().iter().map(|concept| concept.weight);
        array(npz, "weights", &[weights.len()], weights)
    })
}

/// Writes the arrays that `fill` adds. They are an archive in memory first, since one in a file is finished when it is
/// dropped, where nobody hears that the disk is full.
fn write_npz(path: &Path, fill: impl FnOnce(&mut Npz) -> IoResult<()>) -> Result<(), ExportError> {
    let archive = || -> IoResult<Vec<u8>> {
        let mut npz = Npz::new(Cursor::default());
        fill(&mut npz)?;
        Ok(npz.zip_writer().finish()?.into_inner())
    };
    let archive = archive().map_err(|error| RecordError::io("write", path, error));
    Ok(write_together(&[(path, archive.map_err(RunError::from)?)]).map_err(RunError::from)?)
}

/// `xs` `[n, n_points, d_x]`, `ys` `[n, n_points]` and `concept` `[n]` under names that begin with `prefix`.
fn prompt_arrays(npz: &mut Npz, prefix: &str, prompts: &[Prompt]) -> IoResult<()> {
    let n_points = prompts[0].ys.len();
    let shape = [prompts.len(), n_points, prompts[0].xs.len() / n_points];
    array(npz, &format!("{prefix}xs"), &shape, prompts.iter().flat_map(|prompt| prompt.xs.iter().copied()))?;
    array(npz, &format!("{prefix}ys"), &shape[..2], prompts.iter().flat_map(|prompt| prompt.ys.iter().copied()))?;
    array(npz, &format!("{prefix}concept"), &shape[..1], prompts.iter().map(|prompt| prompt.concept.0 as i64))
}

fn array<T: npyz::AutoSerialize>(
    npz: &mut Npz,
    name: &str,
    shape: &[usize],
    values: impl Iterator<Item = T>,
) -> IoResult<()> {
    let shape: Vec<u64> = shape.iter().map(|&length| length as u64).collect();
    let mut array = npz.array(name, Default::default())?.default_dtype().shape(&shape).begin_nd()?;
    array.extend(values)?;
    array.finish()
}

/// Writes the model at `step` as a folder that `transformers.GPT2Model.from_pretrained` loads, its read-in and
/// read-out beside it.
///
/// # Errors
/// When the model has a latent, which GPT-2 has not; when the checkpoint cannot be read or the folder not be written.
pub fn write_gpt2(run: &RunDir, experiment: &Experiment, step: usize, folder: &Path) -> Result<(), ExportError> {
    let checkpoint = run.checkpoint(experiment, step)?;
    if let Some(Latent { width, .. }) = checkpoint.architecture.latent {
        let (range, value) = ("absent for GPT2Model".to_owned(), format!("of width {width}"));
        return Err(ExportError::OutOfRange { field: "model.latent", range, value });
    }
    let files =
        model::gpt2(&checkpoint.architecture, &checkpoint.weights).map(|(name, bytes)| (folder.join(name), bytes));
    write_together(&files).map_err(|error| {
        // Only an empty folder can be removed in this way.
        let _ = fs::remove_dir(folder);
        RunError::from(error).into()
    })
}
