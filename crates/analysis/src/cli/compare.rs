//! `analysis compare`.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use clap::Args;
use data::TaskRegistry;
use probe::{ProbeError, ProbeKind};
use record::{Folder, RecordError};
use run::{Config, RunDir};
use terminal::{Failure, note, say, say_json};

use crate::cli::{CliError, legend_of};
use crate::{Compared, DecodabilityRow, MetricRow, MissingTable, SweepRow, check_comparison, write_comparison};

/// The runs, and where to write.
#[derive(Debug, Args)]
pub struct Compare {
    /// Folders of runs, or folders that hold runs
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Folder to write to [default: compare, or compare-PROBE, beside the first run]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Probe whose accuracy is compared with the error: knn, which is CD, or another
    #[arg(long, default_value = ProbeKind::CD.name())]
    probe: ProbeKind,
    /// Write over tables and figures that no comparison wrote
    #[arg(long)]
    force: bool,
    /// Print the table as JSON
    #[arg(long)]
    json: bool,
}

impl Compare {
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<(), CliError> {
        let runs = runs_at(&self.runs)?;
        let name =
            if self.probe == ProbeKind::CD { "compare".to_owned() } else { format!("compare-{}", self.probe.name()) };
        // The parent of `.` is in no name but the full one.
        let first = runs[0].path().canonicalize().unwrap_or_else(|_| runs[0].path().to_owned());
        let beside = first.parent().unwrap_or(&first).join(name);
        let with_config = |run: RunDir| run.config().map(|config| (run, config));
        let mut runs = runs.into_iter().map(with_config).collect::<Result<Vec<_>, _>>()?;
        // A run is the same wherever a copy of it lies, and counts once: the one that has come furthest.
        let key = |config: &Config| (config.run_name(), config.to_toml());
        runs.sort_by_cached_key(|(run, config)| (key(config), Reverse(last_measured(run).ok())));
        runs.dedup_by_key(|(_, config)| key(config));
        note_unfinished(runs.iter().map(|(run, config)| (run, config)))?;
        runs.retain(|(run, _)| matches!(last_measured(run), Ok(Some(_))));
        if runs.is_empty() {
            let reason =
                "RUNS must be folders with a run whose error and decodability were measured, but there is none";
            return Err(Failure::Request(anyhow::anyhow!(reason)).into());
        }
        check_probe(self.probe, &runs)?;
        let compared = runs.iter().map(|(run, config)| compared(run, config, registry));
        let compared = compared.collect::<Result<Vec<_>, _>>()?;
        let out = Folder::at(self.out.unwrap_or(beside));
        check_comparison(&out, self.force)?;
        let out = Folder::create(out.path())?;
        let rows = write_comparison(&compared, self.probe, &out)?;
        note(&format!("tables and figures: {}", out.path().display()));
        Ok(say_sweep(&rows, self.json)?)
    }
}

/// A run as it is compared with others.
///
/// # Errors
/// When its folder has no legend and its task is unknown to this program, or a file cannot be read.
pub fn compared(run: &RunDir, config: &Config, registry: &TaskRegistry) -> Result<Compared, CliError> {
    let legend = legend_of(run, registry)?;
    let no_token = || ProbeError::OutOfRange {
        field: "probe.tokens".to_owned(),
        range: "a list of at least one token".to_owned(),
        value: "[]".to_owned(),
    };
    let token = config.probe.tokens.first().ok_or_else(no_token)?;
    Ok(Compared {
        folder: run.folder().clone(),
        token: token.resolve(legend.n_points)?,
        legend,
        run: config.run_name(),
        name: config.name.clone(),
        seed: config.seed,
        fields: config.fields(),
    })
}

/// The runs at the paths, and in the folders that are no runs themselves, by name. One in such a folder whose configuration
/// cannot be read is left out with a note; one that was named is refused by whoever reads it.
///
/// # Errors
/// When a path is no run and has none that can be read.
pub(super) fn runs_at(paths: &[PathBuf]) -> Result<Vec<RunDir>, CliError> {
    let mut runs = Vec::new();
    for path in paths {
        match RunDir::open(path) {
            Ok(run) => runs.push(run),
            Err(error) => runs.extend(readable_in(path)?.ok_or(error)?),
        }
    }
    Ok(runs)
}

