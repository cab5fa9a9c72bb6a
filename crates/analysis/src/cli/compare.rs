//! `analysis compare`.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use clap::Args;
use data::TaskRegistry;
use record::Folder;
use run::{Experiment, MetricRow, ProbeKind, RunDir, SweepRow};

use crate::Comparison;
use crate::plots::{self, PlotError};
use crate::terminal::{Failure, note, say, say_json};

/// The runs, and where to write.
#[derive(Debug, Args)]
pub struct Compare {
    /// Folders of runs, or folders that hold runs
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Folder to write to [default: compare, or compare-PROBE, beside the first run]
    #[arg(long)]
    out: Option<PathBuf>,
    /// Whose accuracy is compared with the error: knn, which is CD, or another probe
    #[arg(long, default_value = ProbeKind::CD.name())]
    probe: ProbeKind,
    /// Print the table as JSON
    #[arg(long)]
    json: bool,
}

impl Compare {
    pub(super) fn run(self, registry: &TaskRegistry) -> Result<(), Failure> {
        let mut runs = Vec::new();
        for path in &self.runs {
            runs.extend(runs_at(path)?);
        }
        let name =
            if self.probe == ProbeKind::CD { "compare".to_owned() } else { format!("compare-{}", self.probe.name()) };
        // The parent of `.` is in no name but the full one.
        let first = runs[0].path().canonicalize().unwrap_or_else(|_| runs[0].path().to_owned());
        let beside = first.parent().unwrap_or(&first).join(name);
        let with_experiment = |run: RunDir| run.experiment(registry).map(|experiment| (run, experiment));
        let mut runs = runs.into_iter().map(with_experiment).collect::<Result<Vec<_>, _>>()?;
        // A run is the same wherever a copy of it lies, and counts once: the one that has come furthest.
        runs.sort_by_cached_key(|(run, experiment)| (experiment.config.run_name(), Reverse(last_measured(run))));
        runs.dedup_by_key(|(_, experiment)| experiment.config.run_name());
        note_unfinished(&runs);
        check_probe(self.probe, &runs)?;
        let out = Folder::create(&self.out.unwrap_or(beside))?;
        let rows = write_comparison(&runs, self.probe, &out)?;
        note(&format!("tables and figures: {}", out.path().display()));
        say_sweep(&rows, self.json)
    }
}

/// The run at `path`, or the runs in the folder `path` by name.
fn runs_at(path: &Path) -> Result<Vec<RunDir>, Failure> {
    RunDir::open(path).map(|run| vec![run]).or_else(|error| {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        let runs: Vec<RunDir> = paths.iter().filter_map(|path| RunDir::open(path).ok()).collect();
        if runs.is_empty() { Err(error.into()) } else { Ok(runs) }
    })
}

/// The last step whose error was measured.
fn last_measured(run: &RunDir) -> Option<usize> {
    run.table::<MetricRow>().read().ok()?.iter().map(|row| row.step).max()
}

fn note_unfinished(runs: &[(RunDir, Experiment)]) {
    for (run, experiment) in runs {
        let (path, all) = (run.path().display(), experiment.config.train.steps);
        match last_measured(run) {
            None => note(&format!("{path} is left out: nothing of it has been measured")),
            Some(step) if step < all => note(&format!("{path} is not finished: measured until step {step} of {all}")),
            Some(_) => {}
        }
    }
}

fn check_probe(asked: ProbeKind, runs: &[(RunDir, Experiment)]) -> Result<(), Failure> {
    let scored = |probe: &ProbeKind| runs.iter().all(|(_, experiment)| experiment.config.probe.probes.contains(probe));
    if scored(&asked) {
        return Ok(());
    }
    let known = ProbeKind::ALL.into_iter().filter(scored).map(ProbeKind::name).collect::<Vec<_>>().join(", ");
    let (range, found) = (format!("in probe.probes of every run ({known})"), asked.name());
    Err(Failure::Request(anyhow::anyhow!("--probe must be {range}, but is {found}")))
}

/// Writes every table and figure of a comparison to `out`, with the accuracy of `probe` beside the error, and returns
/// the ends of the runs.
///
/// # Errors
/// When a table cannot be read, a figure not be drawn, or a file not be written.
pub fn write_comparison(
    runs: &[(RunDir, Experiment)],
    probe: ProbeKind,
    out: &Folder,
) -> Result<Vec<SweepRow>, Failure> {
    let found = Comparison::read(runs, probe)?;
    out.table().replace(&found.runs)?;
    out.table().replace(&found.points)?;
    out.table().replace(&found.curves)?;
    out.table().replace(&found.lags)?;
    out.table().replace(&found.correlations)?;
    out.table().replace(&found.replacements)?;
    out.table().replace(&found.pairs)?;
    let figures = [
        ("comparison", plots::comparison(&found.curves, probe)),
        ("cd_against_error", plots::cd_against_error(&found.points, &found.correlations, probe)),
        ("ends", plots::ends(&found.runs, probe)),
        ("lags", plots::lags(&found.lags, probe)),
        ("replacement", plots::replacement(&found.replacements)),
        ("pairs", plots::mean_pairs(&found.pairs)),
    ];
    for (name, svg) in figures {
        match svg {
            Ok(svg) => out.write_plot(name, &svg, &plots::png(&svg)?)?,
            // That of another comparison in the same folder would not be of these tables.
            Err(PlotError::Empty { .. }) => out.remove_plot(name)?,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(found.runs)
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
        "{:<group$}  seed  {:<name$}  error  / bayes  CD    95% interval  chance  CD rises  CD half  error half",
        "group", "concept"
    ))?;
    rows.iter().try_for_each(|row| {
        say(&format!(
            "{:<group$}  {:>4}  {:<name$}  {:.3}  {:>7}  {:.2}  [{:.2}, {:.2}]  {:>6.2}  {:>8}  {:>7}  {:>10}",
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
