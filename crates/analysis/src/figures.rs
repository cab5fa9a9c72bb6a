//! The figures and the report of a run, from its tables alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use plots::PlotError;
use plots::page::{Figure, Report, ReportTable, render};
use run::{
    AlgorithmRow, BaselineRow, DecodabilityRow, Experiment, MapRow, MetricRow, PatchRow, PositionRow, PruningRow,
    RunDir, RunError, SensitivityRow, TransplantRow,
};
use thiserror::Error;

use crate::drawings;
use crate::summary::{ConceptSummary, DecodabilitySummary, Summary};
use crate::{MapMethod, nearest};

/// Why tables could not be turned into figures.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FigureError {
    /// A table could not be read, or a figure not be written.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A figure could not be drawn.
    #[error(transparent)]
    Plot(#[from] PlotError),
}

/// Draws every figure whose table has rows, writes the report, and returns its path. `reproduce` are the commands that
/// repeat the run, one a line.
///
/// # Errors
/// When a table cannot be read, a figure not be drawn, or a file not be written.
pub fn write_report(run: &RunDir, experiment: &Experiment, reproduce: Vec<String>) -> Result<PathBuf, FigureError> {
    let summary = Summary::read(run, experiment)?;
    let figures = figures(run, experiment, &summary)?;
    for (name, figure) in &figures {
        match figure {
            Some(figure) => run.write_plot(name, &figure.svg, &plots::png(&figure.svg)?)?,
            // One of earlier tables would not be of these.
            None => run.remove_plot(name)?,
        }
    }
    let report = Report {
        title: experiment.config.name.clone(),
        facts: facts(run, experiment, &summary),
        figures: figures.into_iter().filter_map(|(_, figure)| figure).collect(),
        tables: [Some(errors_table(&summary)), Some(decodability_table(&summary)), sensitivity_table(run)?]
            .into_iter()
            .flatten()
            .collect(),
        config: experiment.config.to_toml(),
        reproduce,
    };
    Ok(run.write_report(&render(&report))?)
}

/// Every figure by its name, where there is something to draw.
fn figures(
    run: &RunDir,
    experiment: &Experiment,
    summary: &Summary,
) -> Result<Vec<(&'static str, Option<Figure>)>, FigureError> {
    let metrics = run.table::<MetricRow>().read()?;
    let baselines = run.table::<BaselineRow>().read()?;
    let cd = run.table::<DecodabilityRow>().read()?;
    let map = run.table::<MapRow>().read()?;
    let algorithms = run.table::<AlgorithmRow>().read()?;
    let patched = run.table::<PatchRow>().read()?;
    let pruned = run.table::<PruningRow>().read()?;
    let transplanted = run.table::<TransplantRow>().read()?;
    let read = run.table::<PositionRow>().read()?;
    let map_by =
        |name, title, method| (name, title, map_caption(method, experiment), drawings::maps(&map, method, &cd));
    let drawn = [
        ("emergence", "Emergence", emergence_caption(summary), drawings::emergence(&metrics, &baselines, &cd)),
        ("heatmap", "Where and when the concept can be read", heatmap_caption(summary), drawings::heatmap(&cd)),
        (
            "positions",
            "Error along the prompt",
            positions_caption(&baselines),
            drawings::positions(&metrics, &baselines),
        ),
        ("reading", "Reading along the prompt", reading_caption(&read), drawings::reading(&read, &metrics, &baselines)),
        ("sites", "What blocks write", sites_caption(), drawings::sites(&run.table().read()?)),
        ("separation", "Separation of the concepts", separation_caption(), drawings::separation(&run.table().read()?)),
        ("pairs", "Concepts two by two", pairs_caption(experiment), drawings::pairs(&run.table().read()?)),
        ("algorithms", "What the model computes", algorithms_caption(&algorithms), drawings::algorithms(&algorithms)),
        map_by("map", "Hidden states", MapMethod::Pca),
        map_by("map_umap", "Hidden states, UMAP", MapMethod::Umap),
        map_by("map_tsne", "Hidden states, t-SNE", MapMethod::Tsne),
        (
            "patching",
            "What a concept's mean does to the prediction",
            patching_caption(&patched),
            drawings::patching(&patched),
        ),
        ("patching_sweep", "Where and when it does so", sweep_caption(), drawings::patching_sweep(&patched, &cd)),
        ("steering", "Steering", steering_caption(), drawings::steering(&patched)),
        ("pruning", "Heads", pruning_caption(&pruned, experiment), drawings::pruning(&pruned)),
        ("transplant", "Early or late layers", transplant_caption(&transplanted), drawings::transplant(&transplanted)),
    ];
    let keep = |(name, title, caption, svg): (_, &str, String, Result<String, PlotError>)| match svg {
        Ok(svg) => Ok((name, Some(Figure { title: title.to_owned(), caption, svg }))),
        Err(PlotError::Empty { .. }) => Ok((name, None)),
        Err(error) => Err(error.into()),
    };
    drawn.into_iter().map(keep).collect()
}

