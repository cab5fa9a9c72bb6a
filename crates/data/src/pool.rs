//! A pool of finitely many weight vectors a concept: what a model that is trained on it can learn by heart.

use std::sync::Arc;

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::Deserialize;

use crate::checks::check_count;
use crate::predictors::{dot, log_normal, softmax, with_rounding};
use crate::{Basis, Predictor, Prompt, Purpose, Role, TaskError};

/// `task.pool`: training prompts take their weights from a pool, which is drawn once.
///
/// | field | unit | range |
/// |---|---|---|
/// | `size` | weight vectors a concept | 1 … 10⁶ |
/// | `seed` | | any |
/// | `measured` | | whether what is measured takes them from the pool as well |
///
/// # Source
/// Raventós et al. (2023), arXiv 2306.15063: from some size on a transformer stops to memorise the pool, and generalises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig {
    /// Weight vectors of every concept.
    pub size: usize,
    /// Where the vectors come from. It is not the run's seed: several runs can share a pool.
    pub seed: u64,
    /// Whether prompts that are evaluated, probed and patched have weights of the pool. Otherwise theirs are fresh, and only a model
    /// that generalises answers them well.
    pub measured: bool,
}

/// The pool, scaled as weights are.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    config: PoolConfig,
    w_std: f64,
    /// `[concepts][size][rank]`
    vectors: Arc<Vec<Vec<Vec<f64>>>>,
}

impl PoolConfig {
    pub(crate) fn build(self, bases: &[Basis], w_std: f64) -> Result<Pool, TaskError> {
        check_count("task.pool.size", self.size, 1_000_000)?;
        let of_basis = |(stream, basis): (u64, &Basis)| {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            rng.set_stream(stream);
            let vector = |_| {
                let normal = |_: &usize| -> f64 { StandardNormal.sample(&mut rng) };
                basis.coordinates().iter().map(normal).map(|w| w_std * w).collect()
            };
            (0..self.size).map(vector).collect()
        };
        Ok(Pool { config: self, w_std, vectors: Arc::new((0..).zip(bases).map(of_basis).collect()) })
    }
}

impl Pool {
    /// Whether prompts for `purpose` have weights of the pool.
    pub(crate) fn is_for(&self, purpose: Purpose) -> bool {
        self.config.measured || purpose == Purpose::Train
    }

    /// One of the vectors of a concept, all alike.
    pub(crate) fn draw(&self, concept: usize, rng: &mut dyn Rng) -> Vec<f64> {
        self.vectors[concept][rng.random_range(0..self.config.size)].clone()
    }

    /// The predictor that knows the pool.
    pub(crate) fn memorising(&self, bases: &[Basis], weights: Vec<f64>, noise_variance: f64) -> Memorising {
        let rank = bases.iter().map(Basis::rank).max().unwrap_or_default();
        let noise_variance = with_rounding(noise_variance, self.w_std.powi(2) * rank as f64);
        let role = if self.config.measured { Role::Optimal } else { Role::Other };
        Memorising { vectors: self.vectors.clone(), bases: bases.to_vec(), weights, noise_variance, role }
    }
}

/// The mean over the pool's weight vectors, each weighted by how well it explains the pairs so far:
/// y* = Σ_j p_j w_j·x, with p_j ∝ weight of its concept · Π N(y; w_j·x, s²).
///
/// # Source
/// The discrete minimum mean squared error predictor of Raventós et al., arXiv 2306.15063, over several concepts.
#[derive(Clone, Debug)]
pub(crate) struct Memorising {
    vectors: Arc<Vec<Vec<Vec<f64>>>>,
    bases: Vec<Basis>,
    weights: Vec<f64>,
    noise_variance: f64,
    role: Role,
}

impl Memorising {
    /// Posterior over the vectors of all concepts, concept by concept, and prediction at every pair.
    fn infer(&self, prompt: &Prompt) -> (Vec<Vec<f64>>, Vec<f64>) {
        let size = self.vectors[0].len();
        let mut log_joint: Vec<f64> =
            self.weights.iter().flat_map(|weight| std::iter::repeat_n(weight.ln(), size)).collect();
        let (mut posteriors, mut predictions) = (Vec::new(), Vec::new());
        for (x, y) in prompt.pairs() {
            let answer = |(basis, vectors): (&Basis, &Vec<Vec<f64>>)| -> Vec<f64> {
                let x_on: Vec<f64> = basis.coordinates().iter().map(|&i| x[i]).collect();
                vectors.iter().map(|w| dot(w, &x_on)).collect()
            };
            let answers: Vec<f64> = self.bases.iter().zip(self.vectors.iter()).flat_map(answer).collect();
            let posterior = softmax(&log_joint);
            predictions.push(dot(&posterior, &answers));
            posteriors.push(posterior);
            for (log_joint, answer) in log_joint.iter_mut().zip(answers) {
                *log_joint += log_normal(y - answer, self.noise_variance);
            }
        }
        (posteriors, predictions)
    }
}

