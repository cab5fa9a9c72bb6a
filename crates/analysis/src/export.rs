//! A run's states and prompts as NumPy arrays.

use std::io::{Cursor, Result as IoResult, Write};
use std::path::Path;

use data::{Predictor, Prompt};
use probe::{Answers, Delivery, Layer, Probe, ProbeConfig, Prompts, Representations, Study, Subject, Wanted};
use record::{RecordError, write_together};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::measurements::{directions, mean_prompts, random_direction};
use crate::{MeasureError, Needs};

/// Arrays on their way into a file.
type Npz = ZipWriter<Cursor<Vec<u8>>>;

/// The prompts and hidden states of one resample of the decodability table, ready to write.
#[derive(Debug)]
pub struct StatesExport {
    prompts: Prompts,
    /// At every layer, in one portion or more.
    states: Vec<Representations>,
    /// The model's predictions, `[n][n_points]`.
    predictions: Vec<Vec<f64>>,
    /// What our probes guess, by name: `[layers + 1][tokens][n]`.
    guesses: Vec<(String, Vec<Vec<Vec<usize>>>)>,
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
        let prompts = study.resample(resample);
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
    /// of the run its guesses under its name, `[n, layers + 1, tokens]`, the probes' settings `neighbours`, `folds`,
    /// `ridge` and `shrinkage`, and `predictor_<name>` `[n, n_points]` of every closed-form predictor.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_npz(&self, path: &Path) -> Result<(), RecordError> {
        write_npz(path, |npz| {
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
            array(npz, "hidden", &[n, layers, tokens, d], hidden)?;
            array(npz, "tokens", &[tokens], first.tokens.iter().map(|token| token.index() as i64))?;
            prompt_arrays(npz, "", self.prompts.pairs())?;
            let n_points = self.prompts.pairs()[0].ys.len();
            array(npz, "predictions", &[n, n_points], self.predictions.iter().flatten().copied())?;
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

/// The portion that has a layer, and its place there.
fn portion(states: &[Representations], layer: Layer) -> (&Representations, usize) {
    let place = |portion: &Representations| portion.layers.iter().position(|here| *here == layer);
    let found = states.iter().find_map(|portion| Some((portion, place(portion)?)));
    found.expect("every layer was wanted")
}

/// Writes the prompts that interventions are measured with, for programs that repeat it: the held-out ones (`eval_xs`
/// `[n, n_points, d_x]`, `eval_ys` `[n, n_points]`, `eval_concept` `[n]`), those behind the mean activations (`mean_…`,
/// `mean_prompts` of every concept), the random direction that belongs to each held-out prompt (`directions`
/// `[n, d_model]`) and the concepts' prior weights (`weights`).
///
/// # Errors
/// When the file cannot be written.
///
/// # Panics
/// When the study is of text.
pub fn write_prompts(study: &Study, d_model: usize, per_concept: usize, path: &Path) -> Result<(), RecordError> {
    let held_out = study.held_out();
    let means = mean_prompts(study, per_concept);
    write_npz(path, |npz| {
        prompt_arrays(npz, "eval_", held_out.pairs())?;
        prompt_arrays(npz, "mean_", means.pairs())?;
        let (n, stream) = (held_out.len(), directions(study));
        let direction = |index| random_direction(stream, index as u64, d_model).as_slice().to_vec();
        array(npz, "directions", &[n, d_model], (0..n).flat_map(direction))?;
        let weights = study.concepts().iter().map(|concept| concept.weight);
        array(npz, "weights", &[weights.len()], weights)
    })
}

/// Writes the arrays that `fill` adds. They are an archive in memory first, since one in a file is finished when it is
/// dropped, where nobody hears that the disk is full.
fn write_npz(path: &Path, fill: impl FnOnce(&mut Npz) -> IoResult<()>) -> Result<(), RecordError> {
    let archive = || -> IoResult<Vec<u8>> {
        let mut npz = Npz::new(Cursor::default());
        fill(&mut npz)?;
        Ok(npz.finish()?.into_inner())
    };
    let failed = |error| RecordError::io("write", path, error);
    write_together(&[(path, archive().map_err(failed)?)])
}

/// `xs` `[n, n_points, d_x]`, `ys` `[n, n_points]` and `concept` `[n]` under names that begin with `prefix`.
fn prompt_arrays(npz: &mut Npz, prefix: &str, prompts: &[Prompt]) -> IoResult<()> {
    let n_points = prompts[0].ys.len();
    let shape = [prompts.len(), n_points, prompts[0].xs.len() / n_points];
    array(npz, &format!("{prefix}xs"), &shape, prompts.iter().flat_map(|prompt| prompt.xs.iter().copied()))?;
    array(npz, &format!("{prefix}ys"), &shape[..2], prompts.iter().flat_map(|prompt| prompt.ys.iter().copied()))?;
    array(npz, &format!("{prefix}concept"), &shape[..1], prompts.iter().map(|prompt| prompt.concept.0 as i64))
}

/// A number as NumPy has it.
trait Number {
    /// Its type by NumPy's name.
    const TYPE: &'static str;
    /// Its bytes, the lowest first.
    fn append_to(self, bytes: &mut Vec<u8>);
}

macro_rules! number {
    ($type:ty, $name:literal) => {
        impl Number for $type {
            const TYPE: &'static str = $name;
            fn append_to(self, bytes: &mut Vec<u8>) {
                bytes.extend(self.to_le_bytes());
            }
        }
    };
}
number!(f32, "<f4");
number!(f64, "<f8");
number!(i64, "<i8");

/// Adds an array as `numpy.savez` does: a file `name.npy`, not compressed, of a header and the numbers.
///
/// # Source
/// NumPy's `numpy.lib.format`, version 1.0: the header is a Python dictionary behind ten bytes that say what comes,
/// filled with spaces so that the numbers begin at a multiple of 64.
fn array<T: Number>(npz: &mut Npz, name: &str, shape: &[usize], values: impl Iterator<Item = T>) -> IoResult<()> {
    let lengths: String = shape.iter().map(|length| format!("{length}, ")).collect();
    let header = format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({lengths}), }}", T::TYPE);
    let filled = (header.len() + 11).next_multiple_of(64) - 11;
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(filled + 1).map_err(std::io::Error::other)?.to_le_bytes());
    bytes.extend(format!("{header:<filled$}\n").bytes());
    let begin = bytes.len();
    values.for_each(|value| value.append_to(&mut bytes));
    debug_assert_eq!(bytes.len() - begin, shape.iter().product::<usize>() * size_of::<T>(), "{name} has its shape");
    npz.start_file(format!("{name}.npy"), SimpleFileOptions::default())?;
    npz.write_all(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_what_numpy_writes() {
        let mut npz = Npz::new(Cursor::default());
        array(&mut npz, "a", &[2, 1], [1.5_f32, -2.0].into_iter()).unwrap();
        array(&mut npz, "k", &[], std::iter::once(10_i64)).unwrap();
        let archive = npz.finish().unwrap().into_inner();
        let mut expected =
            b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1, ), }".to_vec();
        expected.resize(127, b' ');
        expected.extend(b"\n\x00\x00\xc0\x3f\x00\x00\x00\xc0");
        let contains = |bytes: &[u8]| archive.windows(bytes.len()).any(|window| window == bytes);
        assert!(contains(&expected) && contains(b"a.npy") && contains(b"k.npy"));
        assert!(contains(b"'shape': (), }") && contains(b"\n\x0a\0\0\0\0\0\0\0"));
    }
}
