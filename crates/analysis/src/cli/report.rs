//! A run's report, from its tables and what its folder says of it.

use data::{Legend, TaskRegistry};
use model::ModelConfig;
use run::{Config, FinetuneConfig, RunDir};
use terminal::{in_shell, program_name};

use crate::cli::CliError;
use crate::{Frame, MetricRow, MissingTable, Shown, write_report};

/// What the tables of a run name: as its folder says, or where an older program left that out, as its task does.
///
/// # Errors
/// When the folder has no legend and its task is unknown to this program, or a file cannot be read.
pub fn legend_of(run: &RunDir, registry: &TaskRegistry) -> Result<Legend, CliError> {
    match run.folder().read_toml(Legend::FILE)? {
        Some(legend) => Ok(legend),
        None => Ok(Legend::of(run.experiment(registry)?.study.task.pairs().as_ref())),
    }
}

/// Draws the figures of a run and writes its report.
///
/// # Errors
/// When the configuration or a table cannot be read, a figure not be drawn, or a file not be written.
pub fn report_run(run: &RunDir, legend: &Legend) -> Result<(), CliError> {
    let config = run.config()?;
    let shown = Shown { folder: run.folder(), legend };
    let frame = Frame {
        title: config.name.clone(),
        facts: facts(run, &config, &shown)?,
        config: config.to_toml(),
        reproduce: reproduction(run, &config),
    };
    Ok(write_report(&shown, frame)?)
}

fn facts(run: &RunDir, config: &Config, shown: &Shown<'_>) -> Result<Vec<(String, String)>, CliError> {
    let step = shown.rows::<MetricRow>()?.iter().map(|row| row.step).max().unwrap_or(0);
    let (legend, model, train) = (shown.legend, &config.model, &config.train);
    let kind = config.task.get("kind").and_then(|kind| kind.as_str()).unwrap_or("task");
    let inputs = legend.d_x.map_or("of text".to_owned(), |d_x| format!("x of width {d_x}"));
    let ended = run.ended()?.map_or(String::new(), |ended| format!("; {ended}"));
    let mut facts = vec![
        ("Task", format!("{kind}, {} concepts", legend.concepts.len())),
        ("Prompt", format!("{} pairs, {inputs}", legend.n_points)),
        ("Model", model_in_words(model)),
        ("Training", format!("{step} of {} steps of {} prompts{ended}", train.steps, train.batch_size)),
        ("Seed", config.seed.to_string()),
    ];
    if let Some(FinetuneConfig { run, step, free, .. }) = &config.finetune {
        facts.push(("Continues", format!("{run} from its step {step}; trained: {free}")));
    }
    if let Some(made) = run.environment() {
        facts.push(("Version", format!("{} ({})", made.version, made.commit)));
        let products = made.products.map_or(String::new(), |products| format!(" (products in {products})"));
        facts.push(("Made on", format!("{}{products}, {} threads, {}", made.device, made.threads, made.platform)));
    }
    facts.extend(MissingTable::of(run.folder())?.into_iter().map(|missing| ("Missing", missing.to_string())));
    Ok(facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn model_in_words(model: &ModelConfig) -> String {
    let ModelConfig { kind, n_layers, d_model, n_heads, .. } = model;
    let heads = if *n_heads > 0 { format!(", {n_heads} heads") } else { String::new() };
    format!("{kind} of {n_layers} blocks of width {d_model}{heads}")
}

/// Commands that make a run and its report again.
fn reproduction(run: &RunDir, config: &Config) -> Vec<String> {
    // `trainer` and `analysis` share a run's commands between them; every other program has them all.
    let program = match program_name().as_str() {
        "trainer" | "analysis" => "emergence".to_owned(),
        other => other.to_owned(),
    };
    let path = in_shell(run.path());
    // What a run continues from lies in its folder, so that it can only be made there.
    let parent = run.path().parent().filter(|_| config.finetune.is_some());
    let beside = parent.map_or(String::new(), |parent| format!(" --out {}", in_shell(parent)));
    vec![
        format!("cargo run -p {program} -- train {}{beside}", in_shell(&run.path().join("config.toml"))),
        format!("cargo run -p {program} -- cd {path}"),
        format!("cargo run -p {program} -- report {path}"),
    ]
}
