//! How far apart the concepts' states are, all together and two by two.

mod pairs_figure;
mod rows;
mod show;

use data::Token;
use nalgebra::DVector;
use probe::{Distance, Knn, Layer, Probe, States, Study, Subject, accuracy};
use rayon::prelude::*;

pub(crate) use pairs_figure::mean_pairs;
pub use rows::{PairRow, SeparationRow, Statistic};

use super::decodability::{Resample, states_at};
use super::groups::Groups;
use super::{MeasureError, Measurement, Needs, NoOptions, OverResamples, Session};
use crate::show::{Section, Shown};

/// The separation of the concepts, and kNN's score on every two of them: at every probed token, at the layer that is best
/// at the end of training.
#[derive(Clone, Copy, Debug)]
pub struct Separations;

/// What is measured where.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    steps: Vec<usize>,
    /// One a probed token.
    layers: Vec<Layer>,
}

impl Measurement for Separations {
    const NAME: &'static str = "separation";
    const ABOUT: &'static str = "Measure how far apart the concepts' states are, and which two";
    const NEEDS: Needs = Needs::States;
    const FIGURES: &'static [&'static str] = &["separation", "pairs"];
    type Options = NoOptions;
    type Plan = Plan;
    type Rows = (Vec<SeparationRow>, Vec<PairRow>);

    fn plan(NoOptions {}: NoOptions, session: &Session<'_>) -> Result<Plan, MeasureError> {
        let concepts = session.study.concepts().len();
        if concepts < 2 {
            return Err(MeasureError::out_of_range("the number of concepts to separate", "at least 2", concepts));
        }
        Ok(Plan { steps: session.subjects.steps()?, layers: session.best_layers()? })
    }

    fn measure(Plan { steps, layers }: &Plan, session: &Session<'_>) -> Result<Self::Rows, MeasureError> {
        session.over_steps(steps, |subject, step| {
            let (mut separations, mut pairs) = Self::Rows::default();
            let resamples = measured(session.study, subject, layers)?;
            for (index, (&token, &layer)) in session.study.tokens.iter().zip(layers).enumerate() {
                let here: Vec<&Measured> = resamples.iter().map(|tokens| &tokens[index]).collect();
                separations.extend(separation_rows(&here, step, layer, token));
                pairs.extend(pair_rows(&here, session.study, step, layer, token));
            }
            Ok((separations, pairs))
        })
    }

    fn show(shown: &Shown<'_>) -> Result<Vec<Section>, MeasureError> {
        show::show(shown)
    }
}

/// How far apart labelled groups of states are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Separation {
    /// Variance of the group means around the common mean, over the variance of the states around their group's mean;
    /// both summed over features. About (groups − 1) / (states − groups) where labels say nothing.
    pub between_within: f64,
    /// Mean silhouette, −1 to 1: (b − a) / max(a, b) with a state's mean distance to its own group, a, and to the
    /// nearest other group, b. 0 for a state that is alone in its group.
    pub silhouette: f64,
}

/// Measures how far apart the groups are that `labels` make; every label from 0 to the largest has a state.
///
/// # Source
/// Rousseeuw, *Silhouettes* (1987), with Euclidean distance, as scikit-learn's `silhouette_score`.
pub fn measure_separation(states: &States, labels: &[usize]) -> Separation {
    let groups = Groups::of(states.rows(), labels);
    Separation {
        between_within: between_within(states, labels, &groups),
        silhouette: silhouette(states, labels, &groups.members),
    }
}

fn between_within(states: &States, labels: &[usize], groups: &Groups) -> f64 {
    let common = states.rows().transpose().column_mean();
    let of_group = |(mean, n): (&DVector<f64>, &f64)| n * (mean - &common).norm_squared();
    let between: f64 = groups.means.iter().zip(&groups.members).map(of_group).sum();
    between / groups.squared_distances(states, labels).iter().sum::<f64>()
}

fn silhouette(states: &States, labels: &[usize], members: &[f64]) -> f64 {
    let squares = states.squares();
    let of_state = |i: usize, products: &[f64]| {
        let mut sums = vec![0.0; members.len()];
        for (j, &label) in labels.iter().enumerate() {
            // Rounding can leave the square of a small distance just below 0.
            sums[label] += (squares[i] + squares[j] - 2.0 * products[j]).max(0.0).sqrt();
        }
        let own = labels[i];
        let inside = sums[own] / (members[own] - 1.0);
        let others = (0..members.len()).filter(|&label| label != own);
        let outside = others.map(|label| sums[label] / members[label]).fold(f64::INFINITY, f64::min);
        let larger = outside.max(inside);
        if members[own] > 1.0 && larger > 0.0 { (outside - inside) / larger } else { 0.0 }
    };
    let mut sum = 0.0;
    states.for_each_products(|i, products| sum += of_state(i, products));
    sum / labels.len() as f64
}

/// One resample at one token.
struct Measured {
    separation: Separation,
    shuffled: Separation,
    /// Accuracy on every two concepts, in the order of [`pairs`].
    pairs: Vec<f64>,
}

