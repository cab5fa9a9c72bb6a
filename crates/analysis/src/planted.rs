//! Planted tables, and the check that every figure has to pass.

use data::{Legend, LegendConcept, LegendPredictor, Role, Token};
use probe::{Control, Layer, ProbeKind, ProbeReading};

use crate::{AccuracyRow, BaselineRow, DecodabilityRow, Estimate, MapMethod, MapRow, MetricRow, Split};

pub(crate) const CONCEPTS: [&str; 4] = ["first half", "second half", "alternating", "sparse"];
/// Positions in a planted prompt.
pub(crate) const PAIRS: usize = 10;

/// Concepts of planted tables of text.
pub(crate) const CLASSES: [&str; 6] = ["noun", "adjective", "verb", "adverb", "preposition", "pronoun"];

/// Noise that needs no generator: the fractional part of a large sine, centred on 0.
pub(crate) fn noise(seed: usize) -> f64 {
    let wave = (seed as f64 * 12.9898).sin() * 43758.5453;
    wave - wave.floor() - 0.5
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

pub(crate) fn names(count: usize) -> Vec<String> {
    (0..count).map(|i| CONCEPTS.get(i).map_or_else(|| format!("concept {i}"), ToString::to_string)).collect()
}

/// What a task of so many concepts calls them, with the usual predictors.
pub(crate) fn legend(concepts: usize) -> Legend {
    let roles = [Role::Trivial, Role::WithoutConcept, Role::Optimal, Role::Oracle];
    let predictors = ["zero", "ridge", "bayes", "oracle"].map(str::to_owned).into_iter().zip(roles);
    Legend {
        n_points: PAIRS,
        d_x: Some(4),
        concepts: names(concepts)
            .into_iter()
            .map(|name| LegendConcept { name, weight: 1.0 / concepts as f64 })
            .collect(),
        predictors: predictors.map(|(name, role)| LegendPredictor { name, role }).collect(),
        algorithms: Vec::new(),
    }
}

/// Falls from 1 to a plateau at 0.43, then to 0.19, as the published runs do.
fn error_at(step: f64, concept: usize) -> f64 {
    let delay = concept as f64 * 350.0;
    1.0 - 0.57 * sigmoid((step - 1200.0) / 220.0) - 0.24 * sigmoid((step - 4500.0 - delay) / 350.0)
}

/// What an error averaged over a prompt is at one position: nothing is known at the first.
fn at_position(mean: f64, position: usize) -> f64 {
    mean.powf(1.6 * (position as f64 - 1.0) / (PAIRS as f64 - 1.0))
}

pub(crate) fn metrics(concepts: usize, steps: &[usize]) -> Vec<MetricRow> {
    let mut rows = Vec::new();
    for &step in steps {
        let mut row = |concept: Option<String>, position, error: f64| {
            let split = Split::Eval;
            rows.push(MetricRow { step, split, concept, position, mse: 2.0 * error, relative_mse: error });
        };
        for (index, name) in names(concepts).into_iter().enumerate() {
            row(Some(name), None, error_at(step as f64, index) + 0.012 * noise(step + 77 * index));
        }
        let mean = error_at(step as f64, 1);
        row(None, None, mean);
        (1..=PAIRS).for_each(|position| row(None, Some(position), at_position(mean, position)));
    }
    rows
}

pub(crate) fn baselines(predictors: &[(&str, f64)]) -> Vec<BaselineRow> {
    let positions = || std::iter::once(None).chain((1..=PAIRS).map(Some));
    let row = |&(predictor, mean): &(&str, f64), position: Option<usize>| {
        let error = position.map_or(mean, |position| at_position(mean, position));
        let predictor = predictor.to_owned();
        BaselineRow { predictor, concept: None, position, mse: error, relative_mse: error, posterior: None }
    };
    predictors.iter().flat_map(|predictor| positions().map(move |position| row(predictor, position))).collect()
}

pub(crate) fn usual_baselines() -> Vec<BaselineRow> {
    baselines(&[("zero", 1.0), ("ridge", 0.42), ("bayes", 0.185), ("oracle", 0.165)])
}

pub(crate) fn decodability(layers: usize, steps: &[usize]) -> Vec<DecodabilityRow> {
    let mut rows = Vec::new();
    for (&step, layer) in steps.iter().flat_map(|step| (0..layers).map(move |layer| (step, layer))) {
        let depth = layer as f64 / (layers.max(2) - 1) as f64;
        let rise = sigmoid((step as f64 - 4300.0 + 900.0 * depth) / 500.0) * depth.sqrt();
        let score = 0.25 + 0.73 * rise + 0.01 * noise(step + layer);
        let row = |token: Token, probe: ProbeReading, score: f64| DecodabilityRow {
            step,
            layer: Layer(layer),
            token,
            probe,
            concept: None,
            score,
            chance: 0.25,
            lo: score - 0.03,
            hi: score + 0.03,
            n: 20,
        };
        rows.extend([
            row(Token::X(10), ProbeReading::CD, score),
            row(Token::X(9), ProbeReading::CD, 0.3),
            row(Token::X(10), ProbeReading::control(ProbeKind::CD, Control::Shuffled), 0.25),
        ]);
    }
    rows
}

/// CD and accuracy of [`CLASSES`] as a language model has them: both rise with demonstrations and with pretraining.
pub(crate) fn text_rows(shots: &[usize], steps: &[usize]) -> Vec<(DecodabilityRow, AccuracyRow)> {
    let mut rows = Vec::new();
    for (&step, &shots) in steps.iter().flat_map(|step| shots.iter().map(move |shots| (step, shots))) {
        let learned = if step == 0 { 1.0 } else { sigmoid((step as f64).ln() - 9.0) };
        let known = learned * (1.0 - (-0.5 * shots as f64).exp());
        let each = CLASSES.iter().enumerate().map(|(index, name)| (Some((*name).to_owned()), index));
        for (concept, index) in std::iter::once((None, 2)).chain(each) {
            let ease = 1.0 - 0.11 * index as f64 + 0.2 * noise(index + 7 * shots + step);
            let score = 1.0 / 6.0 + 0.8 * known * ease.clamp(0.0, 1.0);
            let (n, accuracy) =
                (if concept.is_none() { 600 } else { 100 }, (0.5 * known * ease * ease).clamp(0.0, 1.0));
            let Estimate { mean: accuracy, lo, hi } = Estimate::of_share((accuracy * n as f64) as usize, n);
            let log_probability = -6.0 + 5.0 * accuracy;
            let read = DecodabilityRow {
                step,
                layer: Layer(21),
                token: Token::X(shots + 1),
                probe: ProbeReading::CD,
                concept: concept.clone(),
                score,
                chance: 1.0 / 6.0,
                lo: score - 0.03,
                hi: (score + 0.03).min(1.0),
                n: 10,
            };
            let answers = AccuracyRow {
                step,
                concept,
                shots,
                accuracy,
                lo,
                hi,
                log_probability,
                log_probability_lo: log_probability - 0.3,
                log_probability_hi: log_probability + 0.3,
                n,
            };
            rows.push((read, answers));
        }
    }
    rows
}

pub(crate) fn map(concepts: usize, steps: &[usize]) -> Vec<MapRow> {
    let mut rows = Vec::new();
    for (&step, (concept, name)) in
        steps.iter().flat_map(|step| names(concepts).into_iter().enumerate().map(move |c| (step, c)))
    {
        let apart = 4.0 * sigmoid((step as f64 - 4000.0) / 900.0);
        let angle = std::f64::consts::TAU * (concept as f64 + 0.3) / concepts as f64;
        rows.extend((0..60).map(|i| MapRow {
            step,
            layer: Layer(4),
            token: Token::X(10),
            concept: name.clone(),
            method: MapMethod::Pca,
            x: apart * angle.cos() + (noise(i) + noise(i + 91) + noise(step + i)) * 1.6,
            y: apart * angle.sin() + noise(i + 500) + noise(i + 91 * concept) + noise(step + 3 * i),
            explained_x: Some(0.41),
            explained_y: Some(0.23),
        }));
    }
    rows
}

pub(crate) fn checkpoints() -> Vec<usize> {
    (0..=40).map(|i| i * 250).collect()
}

/// The figure renders, and nothing makes it hard to read. With `PLOTS_DIR` set it is also written there, to be looked at.
pub(crate) fn check(name: &str, svg: &str) {
    let image = plots::png(svg).unwrap();
    if let Some(folder) = std::env::var_os("PLOTS_DIR") {
        std::fs::write(std::path::Path::new(&folder).join(format!("{name}.png")), image).unwrap();
    }
    let flaws = plots::flaws(svg).unwrap();
    assert!(flaws.is_empty(), "{name}: {flaws:?}");
}
