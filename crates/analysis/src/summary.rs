//! What a finished run found, from its tables.

use std::fmt;

use data::{LegendConcept, Role, Token};
use probe::{Control, Layer, ProbeKind, ProbeReading};
use record::{Folder, Made, RecordError, has_rows};
use serde::Serialize;

use crate::show::{Shown, once_each, query};
use crate::{ALL, AccuracyRow, BaselineRow, BestLayerRow, DecodabilityRow, Entry, MetricRow, Selection};

/// The end of a run in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The run's folder.
    pub run: String,
    /// Optimizer steps of the last rows.
    pub step: usize,
    /// Name of the optimal predictor, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimal: Option<String>,
    /// Error of every concept; none where prompts are text.
    pub concepts: Vec<ConceptSummary>,
    /// Exact answers after every number of demonstrations, over all concepts first; none where prompts are numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accuracy: Vec<AccuracyRow>,
    /// Decodability at every probed token by every probe, in the order of the configuration.
    pub decodability: Vec<DecodabilitySummary>,
    /// Tables that were made and are not there any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingTable>,
}

/// A table that was made and is not there any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MissingTable {
    /// Its file.
    pub table: String,
    /// The command that makes it again from the checkpoints; none for what only training writes.
    pub command: Option<&'static str>,
}

impl MissingTable {
    /// Those of a folder, by what it says was made there.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn of(folder: &Folder) -> Result<Vec<Self>, RecordError> {
        let tables = Made::read(folder)?.tables.into_keys();
        let gone = tables.filter(|table| !has_rows(&folder.path().join(table)));
        let command = |table: &str| {
            let makes = |entry: &&Entry| (entry.tables)(folder).iter().any(|made| made.file() == table);
            ALL.iter().find(makes).map(|entry| entry.name)
        };
        Ok(gone.map(|table| Self { command: command(&table), table }).collect())
    }
}

impl fmt::Display for MissingTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.command {
            Some(command) => write!(f, "{} is missing; the command {command} makes it again", self.table),
            None => write!(f, "{} is missing, and only training writes it", self.table),
        }
    }
}

/// The final error of one concept; all errors are divided by the mean of y².
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConceptSummary {
    /// Name of the concept.
    pub concept: String,
    /// Its prior probability, by which means over concepts weigh it.
    pub weight: f64,
    /// The model's error.
    pub error: f64,
    /// Errors of the closed-form predictors, by name.
    pub predictors: Vec<(String, f64)>,
    /// The model's error over the optimal predictor's, where the task has one.
    pub over_bayes: Option<f64>,
}

/// Decodability at the layer chosen on the other half of the resamples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DecodabilitySummary {
    /// The token.
    pub token: Token,
    /// Name of the probe.
    pub probe: ProbeKind,
    /// The layer chosen at the end.
    pub layer: Layer,
    /// Score of that layer in the first rows.
    pub first: f64,
    /// Held-out score at the end.
    pub last: f64,
    /// 95% interval of `last`, over half of the resamples.
    pub interval: [f64; 2],
    /// Resamples in all.
    pub resamples: usize,
    /// The score when the layer is chosen on the same resamples, as in the paper.
    pub optimistic: f64,
    /// Score at the end with permuted labels at the same layer.
    pub shuffled: f64,
    /// Accuracy of guessing.
    pub chance: f64,
    /// Score at the end and the same layer with permuted answers, where there are such prompts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permuted_answers: Option<f64>,
    /// Score of the untrained model at the same layer, where it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub untrained: Option<f64>,
    /// Score of the bag of the demonstrations' answers, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bag: Option<f64>,
}

/// Resamples from which on an interval is one: of ten, five are scored, and all of them lie above chance by luck once in
/// 32 times.
const ENOUGH: usize = 10;

/// Whether a concept can be read: the whole interval of held-out CD lies above chance. None where there are too few resamples
/// to tell.
pub fn has_emerged(interval: [f64; 2], chance: f64, resamples: usize) -> Option<bool> {
    (resamples >= ENOUGH).then_some(interval[0] > chance)
}

