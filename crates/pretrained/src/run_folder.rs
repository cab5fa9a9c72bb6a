//! A run of language models on disk: what was asked, its tables, and its report.

use std::ops::Range;
use std::path::{Path, PathBuf};

use analysis::{ALL, CliError, Entry, Frame, Session, Shown, write_report};
use data::{Legend, Purpose, Stream, TextSampler};
use kernels::Device;
use probe::Subjects;
use record::{Folder, Made, Maker, RecordError, Seal};
use sha2::{Digest, Sha256};
use terminal::in_shell;
use toml::Table;

use crate::lora::{Adapters, Example};
use crate::model::LanguageModel;
use crate::passes::Watch;
use crate::{LmConfig, LmExperiment, PretrainedError, Series, TextSubject};

const CONFIG: &str = "config.toml";
const FIGURES: &str = "figures";
const ADAPTER: &str = "adapter";

/// A run of language models on disk.
#[derive(Debug)]
pub struct LmRun {
    folder: Folder,
    /// What is asked.
    pub experiment: LmExperiment,
}

impl LmRun {
    /// The run of an experiment in the folder `root`, made if it is not there. Its name has a part that follows from the
    /// configuration and the models, so that the same question is asked once.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn create(root: &Path, experiment: LmExperiment, series: &Series) -> Result<Self, CliError> {
        let mut digest = Sha256::new();
        digest.update(experiment.config.to_toml());
        for (step, model) in series.models() {
            digest.update(format!("{step} {:?} {}", model.config, model.tensors.bytes()));
        }
        let digest: String = digest.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let path = root.join(format!("{}-{digest}", experiment.config.name));
        let folder = Folder::create(&path)?.with_figures_in(FIGURES);
        folder.create_inside(FIGURES)?;
        let text = experiment.config.to_toml();
        let seal = Seal::of(text.parse().expect("a configuration that was written as TOML is TOML")).to_toml();
        record::write_together(&[(path.join(CONFIG), text.as_bytes()), (path.join(Seal::FILE), seal.as_bytes())])?;
        folder.write_toml(Legend::FILE, &Legend::of_text(experiment.study.task.text().as_ref()))?;
        Ok(Self { folder, experiment })
    }

    /// Opens a run.
    ///
    /// # Errors
    /// When the folder is no run of language models, its configuration was changed, or its task cannot be built again.
    pub fn open(path: &Path) -> Result<Self, CliError> {
        let folder = Folder::at(path).with_figures_in(FIGURES);
        let Some(table) = folder.read_toml::<Table>(CONFIG)? else {
            let reason = "it must be the folder of a run of language models, but has no config.toml";
            return Err(wrong(PretrainedError::file(path, reason)));
        };
        if let Some(change) = Seal::read(&folder)?.and_then(|seal| seal.changes(&table).into_iter().next()) {
            return Err(wrong(PretrainedError::file(&path.join(CONFIG), format!("{change}"))));
        }
        if !table.contains_key("models") {
            let reason = "it must be the folder of a run of language models, but is one of a training";
            return Err(wrong(PretrainedError::file(path, reason)));
        }
        let config: LmConfig = run::read_as(table)?;
        Ok(Self { folder, experiment: config.build()? })
    }

    /// Where its tables are.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Its models.
    ///
    /// # Errors
    /// When a folder cannot be opened.
    pub fn series(&self) -> Result<Series, PretrainedError> {
        let mut series = Series::open(&self.experiment.config.models)?;
        self.read_adapters(&mut series)?;
        Ok(series)
    }

    /// Reads the adapters of a run that was tuned.
    ///
    /// # Errors
    /// When they cannot be read.
    pub(crate) fn read_adapters(&self, series: &mut Series) -> Result<(), PretrainedError> {
        if self.experiment.config.tuned.is_some() {
            series.adapters = Some(Adapters::read(&self.folder.path().join(ADAPTER), &series.last().config)?);
        }
        Ok(())
    }

    /// Its name.
    pub fn name(&self) -> String {
        self.folder.path().file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned())
    }

    /// Where adapters are tuned.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn adapter_folder(&self) -> Result<Folder, RecordError> {
        Folder::create(&self.folder.path().join(ADAPTER))
    }

    /// Makes a measurement with the options in `matches`, and notes what made its tables. Returns their paths.
    ///
    /// # Errors
    /// When it is refused or fails.
    pub fn measure(
        &self,
        entry: &Entry,
        matches: &clap::ArgMatches,
        subjects: &dyn Subjects,
        device: Device,
    ) -> Result<Vec<PathBuf>, CliError> {
        let session = Session { study: &self.experiment.study, subjects, folder: &self.folder, progress: &|_| {} };
        let planned = (entry.plan)(matches, &session)?;
        let maker = self.maker(entry, planned.options, device);
        let paths = (planned.run)()?;
        let mut made = Made::read(&self.folder)?;
        for table in (entry.tables)(&self.folder) {
            made.tables.insert(table.file().to_owned(), maker.clone());
        }
        made.tables.retain(|file, _| self.folder.path().join(file).exists());
        made.write(&self.folder)?;
        Ok(paths)
    }

    /// Whether this program made the tables of a measurement with its default options, so that they need not be made again.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn has(&self, entry: &Entry, device: Device) -> Result<bool, CliError> {
        let made = Made::read(&self.folder)?;
        let maker = self.maker(entry, Table::new(), device);
        let tables = (entry.tables)(&self.folder);
        Ok(tables.iter().all(|table| made.tables.get(table.file()) == Some(&maker)))
    }

    fn maker(&self, entry: &Entry, options: Table, device: Device) -> Maker {
        let facts = [("device".to_owned(), device.to_string())].into();
        Maker { options, facts, ..Maker::this_program(entry.name) }
    }

    /// Draws the figures and writes the report.
    ///
    /// # Errors
    /// When a table cannot be read, or a file not be written.
    pub fn report(&self) -> Result<PathBuf, CliError> {
        let legend = self.legend()?;
        let LmExperiment { config, text, .. } = &self.experiment;
        let kind = config.task.get("kind").and_then(|kind| kind.as_str()).unwrap_or("task").replace('_', " ");
        let models = config.models.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        let mut facts = vec![
            ("Task", format!("{kind}, {} concepts", legend.concepts.len())),
            ("Demonstrations", text.shots.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")),
            ("Model", models),
            ("Seed", config.seed.to_string()),
        ];
        if let Some(tuned) = &config.tuned {
            facts.push(("Tuned", format!("layers {}, from {}", tuned.free, tuned.run)));
        }
        let facts = facts.into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect();
        let path = in_shell(self.folder.path());
        let reproduce = vec![
            format!("cargo run -p emergence -- lm measure {}", in_shell(&self.folder.path().join(CONFIG))),
            format!("cargo run -p emergence -- lm report {path}"),
        ];
        let frame = Frame { title: config.name.clone(), facts, config: config.to_toml(), reproduce };
        write_report(&Shown { folder: &self.folder, legend: &legend }, frame)?;
        Ok(self.folder.path().join(analysis::REPORT))
    }

    /// The names in its tables.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn legend(&self) -> Result<Legend, RecordError> {
        let of_task = || Legend::of_text(self.experiment.study.task.text().as_ref());
        Ok(self.folder.read_toml(Legend::FILE)?.unwrap_or_else(of_task))
    }
}

