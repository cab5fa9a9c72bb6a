//! A run of language models on disk: what was asked, its tables, and its report.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use analysis::{CliError, Entry, Explored, Frame, MeasureError, Session, Shown, write_report};
use data::{Legend, Purpose, Stream, TextSampler, TextTaskConfig};
use kernels::Device;
use probe::{Prompts, Study, SubjectError, Subjects};
use rayon::prelude::*;
use record::{Folder, Made, Maker, RecordError, Seal, remove_empty_folder, remove_folder};
use run::RunError;
use sha2::{Digest, Sha256};
use terminal::{Failure, in_shell};
use toml::Table;

use crate::lora::{Adapters, CHECKPOINT, Example, TunedWith, TuningState};
use crate::material;
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
    /// The folders that were made for it, the innermost first.
    made: Vec<PathBuf>,
    /// What it was made for.
    pub config: LmConfig,
}

impl LmRun {
    /// The run of an experiment in the folder `root`, made if it is not there. Its name has a part that follows from the
    /// configuration and the shape of the models, so that the same question is asked once.
    ///
    /// # Errors
    /// When the disk fails, or the run is there and was made of another corpus or other weights.
    pub fn create(root: &Path, experiment: &LmExperiment, series: &Series) -> Result<Self, CliError> {
        let config = experiment.config.clone();
        let mut digest = Sha256::new();
        digest.update(config.to_toml());
        for (step, model) in series.models() {
            digest.update(format!("{step} {:?} {}", model.config, model.tensors.bytes()));
        }
        let digest = record::hex(&digest.finalize()[..4]);
        let path = root.join(format!("{}-{digest}", config.name));
        let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
        let made = path.ancestors().take_while(missing).map(Path::to_owned).collect();
        let mut material = series.material().map_err(wrong)?;
        material.extend(experiment.corpora.clone());
        material::check(&Folder::at(&path), &material).map_err(wrong)?;
        let folder = Folder::create(&path)?.with_figures_in(FIGURES);
        folder.create_inside(FIGURES)?;
        let text = config.to_toml();
        let seal = Seal::of(text.parse().expect("a configuration that was written as TOML is TOML"));
        let seal = seal.with_files(material).to_toml();
        record::write_together(&[(path.join(CONFIG), text.as_bytes()), (path.join(Seal::FILE), seal.as_bytes())])?;
        folder.write_toml(Legend::FILE, &Legend::of_text(experiment.study.task.text().as_ref()))?;
        Ok(Self { folder, made, config })
    }

    /// Why its work ended. If what was asked for is wrong, the folders that were made for it go, unless something was
    /// finished in them.
    pub(crate) fn ended(&self, error: CliError) -> CliError {
        let failure = Failure::from(error);
        if matches!(failure, Failure::Request(_)) && !self.has_results() {
            for path in &self.made {
                // What is not the run's own is removed only if nothing else came into it.
                let is_own = path == self.folder.path();
                let removed = if is_own { remove_folder(path) } else { remove_empty_folder(path) };
                if removed.is_err() {
                    break;
                }
            }
        }
        failure.into()
    }