impl DecodabilitySummary {
    /// The controls that not every run has, in the order in which they are said.
    pub(crate) const CONTROLS: [Control; 3] = [Control::PermutedAnswers, Control::Untrained, Control::Bag];

    /// The score of a control, where there is one.
    pub(crate) fn control(&self, control: Control) -> Option<f64> {
        match control {
            Control::Shuffled => Some(self.shuffled),
            Control::PermutedAnswers => self.permuted_answers,
            Control::Untrained => self.untrained,
            Control::Bag => self.bag,
        }
    }
}

impl Summary {
    /// Of the last rows of the tables of `run`.
    ///
    /// # Errors
    /// When the disk fails or a table is damaged.
    pub fn read(shown: &Shown<'_>) -> Result<Self, RecordError> {
        let metrics = shown.rows::<MetricRow>()?;
        let baselines = shown.rows::<BaselineRow>()?;
        let cd = shown.rows::<DecodabilityRow>()?;
        let best = shown.rows::<BestLayerRow>()?;
        let mut accuracy = shown.rows::<AccuracyRow>()?;
        let measured = accuracy.iter().map(|row| row.step).chain(cd.iter().map(|row| row.step));
        let step = metrics.iter().map(|row| row.step).chain(measured).max().unwrap_or(0);
        accuracy.retain(|row| row.step == step);
        let optimal = shown.legend.with_role(Role::Optimal).map(|known| known.name.clone());
        let concepts = shown.legend.concepts.iter();
        let read = once_each(best.iter().map(|row| (row.token, row.probe)));
        Ok(Self {
            run: shown.folder.path().display().to_string(),
            step,
            concepts: concepts
                .filter_map(|concept| of_concept(concept, optimal.as_deref(), step, &metrics, &baselines))
                .collect(),
            accuracy,
            decodability: read.into_iter().filter_map(|(token, probe)| of_probe(token, probe, &cd, &best)).collect(),
            missing: MissingTable::of(shown.folder)?,
            optimal,
        })
    }

    /// CD at the token that the figures of a run show.
    pub(crate) fn at_query(&self) -> Option<&DecodabilitySummary> {
        let cd = || self.decodability.iter().filter(|read| read.probe == ProbeKind::CD);
        let query = query(cd().map(|read| read.token))?;
        cd().find(|read| read.token == query)
    }

    /// Whether the concept has emerged, in a sentence. None of language models, in which it is for the controls to tell, and
    /// where CD was not measured.
    pub(crate) fn verdict(&self) -> Option<String> {
        let read = self.at_query().filter(|_| self.accuracy.is_empty())?;
        let DecodabilitySummary { token, last, interval: [lo, hi], chance, resamples, .. } = read;
        let found = format!("held-out CD at token {token} is {last:.2} [{lo:.2}, {hi:.2}]");
        Some(match has_emerged(read.interval, *chance, *resamples) {
            _ if self.concepts.len() == 1 => "With one concept there is none to be told from others.".to_owned(),
            Some(true) => format!("The concept has emerged: {found}, above chance ({chance:.2})."),
            Some(false) => format!("The concept has not emerged: {found}, and chance is {chance:.2}."),
            None => format!(
                "Whether the concept has emerged cannot be told from {resamples} resamples, but from {ENOUGH} on: {found}, \
                 and chance is {chance:.2}."
            ),
        })
    }

    /// The mean over the concepts that have such a number, each by its prior probability.
    pub(crate) fn mean(&self, of: impl Fn(&ConceptSummary) -> Option<f64>) -> Option<f64> {
        let numbers = || self.concepts.iter().filter_map(|concept| Some((concept.weight, of(concept)?)));
        let weights: f64 = numbers().map(|(weight, _)| weight).sum();
        (weights > 0.0).then(|| numbers().map(|(weight, number)| weight * number).sum::<f64>() / weights)
    }

