//! TDNV: how far the states of a concept spread, beside how far the concepts lie apart.

mod rows;
mod show;

use std::collections::BTreeMap;

use probe::{Layer, States, Study, Subject};

pub use rows::TdnvRow;

use super::groups::Groups;
use super::{MeasureError, Measurement, Needs, NoOptions, OverResamples, Session};
use crate::show::{Section, Shown};

/// The task distance normalised variance at every layer and probed token, at every checkpoint.
#[derive(Clone, Copy, Debug)]
pub struct TaskVariance;

impl Measurement for TaskVariance {
    const NAME: &'static str = "tdnv";
    const ABOUT: &'static str = "Measure the variance within concepts over the distance between them";
    const NEEDS: Needs = Needs::States;
    const FIGURES: &'static [&'static str] = &["tdnv"];
    type Options = NoOptions;
    type Plan = Vec<usize>;
    type Rows = Vec<TdnvRow>;

    fn plan(NoOptions {}: NoOptions, session: &Session<'_>) -> Result<Vec<usize>, MeasureError> {
        let concepts = session.study.concepts().len();
        if concepts < 2 {
            return Err(MeasureError::out_of_range("the number of concepts to separate", "at least 2", concepts));
        }
        Ok(session.subjects.steps()?)
    }

    fn measure(steps: &Vec<usize>, session: &Session<'_>) -> Result<Vec<TdnvRow>, MeasureError> {
        session.over_steps(steps, |subject, step| rows(session.study, subject, step))
    }

    fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
        show::show(shown)
    }
}

fn rows(study: &Study, subject: &dyn Subject, step: usize) -> Result<Vec<TdnvRow>, MeasureError> {
    // By layer and number of the token, one value a resample.
    let mut values: BTreeMap<(Layer, usize), Vec<f64>> = BTreeMap::new();
    study.read(subject, &[], |resample, states| {
        for (index, &layer) in states.layers.iter().enumerate() {
            for token in 0..states.tokens.len() {
                let here = values.entry((layer, token)).or_insert_with(|| vec![f64::NAN; study.probe.resamples]);
                here[resample] = tdnv(&states.states(index, token), &states.labels);
            }
        }
    })?;
    let row = |((layer, token), values): ((Layer, usize), Vec<f64>)| {
        let OverResamples { score, lo, hi, n } = OverResamples::of(&values);
        TdnvRow { step, layer, token: study.tokens[token], score, lo, hi, n }
    };
    Ok(values.into_iter().map(row).collect())
}

/// The mean over ordered pairs of concepts a ≠ b of (var_a + var_b) / (2 |mean_a − mean_b|²), where var is the mean squared
/// distance of a concept's states from their mean. Not the sum over pairs: the mean does not grow with the number of
/// concepts. Infinite where two means are the same.
///
/// Every label from 0 to the largest has a state, and there are two labels at least.
///
/// # Source
/// arXiv 2505.17322, where the variances of a pair are averaged as here.
fn tdnv(states: &States, labels: &[usize]) -> f64 {
    let groups = Groups::of(states.rows(), labels);
    let concepts = groups.members.len();
    let mut variances = vec![0.0; concepts];
    for (square, &label) in groups.squared_distances(states, labels).into_iter().zip(labels) {
        variances[label] += square / groups.members[label];
    }
    // A pair and its reverse have the same value, so that one of the two is enough for the mean.
    let pairs = (0..concepts).flat_map(|a| (a + 1..concepts).map(move |b| (a, b)));
    let value = |(a, b): (usize, usize)| match (&groups.means[a] - &groups.means[b]).norm_squared() {
        0.0 => f64::INFINITY,
        apart => (variances[a] + variances[b]) / (2.0 * apart),
    };
    pairs.clone().map(value).sum::<f64>() / pairs.count() as f64
}

#[cfg(test)]
mod tests {
    use nalgebra::DMatrix;

    use super::*;
    use crate::fake::{Linear, study};

    /// Rounding of a few dozen f64 operations.
    const ROUNDING: f64 = 1e-12;

    #[test]
    fn a_case_small_enough_for_the_head() {
        // 0 and 2, 10 and 14, 21 and 21 on a line: means 1, 12 and 21, variances 1, 4 and 0.
        let states = States::new(DMatrix::from_column_slice(6, 1, &[0.0, 2.0, 10.0, 14.0, 21.0, 21.0]));
        let expected = (5.0 / (2.0 * 121.0) + 1.0 / (2.0 * 400.0) + 4.0 / (2.0 * 81.0)) / 3.0;
        assert!((tdnv(&states, &[0, 0, 1, 1, 2, 2]) - expected).abs() < ROUNDING);
        let alike = States::new(DMatrix::from_column_slice(4, 1, &[0.0, 2.0, 0.0, 2.0]));
        assert_eq!(tdnv(&alike, &[0, 0, 1, 1]), f64::INFINITY);
        assert_eq!(
            tdnv(&States::new(DMatrix::from_element(4, 1, 1.0)), &[0, 0, 1, 1]),
            f64::INFINITY,
            "all are one state"
        );
    }

    #[test]
    fn moving_and_scaling_the_states_changes_nothing() {
        let rows = DMatrix::from_fn(12, 3, |i, j| ((i * 5 + j * 7) % 11) as f64 + if i < 6 { 0.0 } else { 4.0 });
        let labels: Vec<usize> = (0..12).map(|i| i / 6).collect();
        let [here, there] =
            [rows.clone(), rows.map(|value| 3.0 * value - 50.0)].map(|rows| tdnv(&States::new(rows), &labels));
        assert!((here - there).abs() < ROUNDING * here, "{here} {there}");
    }

    /// The states are f32.
    const SINGLE: f64 = 1e-5;

    #[test]
    fn every_layer_and_token_has_a_row_and_layers_that_only_scale_have_the_same() {
        let study = study();
        let rows = rows(&study, &Linear::new([0.0; 2], 0.5), 3).unwrap();
        let places: Vec<_> = rows.iter().map(|row| (row.layer, row.token)).collect();
        let expected = (0..=2).map(Layer).flat_map(|layer| study.tokens.iter().map(move |token| (layer, *token)));
        assert_eq!(places, expected.collect::<Vec<_>>());
        for (row, embedding) in rows.iter().zip(rows[..study.tokens.len()].iter().cycle()) {
            assert_eq!((row.step, row.n), (3, study.probe.resamples));
            assert!((row.score / embedding.score - 1.0).abs() < SINGLE, "{row:?} {embedding:?}");
        }
    }
}
