//! A run's states and prompts as NumPy arrays.

use std::path::Path;

use data::{Predictor, Prompt, Purpose};
use probe::{Answers, Delivery, Guess, Layer, Probe, ProbeConfig, Prompts, Representations, Study, Subject, Wanted};
use record::{Npz, Output, RecordError};

use crate::measurements::{directions, mean_prompts, random_direction};
use crate::{MeasureError, Needs};

/// The prompts and hidden states of one resample of the decodability table, ready to write.
#[derive(Debug)]
pub struct StatesExport {
    prompts: Prompts,
    /// At every layer, in one portion or more.
    states: Vec<Representations>,
    /// The model's predictions, `[n][n_points]`.
    predictions: Vec<Vec<f64>>,
    /// What our probes guess, by name: `[layers + 1][tokens][n]`.
    guesses: Vec<(String, Vec<Vec<Vec<Guess>>>)>,
    settings: ProbeConfig,
    /// The task's closed-form predictors by name, with their predictions, `[n][n_points]`.
    predictors: Vec<(String, Vec<Vec<f64>>)>,
}

impl StatesExport {
    /// Of one model.
    ///
    /// # Errors
    /// When the study is of text, there is no such resample, or the model cannot be read.
    pub fn collect(study: &Study, subject: &dyn Subject, resample: usize) -> Result<Self, MeasureError> {
        Needs::Numbers.check("export", study)?;
        let resamples = study.probe.resamples;
        if resample >= resamples {
            let range = format!("between 0 and probe.resamples - 1 ({})", resamples - 1);
            return Err(MeasureError::out_of_range("--resample", range, resample));
        }
        let prompts = study.resample(resample)?;
        let (mut states, mut predictions) = (Vec::new(), Vec::new());
        let wanted = Wanted::residual(&study.tokens);
        subject.read(std::slice::from_ref(&prompts), &wanted, &mut |delivery: Delivery| {
            states.push(delivery.states);
            predictions.extend(delivery.answers.into_iter().flat_map(Answers::into_numbers));
        })?;
        states.sort_by_key(|portion| portion.layers.first().copied());
        let layers = (0..=subject.anatomy().n_layers).map(Layer);
        let of_probe = |probe: Box<dyn Probe>| {
            let guess = |layer, token| {
                let (portion, at) = portion(&states, layer);
                probe.guess(&portion.states(at, token), &[&portion.labels]).swap_remove(0)
            };
            let of_layer = |layer| (0..study.tokens.len()).map(|token| guess(layer, token)).collect();
            (probe.name().to_owned(), layers.clone().map(of_layer).collect())
        };
        let guesses = study.probes().into_iter().map(of_probe).collect();
        let task = study.task.pairs();
        let predict = |predictor: Box<dyn Predictor>| {
            (predictor.name().to_owned(), prompts.pairs().iter().map(|prompt| predictor.predict(prompt)).collect())
        };
        let predictors = task.predictors().into_iter().chain(task.algorithms()).map(predict).collect();
        Ok(Self { prompts, states, predictions, guesses, settings: study.probe.clone(), predictors })
    }

    /// Writes NumPy arrays: `hidden` `[n, layers + 1, tokens, d_model]` f32, `concept` `[n]`, `xs` `[n, n_points, d_x]`,
    /// `ys` and `predictions` `[n, n_points]`, `tokens` `[tokens]`, their places in the sequence from 0, for every probe
    /// of the run its guesses under its name, of labels that tie the lowest, and what each counts in its score under
    /// `<name>_credit`, both `[n, layers + 1, tokens]`, the probes' settings `neighbours`, `folds`,
    /// `ridge` and `shrinkage`, and `predictor_<name>` `[n, n_points]` of every closed-form predictor.
    ///
    /// # Errors
    /// When something else is there and `force` is not given, or the file cannot be written.
    pub fn write_npz(&self, path: &Path, force: bool) -> Result<(), RecordError> {
        Npz::write(path, Output { mark: "emergence export states", force }, |npz| {
            let (n, first) = (self.prompts.len(), &self.states[0]);
            let (tokens, d) = (first.tokens.len(), first.d_model());
            let layers: usize = self.states.iter().map(|portion| portion.layers.len()).sum();
            let row = |i: usize, layer, token| {
                let (portion, at) = portion(&self.states, Layer(layer));
                portion.row_major(at, token)[i * d..(i + 1) * d].iter().copied()
            };
            let places: Vec<_> = (0..layers).flat_map(|layer| (0..tokens).map(move |token| (layer, token))).collect();
            let each = |i: usize| places.iter().map(move |&(layer, token)| (i, layer, token));
            let hidden = (0..n).flat_map(each).flat_map(|(i, layer, token)| row(i, layer, token));
            npz.array("hidden", &[n, layers, tokens, d], hidden)?;
            npz.array("tokens", &[tokens], first.tokens.iter().map(|token| token.index() as i64))?;
            prompt_arrays(npz, "", self.prompts.pairs())?;
            let n_points = self.prompts.pairs()[0].ys.len();
            npz.array("predictions", &[n, n_points], self.predictions.iter().flatten().copied())?;
            for (probe, guesses) in &self.guesses {
                let guesses = || (0..n).flat_map(each).map(|(i, layer, token)| guesses[layer][token][i]);
                npz.array(probe, &[n, layers, tokens], guesses().map(|guess| guess.label as i64))?;
                npz.array(&format!("{probe}_credit"), &[n, layers, tokens], guesses().map(|guess| guess.credit))?;
            }
            let ProbeConfig { neighbours, folds, ridge, shrinkage, .. } = self.settings;
            for (name, count) in [("neighbours", neighbours), ("folds", folds)] {
                npz.array(name, &[], std::iter::once(count as i64))?;
            }
            for (name, strength) in [("ridge", ridge), ("shrinkage", shrinkage)] {
                npz.array(name, &[], std::iter::once(strength))?;
            }
            self.predictors.iter().try_for_each(|(name, predictions)| {
                npz.array(&format!("predictor_{name}"), &[n, n_points], predictions.iter().flatten().copied())
            })
        })
    }
}

