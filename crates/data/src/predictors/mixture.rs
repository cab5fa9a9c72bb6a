//! Bayesian mixtures of regressions, the optimal predictor among them.

use super::{Predictor, Regression};
use crate::{Prompt, Role};

/// Regressions, one of which made the prompt, and how probable each is before any pair:
/// y* = Σ_k p_k · E[y | regression k], with p_k ∝ weight_k · N(y; 0, v_k X_k X_kᵀ + s² I), v_k the variance of its weights
/// and s² the noise's.
///
/// # Source
/// Bayes' rule; the paper names the optimal predictor and gives no formula.
#[derive(Clone, Debug)]
pub struct Mixture {
    pub(crate) name: String,
    pub(crate) priors: Vec<Regression>,
    pub(crate) weights: Vec<f64>,
}

impl Mixture {
    /// Posterior and prediction at every pair, in one pass.
    fn infer(&self, prompt: &Prompt) -> (Vec<Vec<f64>>, Vec<f64>) {
        let mut regressions = self.priors.clone();
        let mut log_joint: Vec<f64> = self.weights.iter().map(|weight| weight.ln()).collect();
        let mut posteriors = Vec::with_capacity(prompt.ys.len());
        let mut predictions = Vec::with_capacity(prompt.ys.len());
        for (x, y) in prompt.pairs() {
            let posterior = softmax(&log_joint);
            predictions.push(posterior.iter().zip(&regressions).map(|(p, regression)| p * regression.mean(&x)).sum());
            posteriors.push(posterior);
            for (log_joint, regression) in log_joint.iter_mut().zip(&mut regressions) {
                *log_joint += regression.observe(&x, y);
            }
        }
        (posteriors, predictions)
    }
}

impl Predictor for Mixture {
    fn name(&self) -> &str {
        &self.name
    }

    fn predict(&self, prompt: &Prompt) -> Vec<f64> {
        self.infer(prompt).1
    }
}

/// The mixture of exactly the concepts' regressions: the optimal predictor, which knows their posterior.
#[derive(Clone, Debug)]
pub struct BayesMixture {
    mixture: Mixture,
}

impl BayesMixture {
    /// Of one regression and one prior probability a concept.
    pub(crate) fn new(priors: Vec<Regression>, weights: Vec<f64>) -> Self {
        Self { mixture: Mixture { name: "bayes".to_owned(), priors, weights } }
    }
}

impl Predictor for BayesMixture {
    fn name(&self) -> &str {
        self.mixture.name()
    }

    fn role(&self) -> Role {
        Role::Optimal
    }

    fn predict(&self, prompt: &Prompt) -> Vec<f64> {
        self.mixture.predict(prompt)
    }

    fn posterior(&self, prompt: &Prompt) -> Option<Vec<Vec<f64>>> {
        Some(self.mixture.infer(prompt).0)
    }
}

pub(crate) fn softmax(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exp: Vec<f64> = logits.iter().map(|logit| (logit - max).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.into_iter().map(|value| value / sum).collect()
}

#[cfg(test)]
mod tests {
    use crate::{ConceptId, Purpose, SparseRegressionConfig, Stream, Task};

    #[test]
    fn the_posterior_is_a_distribution_that_starts_at_the_prior() {
        let config =
            SparseRegressionConfig { weights: Some(vec![1.0, 2.0, 3.0, 4.0]), ..SparseRegressionConfig::paper() };
        let task = config.build().unwrap();
        let prompt = task.sample(ConceptId(3), &mut Stream::new(0, Purpose::Eval).rng(1));
        let posterior = task.predictors()[2].posterior(&prompt).unwrap();
        for (found, expected) in posterior[0].iter().zip([0.1, 0.2, 0.3, 0.4]) {
            assert!((found - expected).abs() < 1e-12);
        }
        assert!(posterior.iter().all(|over| (over.iter().sum::<f64>() - 1.0).abs() < 1e-12));
    }
}