    /// Whether there is a table, or adapters that were tuned.
    fn has_results(&self) -> bool {
        let is_table = |entry: fs::DirEntry| entry.path().extension().is_some_and(|extension| extension == "csv");
        let path = self.folder.path();
        let tables = fs::read_dir(path).is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(is_table)));
        tables || path.join(ADAPTER).join(CHECKPOINT).exists()
    }

    /// Opens a run, whose corpus and models may be elsewhere.
    ///
    /// # Errors
    /// When the folder is no run of language models, or its configuration was changed.
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
        let unread = |error| RunError::Config { path: path.join(CONFIG), error };
        Ok(Self { folder, made: Vec::new(), config: run::read_as(table).map_err(unread)? })
    }

    /// What it asks, with its corpus.
    ///
    /// # Errors
    /// When its task cannot be built again, or its corpus was changed.
    pub fn experiment(&self) -> Result<LmExperiment, CliError> {
        let unread = |error| RunError::Config { path: self.folder.path().join(CONFIG), error };
        let experiment = self.config.clone().build().map_err(unread)?;
        material::check(&self.folder, &experiment.corpora).map_err(wrong)?;
        Ok(experiment)
    }

    /// Checks that `other` was made of the same corpus and models, wherever they are now.
    ///
    /// # Errors
    /// When it was not, or a seal cannot be read.
    pub(crate) fn check_material_of(&self, other: &Self) -> Result<(), PretrainedError> {
        Seal::read(&other.folder)?.map_or(Ok(()), |seal| material::check(&self.folder, seal.files()))
    }

    /// Where its tables are.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// Its models.
    ///
    /// # Errors
    /// When a folder cannot be opened, or was changed since the run was made.
    pub fn series(&self) -> Result<Series, PretrainedError> {
        let mut series = Series::open(&self.config.models)?;
        material::check(&self.folder, &series.material()?)?;
        self.read_adapters(&mut series)?;
        Ok(series)
    }

    /// Reads the adapters of a run that was tuned.
    ///
    /// # Errors
    /// When they cannot be read, or were changed since they were tuned.
    pub(crate) fn read_adapters(&self, series: &mut Series) -> Result<(), PretrainedError> {
        let config = &self.config;
        if config.tuned.is_some() {
            let (folder, model) = (self.folder.path().join(ADAPTER), series.last());
            let adapters = Adapters::read(&folder, &model.config)?;
            let with = TunedWith::of(model, config.seed, &config.finetune);
            let tuned = TuningState::read(&folder.join(CHECKPOINT), &with, &model.config)?;
            if tuned.is_some_and(|tuned| tuned.adapters != adapters) {
                let reason = format!("its adapters must be those of {CHECKPOINT} beside them, but were changed");
                return Err(PretrainedError::file(&folder, reason));
            }
            series.adapters = Some(adapters);
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
        study: &Study,
        subjects: &dyn Subjects,
        device: Device,
    ) -> Result<Vec<PathBuf>, CliError> {
        let session = Session::new(study, subjects, &self.folder, &|_| {});
        let planned = (entry.plan)(matches, &session).map_err(of_subject)?;
        let maker = self.maker(entry, planned.options.clone(), device);
        planned.make(&maker, || Ok(())).map_err(of_subject)
    }

    /// Reads what a page shows of it.
    ///
    /// # Errors
    /// When a model or a table cannot be read, or there are more concepts than states asked for.
    pub fn explore(&self, explored: &mut Explored, study: &Study, subjects: &dyn Subjects) -> Result<(), CliError> {
        let session = Session::new(study, subjects, &self.folder, &|_| {});
        let legend = self.legend()?;
        explored.add(&self.name(), &session, &Shown { folder: &self.folder, legend: &legend }).map_err(of_subject)
    }

    /// Whether this program made the tables of a measurement with its default options, so that they need not be made again.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn has(&self, entry: &Entry, device: Device) -> Result<bool, CliError> {
        let made = Made::read(&self.folder)?;
        let maker = self.maker(entry, Table::new(), device);
        for table in (entry.tables)(&self.folder) {
            if made.tables.get(table.file()) != Some(&maker) || table.is_ours()? != Some(true) {
                return Ok(false);
            }
        }
        Ok(true)
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
        let config = &self.config;
        let kind = config.task.get("kind").and_then(|kind| kind.as_str()).unwrap_or("task").replace('_', " ");
        let shots = TextTaskConfig::read(&config.task)?.settings.shots;
        let shots = shots.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
        let models = config.models.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        let mut facts = vec![
            ("Task", format!("{kind}, {} concepts", legend.concepts.len())),
            ("Demonstrations", shots),
            ("Model", models),
            ("Seed", config.seed.to_string()),
        ];
        if let Some(tuned) = &config.tuned {
            facts.push(("Tuned", format!("layers {}, from {}", tuned.free, tuned.run)));
        }
        let facts = facts.into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect();
        let path = in_shell(self.folder.path());
        let reproduce = vec![
            format!("cargo run -p emergence -- {}", self.measure_again()),
            format!("cargo run -p emergence -- lm report {path}"),
        ];
        let frame = Frame { title: config.name.clone(), facts, config: config.to_toml(), reproduce };
        write_report(&Shown { folder: &self.folder, legend: &legend }, frame)?;
        Ok(self.folder.path().join(record::REPORT))
    }

    /// The command that makes what is missing of its usual measurements.
    pub(crate) fn measure_again(&self) -> String {
        let path = self.folder.path();
        let root = path.parent().filter(|root| !root.as_os_str().is_empty()).unwrap_or(Path::new("."));
        format!("lm measure {} --out {}", in_shell(&path.join(CONFIG)), in_shell(root))
    }

    /// The names in its tables.
    ///
    /// # Errors
    /// When the file is damaged or not there.
    pub fn legend(&self) -> Result<Legend, CliError> {
        let missing = || {
            let reason = format!(
                "it must be there for the names in the tables, but is not; write it again: {}",
                self.measure_again()
            );
            wrong(PretrainedError::file(&self.folder.path().join(Legend::FILE), reason))
        };
        self.folder.read_toml(Legend::FILE)?.ok_or_else(missing)
    }
}