/// The portion that has a layer, and its place there.
fn portion(states: &[Representations], layer: Layer) -> (&Representations, usize) {
    let place = |portion: &Representations| portion.layers.iter().position(|here| *here == layer);
    let found = states.iter().find_map(|portion| Some((portion, place(portion)?)));
    found.expect("every layer was wanted")
}

/// Writes the prompts that interventions are measured with, for programs that repeat it: the held-out ones (`eval_xs`
/// `[n, n_points, d_x]`, `eval_ys` `[n, n_points]`, `eval_concept` `[n]`), those behind the mean activations (`mean_…`,
/// `mean_prompts` of every concept), the twins of the held-out ones (`twin_ys`, `twin_concept`) where the task has several
/// concepts and draws the same x's for each, the ys of the held-out ones as they are permuted (`permuted_ys`) where a prompt has three
/// pairs, the random direction that belongs to each held-out prompt (`directions`
/// `[n, d_model]`) and the concepts' prior weights (`weights`).
///
/// # Errors
/// When something else is there and `force` is not given, or the file cannot be written.
///
/// # Panics
/// When the study is of text.
pub fn write_prompts(
    study: &Study,
    d_model: usize,
    per_concept: usize,
    path: &Path,
    force: bool,
) -> Result<(), MeasureError> {
    study.check_stock("--mean-prompts", Purpose::Patch, per_concept)?;
    let held_out = study.held_out()?;
    let means = mean_prompts(study, per_concept)?;
    let several = study.concepts().len() > 1;
    let twins = several.then(|| study.twins(Purpose::Eval, 0, study.eval.prompts_per_concept)).transpose()?;
    let has_same_xs = |twins: &Prompts| held_out.pairs().iter().zip(twins.pairs()).all(|(own, twin)| own.xs == twin.xs);
    let twins = twins.filter(has_same_xs);
    let permuted = (study.n_points() > 2).then(|| study.held_out_permuted()).transpose()?;
    Ok(Npz::write(path, Output { mark: "emergence export prompts", force }, |npz| {
        prompt_arrays(npz, "eval_", held_out.pairs())?;
        prompt_arrays(npz, "mean_", means.pairs())?;
        let (n, stream) = (held_out.len(), directions(study));
        if let Some(twins) = &twins {
            let ys = twins.pairs().iter().flat_map(|twin| twin.ys.iter().copied());
            npz.array("twin_ys", &[n, study.n_points()], ys)?;
            npz.array("twin_concept", &[n], twins.pairs().iter().map(|twin| twin.concept.0 as i64))?;
        }
        if let Some(permuted) = &permuted {
            let ys = permuted.pairs().iter().flat_map(|prompt| prompt.ys.iter().copied());
            npz.array("permuted_ys", &[n, study.n_points()], ys)?;
        }
        let direction = |index| random_direction(stream, index as u64, d_model).as_slice().to_vec();
        npz.array("directions", &[n, d_model], (0..n).flat_map(direction))?;
        let weights = study.concepts().iter().map(|concept| concept.weight);
        npz.array("weights", &[weights.len()], weights)
    })?)
}

/// `xs` `[n, n_points, d_x]`, `ys` `[n, n_points]` and `concept` `[n]` under names that begin with `prefix`.
fn prompt_arrays(npz: &mut Npz, prefix: &str, prompts: &[Prompt]) -> Result<(), RecordError> {
    let n_points = prompts[0].ys.len();
    let shape = [prompts.len(), n_points, prompts[0].xs.len() / n_points];
    npz.array(&format!("{prefix}xs"), &shape, prompts.iter().flat_map(|prompt| prompt.xs.iter().copied()))?;
    npz.array(&format!("{prefix}ys"), &shape[..2], prompts.iter().flat_map(|prompt| prompt.ys.iter().copied()))?;
    npz.array(&format!("{prefix}concept"), &shape[..1], prompts.iter().map(|prompt| prompt.concept.0 as i64))
}