    /// The mean error over the mean error of the optimal predictor, of the concepts that have both.
    pub(crate) fn over_optimal(&self) -> Option<f64> {
        let error = self.mean(|concept| concept.over_bayes.map(|_| concept.error))?;
        Some(error / self.mean(|concept| Some(concept.error / concept.over_bayes?))?)
    }

    /// The final tables as plain text.
    pub fn to_text(&self) -> String {
        let mut text: String = self.missing.iter().map(|missing| format!("{missing}\n")).collect();
        text += &if self.accuracy.is_empty() { self.errors() } else { self.answers() };
        text += "Concept Decodability (knn) and other probes, layer chosen on the other half of the resamples\n";
        for read in &self.decodability {
            let DecodabilitySummary { token, probe, layer, first, last, interval: [lo, hi], chance, .. } = read;
            let (token, probe, layer) = (token.to_string(), probe.name(), layer.0);
            let said = |control: Control| Some(format!("  {} {:.2}", control.label(), read.control(control)?));
            let controls: String =
                [Control::Shuffled].into_iter().chain(DecodabilitySummary::CONTROLS).filter_map(said).collect();
            text += &format!(
                "  {token:<4} {probe:<10} layer {layer}  {first:.2} → {last:.2} [{lo:.2}, {hi:.2}]  chance {chance:.2}{controls}\n"
            );
        }
        text + &self.verdict().map_or(String::new(), |verdict| format!("{verdict}\n"))
    }

    fn errors(&self) -> String {
        if self.concepts.is_empty() {
            return String::new();
        }
        let mut text = format!("after {} steps, squared error / E[y²]\n", self.step);
        for concept in &self.concepts {
            let predictors = concept.predictors.iter().map(|(name, error)| format!("  {name} {error:.3}"));
            let ratio = self.optimal.as_ref().zip(concept.over_bayes);
            let ratio = ratio.map_or(String::new(), |(optimal, ratio)| format!("  model/{optimal} {ratio:.2}"));
            let predictors: String = predictors.collect();
            text += &format!("  {:<16} model {:.3}{predictors}{ratio}\n", concept.concept, concept.error);
        }
        text
    }

    fn answers(&self) -> String {
        // A model of a single folder has no step.
        let after = if self.step == 0 { String::new() } else { format!("after {} steps, ", self.step) };
        let mut text = format!("{after}exact answers and mean log-probability (nats)\n");
        for AccuracyRow { concept, shots, accuracy, lo, hi, log_probability, .. } in &self.accuracy {
            let concept = concept.as_deref().unwrap_or("all");
            text += &format!(
                "  {concept:<16} {shots:>2} demonstrations  {accuracy:.2} [{lo:.2}, {hi:.2}]  {log_probability:.2}\n"
            );
        }
        text
    }
}

fn of_concept(
    LegendConcept { name, weight }: &LegendConcept,
    optimal: Option<&str>,
    step: usize,
    metrics: &[MetricRow],
    baselines: &[BaselineRow],
) -> Option<ConceptSummary> {
    let named = |concept: &Option<String>| concept.as_ref() == Some(name);
    let error = metrics.iter().find(|row| row.step == step && row.position.is_none() && named(&row.concept))?;
    let predictors: Vec<(String, f64)> = baselines
        .iter()
        .filter(|row| row.position.is_none() && named(&row.concept))
        .map(|row| (row.predictor.clone(), row.relative_mse))
        .collect();
    let bayes = predictors.iter().find(|(predictor, _)| Some(predictor.as_str()) == optimal);
    let over_bayes = bayes.map(|(_, bayes)| error.relative_mse / bayes);
    let (concept, weight) = (name.clone(), *weight);
    Some(ConceptSummary { concept, weight, error: error.relative_mse, predictors, over_bayes })
}

