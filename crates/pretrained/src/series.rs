//! The models of a run: one, or the steps of a training.

use std::path::{Path, PathBuf};

use data::{Place, Template};
use kernels::Device;
use probe::{Anatomy, Layer, Subject, SubjectError, Subjects};

use crate::decoder::DrawnAnew;
use crate::lora::{Adapters, Merged};
use crate::material::{Material, material};
use crate::model::LanguageModel;
use crate::passes::Watch;
use crate::subject::TextSubject;
use crate::{DecoderConfig, LmExperiment, ModelFolder, PretrainedError};

/// The models of a run, by their step.
#[derive(Debug)]
pub struct Series {
    models: Vec<(usize, ModelFolder)>,
    anatomy: Anatomy,
    /// What was tuned on top of the last model.
    pub adapters: Option<Adapters>,
}

/// A series that is asked about a task.
pub struct TextSubjects<'a> {
    /// The models.
    pub series: &'a Series,
    /// How prompts are written.
    pub template: &'a Template,
    /// Where their states are read.
    pub place: Place,
    /// Seed of weights drawn anew.
    pub seed: u64,
    /// Where the arithmetic is done.
    pub device: Device,
    /// Is told how far the work has come.
    pub watch: &'a Watch<'a>,
    untrained: DrawnAnew,
    tuned: Option<Merged<'a>>,
}

impl Series {
    /// Opens the folders. A single one is at the step its name tells, or 0; of several each name must tell another.
    ///
    /// # Errors
    /// When there is none, one cannot be opened, the steps cannot be told, or the models differ in their architecture.
    pub fn open(folders: &[PathBuf]) -> Result<Self, PretrainedError> {
        let mut models = Vec::new();
        for path in folders {
            let step = match (step_of(path), folders.len()) {
                (Some(step), _) => step,
                (None, 1) => 0,
                (None, _) => {
                    let range = "folders whose names have step and a number";
                    return Err(PretrainedError::out_of_range("--model", range, path.display()));
                }
            };
            models.push((step, ModelFolder::open(path)?));
        }
        models.sort_by_key(|(step, _)| *step);
        let Some((_, first)) = models.first() else {
            return Err(PretrainedError::out_of_range("--model", "a folder at least", "absent"));
        };
        if let Some(pair) = models.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(PretrainedError::out_of_range(
                "--model",
                "folders of different steps",
                format!("step {} twice", pair[0].0),
            ));
        }
        let DecoderConfig { n_layers, n_heads, d_model, .. } = first.config;
        let same = |folder: &ModelFolder| (folder.config.n_layers, folder.config.d_model) == (n_layers, d_model);
        if let Some((_, other)) = models.iter().find(|(_, folder)| !same(folder)) {
            let found = format!("{} of width {}", other.config.n_layers, other.config.d_model);
            let reason = format!("it must have {n_layers} blocks of width {d_model} as the others, but has {found}");
            return Err(PretrainedError::file(&other.path, reason));
        }
        let anatomy = Anatomy { n_layers, n_heads, d_model };
        Ok(Self { models, anatomy, adapters: None })
    }

    /// The last model.
    pub fn last(&self) -> &ModelFolder {
        &self.models[self.models.len() - 1].1
    }

    /// The models by their step.
    pub fn models(&self) -> impl Iterator<Item = &(usize, ModelFolder)> {
        self.models.iter()
    }

    /// What the folders hold.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn material(&self) -> Result<Material, PretrainedError> {
        material(self.models.iter().map(|(_, folder)| &folder.path), ModelFolder::has_part)
    }

    /// The same models, asked about a task.
    pub fn asked<'a>(&'a self, experiment: &'a LmExperiment, device: Device, watch: &'a Watch<'a>) -> TextSubjects<'a> {
        let seed = experiment.config.seed;
        TextSubjects {
            series: self,
            template: &experiment.text.template,
            place: experiment.text.place,
            seed,
            device,
            watch,
            untrained: DrawnAnew::new(seed, &self.last().config),
            tuned: self.adapters.as_ref().map(|adapters| Merged { source: &self.last().tensors, adapters }),
        }
    }
}

/// The step that a folder's name tells: `step1000`, `step1000-tokens4B`, `OLMo-7B-step500`.
fn step_of(path: &Path) -> Option<usize> {
    let name = path.canonicalize().unwrap_or_else(|_| path.to_owned()).file_name()?.to_str()?.to_lowercase();
    let (_, behind) = name.split_once("step")?;
    let behind = behind.trim_start_matches(['-', '_']);
    let digits: String = behind.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

impl<'a> TextSubjects<'a> {
    fn model(&self, step: usize) -> Result<&'a ModelFolder, SubjectError> {
        self.require(step)?;
        Ok(self.series.models.iter().find(|(at, _)| *at == step).map(|(_, folder)| folder).expect("just required"))
    }

    fn subject<'b>(&self, model: LanguageModel<'b>) -> TextSubject<'b>
    where
        'a: 'b,
    {
        TextSubject::new(model, self.template, self.place, self.watch)
    }
}

impl Subjects for TextSubjects<'_> {
    fn steps(&self) -> Result<Vec<usize>, SubjectError> {
        Ok(self.series.models.iter().map(|(step, _)| *step).collect())
    }

    fn last_step(&self) -> Result<usize, SubjectError> {
        Ok(self.series.models[self.series.models.len() - 1].0)
    }

    fn require(&self, step: usize) -> Result<(), SubjectError> {
        let steps = self.steps()?;
        if steps.contains(&step) {
            return Ok(());
        }
        let known = steps.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        Err(SubjectError::NoStep { place: "the models of the run".to_owned(), step, known })
    }

    fn anatomy(&self) -> &Anatomy {
        &self.series.anatomy
    }

    fn at(&self, step: usize) -> Result<Box<dyn Subject + '_>, SubjectError> {
        let model = LanguageModel::new(self.model(step)?, self.device);
        Ok(Box::new(self.subject(match &self.tuned {
            Some(tuned) => LanguageModel { source: tuned, ..model },
            None => model,
        })))
    }

    fn exchanged(&self, _: usize, _: usize, _: Layer) -> Result<Box<dyn Subject + '_>, SubjectError> {
        let range = "none: layers of language models are not exchanged".to_owned();
        Err(SubjectError::NoPart { part: "layer", range, value: 0 })
    }

    fn untrained(&self) -> Option<Box<dyn Subject + '_>> {
        let model = LanguageModel { source: &self.untrained, ..LanguageModel::new(self.series.last(), self.device) };
        Some(Box::new(self.subject(model)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_folder_tells_the_step() {
        let steps = ["step1000-tokens4B", "step143000", "OLMo-7B-step_500", "smollm2-135m", "steps"];
        assert_eq!(steps.map(|name| step_of(Path::new(name))), [Some(1000), Some(143_000), Some(500), None, None]);
    }
}