/// Every two concepts, the earlier first.
fn pairs(study: &Study) -> Vec<[usize; 2]> {
    let n = study.concepts().len();
    (0..n).flat_map(|a| (a + 1..n).map(move |b| [a, b])).collect()
}

/// Every resample at every probed token, there at the layer in `layers`: `[resamples][tokens]`.
fn measured(study: &Study, subject: &dyn Subject, layers: &[Layer]) -> Result<Vec<Vec<Measured>>, MeasureError> {
    let resamples = states_at(study, subject, layers)?;
    // States go when they are measured: they keep the products of every two of them.
    let measure = |(resample, Resample { tokens, labels }): (usize, Resample)| {
        let at_token = |states: States| {
            let permuted = study.shuffled(&labels, resample);
            Measured {
                separation: measure_separation(&states, &labels),
                shuffled: measure_separation(&states, &permuted),
                pairs: pairs(study).iter().map(|pair| told_apart(&states, &labels, pair, study)).collect(),
            }
        };
        tokens.into_values().map(at_token).collect()
    };
    Ok(resamples.into_par_iter().enumerate().map(measure).collect())
}

/// Accuracy of kNN on the states of two concepts.
fn told_apart(states: &States, labels: &[usize], pair: &[usize; 2], study: &Study) -> f64 {
    let members: Vec<usize> = (0..labels.len()).filter(|&i| pair.contains(&labels[i])).collect();
    let labels: Vec<usize> = members.iter().map(|&i| usize::from(labels[i] == pair[1])).collect();
    // There may be fewer states of two concepts than the vote over all of them takes.
    let neighbours = study.probe.neighbours.min(members.len() - 1);
    let knn = Knn { neighbours, distance: Distance::Euclidean };
    accuracy(&knn.guess(&States::new(states.rows().select_rows(&members)), &[&labels])[0])
}

fn separation_rows(resamples: &[&Measured], step: usize, layer: Layer, token: Token) -> Vec<SeparationRow> {
    let row = |statistic: Statistic, of: fn(&Measured) -> f64| {
        let OverResamples { score, lo, hi, n } =
            OverResamples::of(&resamples.iter().map(|measured| of(measured)).collect::<Vec<_>>());
        SeparationRow { step, layer, token, statistic, score, lo, hi, n }
    };
    vec![
        row(Statistic::BetweenWithin, |measured| measured.separation.between_within),
        row(Statistic::BetweenWithinShuffled, |measured| measured.shuffled.between_within),
        row(Statistic::Silhouette, |measured| measured.separation.silhouette),
        row(Statistic::SilhouetteShuffled, |measured| measured.shuffled.silhouette),
    ]
}

fn pair_rows(resamples: &[&Measured], study: &Study, step: usize, layer: Layer, token: Token) -> Vec<PairRow> {
    let name = |concept: usize| study.concepts()[concept].name.clone();
    let row = |(index, [a, b]): (usize, [usize; 2])| {
        let OverResamples { score, lo, hi, n } =
            OverResamples::of(&resamples.iter().map(|measured| measured.pairs[index]).collect::<Vec<_>>());
        PairRow { step, layer, token, concept: name(a), other: name(b), score, lo, hi, n }
    };
    pairs(study).into_iter().enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use nalgebra::DMatrix;

    use super::*;

    /// Rounding of a few dozen f64 additions.
    const ROUNDING: f64 = 1e-12;

    #[test]
    fn a_case_small_enough_for_the_head() {
        // 0 and 2 against 10 and 14 on a line.
        let states = States::new(DMatrix::from_column_slice(4, 1, &[0.0, 2.0, 10.0, 14.0]));
        let found = measure_separation(&states, &[0, 0, 1, 1]);
        // Group means 1 and 12, common mean 6.5: between 4 · 5.5², within 1 + 1 + 4 + 4.
        assert!((found.between_within - 121.0 / 10.0).abs() < ROUNDING, "{found:?}");
        let expected = ((12.0 - 2.0) / 12.0 + (10.0 - 2.0) / 10.0 + (9.0 - 4.0) / 9.0 + (13.0 - 4.0) / 13.0) / 4.0;
        assert!((found.silhouette - expected).abs() < ROUNDING, "{found:?}");
    }

    #[test]
    fn states_without_a_distance_are_not_separated() {
        let states = States::new(DMatrix::from_element(4, 2, 3.0));
        assert_eq!(measure_separation(&states, &[0, 0, 1, 1]).silhouette, 0.0);
    }

    #[test]
    fn moving_and_scaling_the_states_changes_nothing() {
        let rows = DMatrix::from_fn(12, 3, |i, j| ((i * 5 + j * 7) % 11) as f64 + if i < 6 { 0.0 } else { 4.0 });
        let labels: Vec<usize> = (0..12).map(|i| i / 6).collect();
        let [here, there] = [rows.clone(), rows.map(|value| 3.0 * value - 50.0)]
            .map(|rows| measure_separation(&States::new(rows), &labels));
        assert!((here.between_within - there.between_within).abs() < ROUNDING);
        assert!((here.silhouette - there.silhouette).abs() < ROUNDING);
    }
}