impl Predictor for Memorising {
    fn name(&self) -> &str {
        "memorising"
    }

    fn role(&self) -> Role {
        self.role
    }

    fn predict(&self, prompt: &Prompt) -> Vec<f64> {
        self.infer(prompt).1
    }

    fn posterior(&self, prompt: &Prompt) -> Option<Vec<Vec<f64>>> {
        let size = self.vectors[0].len();
        let by_concept = |over: Vec<f64>| over.chunks_exact(size).map(|of| of.iter().sum()).collect();
        Some(self.infer(prompt).0.into_iter().map(by_concept).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::{Sampler, SparseRegression, SparseRegressionConfig, Stream, Task};

    fn task(size: usize, measured: bool) -> Arc<SparseRegression> {
        let pool = Some(PoolConfig { size, seed: 3, measured });
        Arc::new(SparseRegressionConfig { pool, ..SparseRegressionConfig::paper() }.build().unwrap())
    }

    fn prompts(task: &Arc<SparseRegression>, purpose: Purpose) -> Vec<Prompt> {
        Sampler::new(task.clone(), Stream::new(1, purpose)).prompts(0..200).unwrap()
    }

    /// Mean squared error over the second half of prompts.
    fn error(predictor: &dyn Predictor, prompts: &[Prompt]) -> f64 {
        let late = |prompt: &Prompt| -> f64 {
            let predictions = predictor.predict(prompt);
            let pairs = prompt.ys.iter().zip(predictions).skip(prompt.ys.len() / 2);
            pairs.map(|(&y, predicted)| (f64::from(y) - predicted).powi(2)).sum()
        };
        prompts.iter().map(late).sum::<f64>() / (10 * prompts.len()) as f64
    }

    fn named<'a>(all: &'a [Box<dyn Predictor>], name: &str) -> &'a dyn Predictor {
        all.iter().find(|predictor| predictor.name() == name).unwrap().as_ref()
    }

    #[test]
    fn training_prompts_repeat_their_weights_and_others_do_not() {
        let task = task(2, false);
        let all: Vec<_> = task.predictors().into_iter().chain(task.algorithms()).collect();
        let (memorising, bayes) = (named(&all, "memorising"), named(&all, "bayes"));
        assert_eq!([memorising.role(), bayes.role()], [Role::Other, Role::Optimal]);
        let trained = prompts(&task, Purpose::Train);
        // With two vectors a concept nothing but the noise, of variance 0.01, is left after ten pairs.
        assert!(error(memorising, &trained) < 0.012, "{}", error(memorising, &trained));
        assert!(error(bayes, &trained) > 1.2 * error(memorising, &trained));
        let fresh = prompts(&task, Purpose::Eval);
        assert!(error(memorising, &fresh) > 10.0 * error(bayes, &fresh));
    }

    #[test]
    fn what_knows_the_pool_is_optimal_where_the_pool_is_measured() {
        let task = task(2, true);
        let all = task.predictors();
        let optimal: BTreeSet<&str> =
            all.iter().filter(|it| it.role() == Role::Optimal).map(|predictor| predictor.name()).collect();
        assert_eq!(optimal, BTreeSet::from(["memorising"]));
        let measured = prompts(&task, Purpose::Eval);
        assert!(error(named(&all, "memorising"), &measured) < 0.012);
        let posterior = named(&all, "memorising").posterior(&measured[0]).unwrap();
        assert!((posterior[0].iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(posterior[19][measured[0].concept.0] > 0.99);
    }

    #[test]
    fn small_weights_without_noise_are_told_apart_as_well() {
        let pool = Some(PoolConfig { size: 4, seed: 3, measured: true });
        let small =
            SparseRegressionConfig { pool, w_std: 1e-8, noise_variance: 0.0, ..SparseRegressionConfig::paper() };
        let task = Arc::new(small.build().unwrap());
        let all = task.predictors();
        // A signal of variance 4e-16, of which nothing is left after ten pairs.
        assert!(error(named(&all, "memorising"), &prompts(&task, Purpose::Eval)) < 1e-6 * 4e-16);
    }

    #[test]
    fn a_pool_without_vectors_is_refused() {
        let pool = Some(PoolConfig { size: 0, seed: 0, measured: false });
        let config = SparseRegressionConfig { pool, ..SparseRegressionConfig::paper() };
        let error = config.build().unwrap_err().to_string();
        assert_eq!(error, "task.pool.size must be between 1 and 1000000, but is 0");
    }
}