fn facts(run: &RunDir, experiment: &Experiment, summary: &Summary) -> Vec<(String, String)> {
    let config = &experiment.config;
    let mut facts = vec![
        ("Task", format!("{}, {} concepts", task_kind(experiment), experiment.task.concepts().len())),
        ("Prompt", format!("{} pairs, x of width {}", experiment.architecture.n_points, experiment.architecture.d_x)),
        (
            "Model",
            format!(
                "{} blocks of width {}, {} heads",
                config.model.n_layers, config.model.d_model, config.model.n_heads
            ),
        ),
        (
            "Training",
            format!("{} of {} steps of {} prompts", summary.step, config.train.steps, config.train.batch_size),
        ),
        ("Seed", config.seed.to_string()),
    ];
    if let Some(made) = run.environment() {
        facts.push(("Version", format!("{} ({})", made.version, made.commit)));
        let products = made.products.map_or(String::new(), |products| format!(" (products in {products})"));
        facts.push(("Made on", format!("{}{products}, {} threads, {}", made.device, made.threads, made.platform)));
    }
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

pub(crate) fn task_kind(experiment: &Experiment) -> &str {
    experiment.config.task.get("kind").and_then(|kind| kind.as_str()).unwrap_or("task")
}

fn emergence_caption(summary: &Summary) -> String {
    let ratio = summary
        .mean(|concept| concept.over_bayes)
        .map_or(String::new(), |ratio| format!(", {ratio:.2} times the Bayes mixture's on average"));
    let error = summary.mean(|concept| Some(concept.error)).unwrap_or(f64::NAN);
    let cd = summary.at_query().map_or(String::new(), |token| {
        format!(
            " In the same time CD at layer {} goes from {:.2} to {:.2}; guessing gives {:.2}.",
            token.layer, token.first, token.last, token.chance
        )
    });
    format!("Above: each concept's error, at the end {error:.3} of E[y²]{ratio}.{cd}")
}

fn heatmap_caption(summary: &Summary) -> String {
    summary.at_query().map_or(String::new(), |token| {
        format!(
            "The concept is read best at layer {} of the {} token; layer 0 is the embedding.",
            token.layer, token.token
        )
    })
}

fn positions_caption(baselines: &[BaselineRow]) -> String {
    let optimal = baselines.iter().any(|row| row.predictor == "bayes");
    let distance = "; the distance to the Bayes mixture is what the model has not learned";
    format!("With more pairs before it a prediction gets better{}.", if optimal { distance } else { "" })
}

fn algorithms_caption(rows: &[AlgorithmRow]) -> String {
    let nearest = nearest(rows, None, None);
    let (first, last) = (nearest.first(), nearest.last());
    first.zip(last).map_or(String::new(), |(first, last)| {
        let since = nearest.iter().rev().take_while(|row| row.predictor == last.predictor).last().unwrap_or(last);
        let course = if since.step == first.step {
            format!("{} at every checkpoint", last.predictor)
        } else {
            format!("{} at first and to {} from step {} on", first.predictor, last.predictor, since.step)
        };
        format!(
            "Of the closed-form predictors the model is nearest to {course}, at step {} at a squared distance of {:.4} of E[y²].",
            last.step, last.distance
        )
    })
}

fn reading_caption(read: &[PositionRow]) -> String {
    if read.iter().all(|row| row.reader != "bayes") {
        return "How well the concept can be read at the x token of every pair, and the error of the prediction there."
            .to_owned();
    }
    "No reader of the concept can be right more often than the likeliest concept under the Bayes mixture; the distance to that line is what the states do not show to a vote by distance. Its mean posterior on the true concept lies lower.".to_owned()
}

fn sites_caption() -> String {
    "At layer l, how well the concept is read from what attention, feed-forward and both of block l add to the stream, and from the stream behind them, with 95% intervals. Attention brings what other tokens hold: where its line lies above the stream's, the concept has come to the token and stands beside what was there before.".to_owned()
}

fn separation_caption() -> String {
    "At the layer that is best at the end of training. Both are of distances and means: a concept that shows in variances only leaves them where permuted labels are.".to_owned()
}

fn pairs_caption(experiment: &Experiment) -> String {
    let shown = shown(experiment, drawings::MOST_PAIRED);
    format!("The accuracy of the vote when it has to tell only two concepts apart; guessing gives 0.5.{shown}")
}

/// Which concepts a figure shows that has no space for more than `most`.
fn shown(experiment: &Experiment, most: usize) -> String {
    let all = experiment.task.concepts().len();
    if all > most { format!(" Shown are {most} of {all} concepts.") } else { String::new() }
}

fn map_caption(method: MapMethod, experiment: &Experiment) -> String {
    let beware = match method {
        MapMethod::Pca => "for a plane may show less than it measures",
        MapMethod::Umap | MapMethod::Tsne => {
            "for only neighbours mean something here: gaps and sizes of groups are the method's, and may show more than it measures"
        }
    };
    format!(
        "The states of one token in a plane, {} prompts a concept: steps from left to right, layers from top to bottom. CD stands at each, {beware}.",
        experiment.config.probe.prompts_per_concept
    )
}

fn patching_caption(patched: &[PatchRow]) -> String {
    patched.first().map_or(String::new(), |row| {
        format!(
            "Each cell: change of the error, ± half of its 95% interval over {} held-out prompts of the row's concept, when the hidden state is replaced by the mean over {} other prompts. Controls at the right: the mean over concepts, a random direction as long as the own mean, and the state itself. A mean holds no x: at an x token it takes the question away as well.",
            row.n, row.mean_n
        )
    })
}

fn sweep_caption() -> String {
    "The same at every layer and a few checkpoints, means over concepts: a layer that carries the concept to the prediction has an effect that depends on whose mean it is. Below, where that was measured, how well the concept can be read there.".to_owned()
}

fn steering_caption() -> String {
    "A multiple of the difference between a concept's mean and the mean over concepts is added to the state.".to_owned()
}

fn pruning_caption(pruned: &[PruningRow], experiment: &Experiment) -> String {
    pruned.first().map_or(String::new(), |row| {
        let shown = shown(experiment, drawings::MOST_PRUNED);
        format!(
            "Change of the error over all positions when one attention head is switched off, {} held-out prompts a concept.{shown}",
            row.n
        )
    })
}

fn transplant_caption(transplanted: &[TransplantRow]) -> String {
    transplanted.first().map_or(String::new(), |row| {
        format!("A model of two checkpoints: the layers up to {} of one, all behind them of the other. What lowers the error of an early checkpoint is the half that it was missing.", row.layer)
    })
}

fn errors_table(summary: &Summary) -> ReportTable {
    let names = summary.concepts.first().map(|concept| concept.predictors.clone()).unwrap_or_default();
    let mut header = vec!["concept".to_owned(), "model".to_owned()];
    header.extend(names.into_iter().map(|(name, _)| name));
    header.push("model / bayes".to_owned());
    let row = |concept: &ConceptSummary| {
        let mut row = vec![concept.concept.clone(), format!("{:.4}", concept.error)];
        row.extend(concept.predictors.iter().map(|(_, error)| format!("{error:.4}")));
        row.push(concept.over_bayes.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")));
        row
    };
    ReportTable {
        title: "Final error".to_owned(),
        caption: "Squared error on held-out prompts divided by E[y²], mean over positions.".to_owned(),
        header,
        rows: summary.concepts.iter().map(row).collect(),
    }
}

/// CD with other settings, where it was measured: a row for every token and number of prompts, a column for every k.
fn sensitivity_table(run: &RunDir) -> Result<Option<ReportTable>, RunError> {
    let rows = run.table::<SensitivityRow>().read()?;
    let Some(first) = rows.first() else { return Ok(None) };
    let neighbours: BTreeSet<usize> = rows.iter().map(|row| row.neighbours).collect();
    let mut cells: BTreeMap<(&str, usize), Vec<String>> = BTreeMap::new();
    for row in &rows {
        let label = || vec![format!("{} at layer {}, N = {}", row.token, row.layer, row.prompts_per_concept)];
        let cell = format!("{:.3} [{:.2}, {:.2}]", row.score, row.lo, row.hi);
        cells.entry((&row.token, row.prompts_per_concept)).or_insert_with(label).push(cell);
    }
    let mut header = vec!["prompts of every concept".to_owned()];
    header.extend(neighbours.iter().map(|neighbours| format!("k = {neighbours}")));
    let mut rows: Vec<Vec<String>> = cells.into_values().collect();
    // There can be fewer states than neighbours.
    rows.iter_mut().for_each(|row| row.resize(header.len(), "–".to_owned()));
    Ok(Some(ReportTable {
        title: "Sensitivity of Concept Decodability".to_owned(),
        caption: format!(
            "CD after {} steps with other numbers of neighbours k and prompts N, with the 95% interval over resamples.",
            first.step
        ),
        header,
        rows,
    }))
}

fn decodability_table(summary: &Summary) -> ReportTable {
    let header =
        ["token", "probe", "layer", "first", "held-out", "95% interval", "optimistic", "shuffled labels", "chance"];
    let row = |read: &DecodabilitySummary| {
        let number = |value: f64| format!("{value:.3}");
        vec![
            read.token.clone(),
            read.probe.clone(),
            read.layer.to_string(),
            number(read.first),
            number(read.last),
            format!("{:.3} – {:.3}", read.interval[0], read.interval[1]),
            number(read.optimistic),
            number(read.shuffled),
            number(read.chance),
        ]
    };
    ReportTable {
        title: "Final Concept Decodability".to_owned(),
        caption: "CD is the probe knn. Held-out: the layer is chosen on one half of the resamples and scored on the other. Optimistic: both on all, as in the paper.".to_owned(),
        header: header.map(str::to_owned).to_vec(),
        rows: summary.decodability.iter().map(row).collect(),
    }
}
