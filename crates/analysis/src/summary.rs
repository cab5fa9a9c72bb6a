//! What a finished run found, from its tables.

use run::{BaselineRow, BestLayerRow, DecodabilityRow, Experiment, MetricRow, RunDir, RunError};
use serde::Serialize;

/// The end of a run in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The run's folder.
    pub run: String,
    /// Optimizer steps of the last rows.
    pub step: usize,
    /// Error of every concept.
    pub concepts: Vec<ConceptSummary>,
    /// Decodability of every probed token.
    pub decodability: Vec<TokenSummary>,
}

/// The final error of one concept; all errors are divided by the mean of y².
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConceptSummary {
    /// Name of the concept.
    pub concept: String,
    /// The model's error.
    pub error: f64,
    /// Errors of the closed-form predictors, by name.
    pub predictors: Vec<(String, f64)>,
    /// The model's error over the Bayes mixture's, where the task has one.
    pub over_bayes: Option<f64>,
}

/// Decodability at the layer chosen on the other half of the resamples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TokenSummary {
    /// The token.
    pub token: String,
    /// The layer chosen at the end.
    pub layer: usize,
    /// Score of that layer in the first rows.
    pub first: f64,
    /// Held-out score at the end.
    pub last: f64,
    /// 95% interval of `last`.
    pub interval: [f64; 2],
    /// The score when the layer is chosen on the same resamples, as in the paper.
    pub optimistic: f64,
    /// Score at the end with shuffled labels at the same layer.
    pub shuffled: f64,
    /// Accuracy of guessing.
    pub chance: f64,
}

impl Summary {
    /// Of the last rows of the tables of `run`.
    pub fn read(run: &RunDir, experiment: &Experiment) -> Result<Self, RunError> {
        let metrics = run.table::<MetricRow>().read()?;
        let baselines = run.table::<BaselineRow>().read()?;
        let cd = run.table::<DecodabilityRow>().read()?;
        let best = run.table::<BestLayerRow>().read()?;
        let step = metrics.iter().map(|row| row.step).max().unwrap_or(0);
        let concepts = experiment.task.concepts().iter();
        let tokens = experiment.tokens.iter().map(ToString::to_string);
        Ok(Self {
            run: run.path().display().to_string(),
            step,
            concepts: concepts.filter_map(|concept| of_concept(&concept.name, step, &metrics, &baselines)).collect(),
            decodability: tokens.filter_map(|token| of_token(&token, &cd, &best)).collect(),
        })
    }

    /// The final tables as plain text.
    pub fn to_text(&self) -> String {
        let mut text = format!("after {} steps, squared error / E[y²]\n", self.step);
        for concept in &self.concepts {
            let predictors = concept.predictors.iter().map(|(name, error)| format!("  {name} {error:.3}"));
            let ratio = concept.over_bayes.map_or(String::new(), |ratio| format!("  model/bayes {ratio:.2}"));
            let predictors: String = predictors.collect();
            text += &format!("  {:<16} model {:.3}{predictors}{ratio}\n", concept.concept, concept.error);
        }
        text += "Concept Decodability, layer chosen on the other half of the resamples\n";
        for token in &self.decodability {
            let TokenSummary { token, layer, first, last, interval: [lo, hi], chance, shuffled, .. } = token;
            text += &format!(
                "  {token:<4} layer {layer}  {first:.2} → {last:.2} [{lo:.2}, {hi:.2}]  chance {chance:.2}  shuffled labels {shuffled:.2}\n"
            );
        }
        text
    }
}

fn of_concept(name: &str, step: usize, metrics: &[MetricRow], baselines: &[BaselineRow]) -> Option<ConceptSummary> {
    let named = |concept: &Option<String>| concept.as_deref() == Some(name);
    let error = metrics.iter().find(|row| row.step == step && row.position.is_none() && named(&row.concept))?;
    let predictors: Vec<(String, f64)> = baselines
        .iter()
        .filter(|row| row.position.is_none() && named(&row.concept))
        .map(|row| (row.predictor.clone(), row.relative_mse))
        .collect();
    let bayes = predictors.iter().find(|(predictor, _)| predictor == "bayes");
    let over_bayes = bayes.map(|(_, bayes)| error.relative_mse / bayes);
    Some(ConceptSummary { concept: name.to_owned(), error: error.relative_mse, predictors, over_bayes })
}

fn of_token(token: &str, cd: &[DecodabilityRow], best: &[BestLayerRow]) -> Option<TokenSummary> {
    let chosen = |selection: &str| best.iter().rfind(|row| row.token == token && row.selection == selection);
    let (fair, optimistic) = (chosen("held_out")?, chosen("optimistic")?);
    let there = |row: &&DecodabilityRow| row.token == token && row.layer == fair.layer && row.concept.is_none();
    let shuffled = |row: &DecodabilityRow| row.probe.ends_with("_shuffled");
    let first = cd.iter().filter(there).find(|row| !shuffled(row))?;
    let control = cd.iter().rfind(|row| there(row) && shuffled(row))?;
    Some(TokenSummary {
        token: token.to_owned(),
        layer: fair.layer,
        first: first.score,
        last: fair.score,
        interval: [fair.lo, fair.hi],
        optimistic: optimistic.score,
        shuffled: control.score,
        chance: first.chance,
    })
}