/// The prompts that a model is tuned on, by number. One that is longer than the model has positions is an error.
pub(crate) fn examples<'a>(
    experiment: &'a LmExperiment,
    series: &'a Series,
    device: Device,
    watch: &'a Watch<'a>,
) -> impl Fn(Range<u64>) -> Result<Vec<Example>, PretrainedError> + 'a {
    let stream = Stream::new(experiment.config.seed, Purpose::Train);
    let sampler = TextSampler::new(experiment.study.task.text().clone(), stream);
    let (template, place) = (&experiment.text.template, experiment.text.place);
    let subject = TextSubject::new(LanguageModel::new(series.last(), device), template, place, watch);
    move |numbers| sampler.prompts(numbers).iter().map(|prompt| subject.example(prompt)).collect()
}

/// Checks that a model has positions for every prompt that it is tuned on.
///
/// # Errors
/// When it has not.
pub(crate) fn check_examples(
    experiment: &LmExperiment,
    series: &Series,
    device: Device,
) -> Result<(), PretrainedError> {
    let to_the_end = |_, _| true;
    let examples = examples(experiment, series, device, &to_the_end);
    (0..experiment.config.finetune.samples).into_par_iter().try_for_each(|one| examples(one..one + 1).map(drop))
}

/// Checks that a model has positions for every prompt of the usual measurements.
///
/// # Errors
/// When it has not.
pub(crate) fn check_lengths(experiment: &LmExperiment, series: &Series) -> Result<(), PretrainedError> {
    let study = &experiment.study;
    let check = |prompts: Prompts| {
        let written = prompts.text().par_iter().map(|prompt| experiment.text.template.write(prompt).text);
        written.map(|text| series.last().tokens.encode(&text)).try_for_each(|encoded| encoded.map(drop))
    };
    check(study.held_out()?)?;
    (0..study.probe.resamples).try_for_each(|resample| check(study.resample(resample)?))
}

fn wrong(error: PretrainedError) -> CliError {
    Failure::from(error).into()
}

/// A subject's own error as what it is: a request that is wrong, or an interruption.
fn of_subject(error: MeasureError) -> CliError {
    match error {
        MeasureError::Subject(SubjectError::Unreadable(source)) => match source.downcast::<PretrainedError>() {
            Ok(error) => wrong(*error),
            Err(source) => SubjectError::Unreadable(source).into(),
        },
        other => other.into(),
    }
}