/// The prompts that a model is tuned on, by number.
///
/// # Errors
/// When the first of them is longer than the model has positions.
pub(crate) fn examples<'a>(
    experiment: &'a LmExperiment,
    series: &'a Series,
    device: Device,
    watch: &'a Watch<'a>,
) -> Result<impl Fn(Range<u64>) -> Vec<Example> + 'a, PretrainedError> {
    let stream = Stream::new(experiment.config.seed, Purpose::Train);
    let sampler = TextSampler::new(experiment.study.task.text().clone(), stream);
    let (template, place) = (&experiment.text.template, experiment.text.place);
    let subject = TextSubject::new(LanguageModel::new(series.last(), device), template, place, watch);
    subject.example(&sampler.prompt(0))?;
    Ok(move |numbers| {
        let prompts = sampler.prompts(numbers);
        // One that is longer than the others by so much that it has no place is left out.
        prompts.iter().filter_map(|prompt| subject.example(prompt).ok()).collect()
    })
}

fn wrong(error: PretrainedError) -> CliError {
    terminal::Failure::from(error).into()
}

/// The measurement of that name.
///
/// # Panics
/// When there is none.
pub(crate) fn entry(name: &str) -> &'static Entry {
    ALL.iter().find(|entry| entry.name == name).expect("the name is one of the list")
}