/// Those runs in a folder whose configurations can be read; `None` if none can.
fn readable_in(folder: &Path) -> Result<Option<Vec<RunDir>>, CliError> {
    let (mut readable, mut refused) = (Vec::new(), None);
    for run in run::runs_in(folder)? {
        match run.config() {
            Ok(_) => readable.push(run),
            Err(error) => {
                note(&format!("{} is left out: {error}", run.path().display()));
                refused = Some(error);
            }
        }
    }
    match refused {
        Some(error) if readable.is_empty() => Err(error.into()),
        _ => Ok((!readable.is_empty()).then_some(readable)),
    }
}

/// The last step whose error was measured, and decodability as well.
fn last_measured(run: &RunDir) -> Result<Option<usize>, RecordError> {
    let measured = run.table::<MetricRow>().newest()?.last().map(|row| row.step);
    let decoded = run.table::<DecodabilityRow>().newest()?.last().map(|row| row.step);
    Ok(measured.zip(decoded).map(|(measured, decoded)| measured.min(decoded)))
}

/// Says which runs a comparison leaves out, or takes as far as they have come, and why.
///
/// # Errors
/// When the disk fails.
pub fn note_unfinished<'a>(runs: impl Iterator<Item = (&'a RunDir, &'a Config)>) -> Result<(), CliError> {
    for (run, config) in runs {
        let (path, end) = (run.path().display(), run.end(config)?);
        let mut reasons: Vec<String> = MissingTable::of(run.folder())?.iter().map(ToString::to_string).collect();
        let last = last_measured(run);
        let left_out = if matches!(last, Ok(Some(_))) { "" } else { " is left out" };
        match last {
            Err(error) => reasons.push(error.to_string()),
            Ok(None) if reasons.is_empty() => reasons.push("nothing of it has been measured".to_owned()),
            Ok(Some(step)) if step < end => {
                reasons.push(format!("it is not finished: measured until step {step} of {end}"))
            }
            Ok(_) => {}
        }
        if !reasons.is_empty() {
            note(&format!("{path}{left_out}: {}", reasons.join("; ")));
        }
    }
    Ok(())
}

fn check_probe(asked: ProbeKind, runs: &[(RunDir, Config)]) -> Result<(), Failure> {
    let scored = |probe: &ProbeKind| runs.iter().all(|(_, config)| config.probe.probes.contains(probe));
    if scored(&asked) {
        return Ok(());
    }
    let known = ProbeKind::ALL.into_iter().filter(scored).map(ProbeKind::name).collect::<Vec<_>>().join(", ");
    let (range, found) = (format!("in probe.probes of every run ({known})"), asked.name());
    Err(Failure::Request(anyhow::anyhow!("--probe must be {range}, but is {found}")))
}

/// Prints the ends of runs, for a person or for a program.
///
/// # Errors
/// When they do not arrive, or a number has no JSON.
pub fn say_sweep(rows: &[SweepRow], json: bool) -> Result<(), Failure> {
    if json {
        return say_json(&rows);
    }
    let widest = |of: fn(&SweepRow) -> &str| rows.iter().map(|row| of(row).chars().count()).max().unwrap_or(0);
    let concept = |row: &SweepRow| row.concept.clone().unwrap_or_else(|| "all".to_owned());
    let (group, name) = (widest(|row| &row.group), widest(|row| row.concept.as_deref().unwrap_or("all")).max(7));
    let steps = |step: Option<f64>| step.map_or("–".to_owned(), |step| format!("{step:.0}"));
    say(&format!(
        "{:<group$}  seed  {:<name$}  error  / optimal  CD    95% interval  chance  CD rises  CD half  error half",
        "group", "concept"
    ))?;
    rows.iter().try_for_each(|row| {
        say(&format!(
            "{:<group$}  {:>4}  {:<name$}  {:.3}  {:>9}  {:.2}  [{:.2}, {:.2}]  {:>6.2}  {:>8}  {:>7}  {:>10}",
            row.group,
            row.seed,
            concept(row),
            row.error,
            row.over_bayes.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")),
            row.cd,
            row.cd_lo,
            row.cd_hi,
            row.chance,
            row.cd_onset.map_or("–".to_owned(), |step| step.to_string()),
            steps(row.cd_half),
            steps(row.error_half),
        ))
    })
}