fn of_probe(
    token: Token,
    probe: ProbeKind,
    cd: &[DecodabilityRow],
    best: &[BestLayerRow],
) -> Option<DecodabilitySummary> {
    let here = |row: &&BestLayerRow| row.token == token && row.probe == probe;
    let chosen = |selection: Selection| best.iter().filter(here).rfind(|row| row.selection == selection);
    let (fair, optimistic) = (chosen(Selection::HeldOut)?, chosen(Selection::Optimistic)?);
    let first = best.iter().filter(here).find(|row| row.selection == Selection::HeldOut)?;
    let of_probe = |row: &&DecodabilityRow| row.token == token && row.probe == ProbeReading::of(probe);
    let DecodabilityRow { chance, n: resamples, .. } = *cd.iter().rfind(of_probe)?;
    let control = |control: Control, layer: Layer| {
        let reading = ProbeReading::control(probe, control);
        let here = |row: &&DecodabilityRow| {
            row.probe == reading && row.token == token && row.layer == layer && row.concept.is_none()
        };
        cd.iter().rfind(here).map(|row| row.score)
    };
    Some(DecodabilitySummary {
        token,
        probe,
        layer: fair.layer,
        first: first.score,
        last: fair.score,
        interval: [fair.lo, fair.hi],
        resamples,
        optimistic: optimistic.score,
        shuffled: control(Control::Shuffled, fair.layer)?,
        chance,
        permuted_answers: control(Control::PermutedAnswers, fair.layer),
        untrained: control(Control::Untrained, fair.layer),
        // It has no model, and so no layer.
        bag: control(Control::Bag, Layer(0)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_told_from_others_and_from_its_control() {
        let row = |probe: ProbeReading, score| DecodabilityRow {
            step: 0,
            layer: Layer(1),
            token: Token::X(3),
            probe,
            concept: None,
            score,
            chance: 0.5,
            lo: score,
            hi: score,
            n: 2,
        };
        let probes = [(ProbeKind::Linear, 0.1, 0.2), (ProbeKind::Knn, 0.8, 0.4)];
        let cd = probes.map(|(probe, score, control)| {
            [row(ProbeReading::of(probe), score), row(ProbeReading::control(probe, Control::Shuffled), control)]
        });
        let best = |step, learned| {
            [Selection::HeldOut, Selection::Optimistic].into_iter().flat_map(move |selection| {
                probes.map(|(probe, score, _)| BestLayerRow {
                    step,
                    token: Token::X(3),
                    probe,
                    selection,
                    layer: Layer(1),
                    score: score * learned,
                    lo: score,
                    hi: score,
                })
            })
        };
        let best: Vec<_> = best(0, 0.5).chain(best(10, 1.0)).collect();
        let found = of_probe(Token::X(3), ProbeKind::Knn, cd.as_flattened(), &best).unwrap();
        assert_eq!((found.first, found.last, found.optimistic, found.shuffled), (0.4, 0.8, 0.8, 0.4));
    }

    #[test]
    fn a_concept_has_emerged_where_the_whole_interval_of_enough_resamples_is_above_chance() {
        assert_eq!(has_emerged([0.26, 0.4], 0.25, 10), Some(true));
        assert_eq!(has_emerged([0.25, 0.4], 0.25, 10), Some(false));
        assert_eq!(has_emerged([0.26, 0.4], 0.25, 9), None);
    }

    #[test]
    fn a_mean_over_concepts_weighs_them_by_their_prior() {
        let concept = |weight: f64, error: f64, over_bayes: Option<f64>| ConceptSummary {
            concept: String::new(),
            weight,
            error,
            predictors: Vec::new(),
            over_bayes,
        };
        let concepts = vec![concept(0.75, 1.0, Some(3.0)), concept(0.25, 2.0, None)];
        let mut summary = Summary {
            run: String::new(),
            step: 0,
            concepts,
            accuracy: Vec::new(),
            decodability: Vec::new(),
            missing: Vec::new(),
            optimal: None,
        };
        assert_eq!(summary.mean(|concept| Some(concept.error)), Some(1.25));
        assert_eq!(summary.mean(|concept| concept.over_bayes), Some(3.0));
        assert_eq!(summary.mean(|_| None), None);
        summary.concepts[1].over_bayes = Some(4.0);
        assert_eq!(summary.over_optimal(), Some(1.25 / 0.375), "of mean errors, and no mean of ratios");
    }
}
