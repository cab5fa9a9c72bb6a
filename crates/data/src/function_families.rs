//! A mixture of function families: y = f(x) + e with f linear, sparse linear, a leaky-ReLU network or quadratic, and
//! which of them is the concept.

use std::mem::discriminant;

use rand::Rng;
use rand::seq::index::sample;
use rand_distr::{Distribution, StandardNormal};
use serde::Deserialize;

use crate::checks::{check_noise, check_number, check_scale, check_size};
use crate::predictors::Regression;
use crate::{
    Basis, Concept, ConceptId, Lasso, LeastSquares, Mixture, Predictor, Prompt, PromptShape, Ridge, RidgeOnSquares,
    Task, TaskError, Zero,
};

/// A kind of random function. Every kind is scaled so that E[f(x)²] is the same.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// f(x) = a w·x with w ~ N(0, I_D) and a = σ / √D.
    Linear,
    /// The same with w masked by coordinates drawn afresh for every prompt, and a = σ / √rank.
    SparseLinear(SparseLinear),
    /// f(x) = a Σ_h v_h φ(u_h·x) with v_h ~ N(0, 1), u_h ~ N(0, I_D), φ(z) = max(z, slope·z), and
    /// a = σ √(2 / (width · D · (1 + slope²))).
    LeakyRelu(LeakyRelu),
    /// f(x) = a Σ_i w_i x_i² with w ~ N(0, I_D) and a = σ / √(3 D).
    Quadratic,
}

/// Size of [`Family::SparseLinear`].
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SparseLinear {
    /// Coordinates of w that are on.
    pub rank: usize,
}

/// Size of [`Family::LeakyRelu`].
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeakyRelu {
    /// Hidden units.
    pub width: usize,
    /// Slope of φ below zero.
    pub slope: f64,
}

/// Configuration of [`FunctionFamilies`].
///
/// | field | unit | range |
/// |---|---|---|
/// | `d_x` | coordinates | 1 … 4096 |
/// | `n_points` | pairs | 1 … 4096 |
/// | `families` | | at least one [`Family`], none twice |
/// | `families[k].sparse_linear.rank` | coordinates | 1 … `d_x` |
/// | `families[k].leaky_relu.width` | units | 1 … 4096 |
/// | `families[k].leaky_relu.slope` | | 0 … 1 |
/// | `noise_variance` | y² | 0 … 10³⁰ |
/// | `signal_std` | y | 10⁻¹⁵ … 10¹⁵ |
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionFamiliesConfig {
    /// Width of x, D.
    pub d_x: usize,
    /// Pairs in a prompt, K.
    pub n_points: usize,
    /// The concepts, equally frequent.
    pub families: Vec<Family>,
    /// Variance of the noise on y, s².
    pub noise_variance: f64,
    /// Root of the mean square of f(x) in every family, σ.
    pub signal_std: f64,
}

/// Supports that the Bayes mixture of sparse linear functions is computed for; with more there is no such predictor.
const MOST_SUPPORTS: usize = 5_000;

/// Numbers that the covariances of all supports may have together, for the same reason.
const MOST_NUMBERS: usize = 20_000_000;

impl FunctionFamiliesConfig {
    /// Checks every field.
    ///
    /// # Errors
    /// When a field is outside its range, or there is no family or one twice.
    pub fn build(self) -> Result<FunctionFamilies, TaskError> {
        check_size("task.d_x", self.d_x)?;
        check_size("task.n_points", self.n_points)?;
        check_noise(self.noise_variance)?;
        check_scale("task.signal_std", self.signal_std)?;
        if self.families.is_empty() {
            return Err(TaskError::out_of_range("task.families", "a list of at least one family", "empty"));
        }
        for (k, family) in self.families.iter().enumerate() {
            family.check(&format!("task.families[{k}]"), self.d_x)?;
            if self.families[..k].iter().any(|other| discriminant(other) == discriminant(family)) {
                let field = format!("task.families[{k}]");
                return Err(TaskError::out_of_range(field, "of another kind than those before", family.name()));
            }
        }
        let weight = 1.0 / self.families.len() as f64;
        let concepts = self.families.iter().map(|family| Concept { name: family.name().to_owned(), weight }).collect();
        Ok(FunctionFamilies { config: self, concepts })
    }
}

impl Family {
    fn name(&self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::SparseLinear(_) => "sparse linear",
            Self::LeakyRelu(_) => "leaky ReLU",
            Self::Quadratic => "quadratic",
        }
    }

    fn check(&self, field: &str, d_x: usize) -> Result<(), TaskError> {
        match self {
            Self::Linear | Self::Quadratic => Ok(()),
            Self::SparseLinear(SparseLinear { rank }) if (1..=d_x).contains(rank) => Ok(()),
            Self::SparseLinear(SparseLinear { rank }) => {
                let range = format!("between 1 and task.d_x ({d_x})");
                Err(TaskError::out_of_range(format!("{field}.sparse_linear.rank"), range, rank))
            }
            Self::LeakyRelu(LeakyRelu { width, slope }) => {
                check_size(&format!("{field}.leaky_relu.width"), *width)?;
                let range = "between 0 and 1";
                check_number(&format!("{field}.leaky_relu.slope"), range, *slope, |v| (0.0..=1.0).contains(&v))
            }
        }
    }

    /// A function of this family with E[f(x)²] = 1.
    fn draw(&self, d_x: usize, mut rng: &mut dyn Rng) -> Function {
        let on = match self {
            Self::SparseLinear(SparseLinear { rank }) => sample(&mut rng, d_x, *rank).into_vec(),
            _ => (0..d_x).collect(),
        };
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let mut on_basis = |scale: f64| {
            let mut w = vec![0.0; d_x];
            on.iter().for_each(|&i| w[i] = scale * normal());
            w
        };
        match self {
            Self::Linear | Self::SparseLinear(_) => Function::Linear(on_basis(1.0 / (on.len() as f64).sqrt())),
            Self::Quadratic => Function::Quadratic(on_basis(1.0 / (3.0 * d_x as f64).sqrt())),
            Self::LeakyRelu(LeakyRelu { width, slope }) => {
                let inner = (0..*width).map(|_| on_basis(1.0)).collect();
                let scale = (2.0 / ((width * d_x) as f64 * (1.0 + slope * slope))).sqrt();
                let outer = (0..*width).map(|_| scale * normal()).collect();
                Function::Network { inner, outer, slope: *slope }
            }
        }
    }
}

/// A function drawn from a family.
enum Function {
    /// w·x
    Linear(Vec<f64>),
    /// Σ_i w_i x_i²
    Quadratic(Vec<f64>),
    /// Σ_h outer_h φ(inner_h·x)
    Network { inner: Vec<Vec<f64>>, outer: Vec<f64>, slope: f64 },
}

impl Function {
    fn at(&self, x: &[f32]) -> f64 {
        let sum = |w: &[f64], power| w.iter().zip(x).map(|(w, &x)| w * f64::from(x).powi(power)).sum::<f64>();
        match self {
            Self::Linear(w) => sum(w, 1),
            Self::Quadratic(w) => sum(w, 2),
            Self::Network { inner, outer, slope } => {
                let phi = |z: f64| z.max(slope * z);
                inner.iter().zip(outer).map(|(u, v)| v * phi(sum(u, 1))).sum()
            }
        }
    }
}

/// The paper's mixture of function families.
///
/// x ~ N(0, I_D), f drawn from the concept's [`Family`], y = f(x) + e with e ~ N(0, s²).
///
/// The ridge predictor is optimal for linear functions, the one on squares for quadratic ones, the mixture over all
/// supports, where these can be counted, for sparse linear ones. A network of finite width has no closed form.
///
/// # Source
/// The families are named in Han et al., arXiv 2412.12276, without their sizes. Linear, sparse linear, networks and the
/// quadratic's scale follow Garg et al., arXiv 2208.01066; one scale for all families, and the slope, are ours.
#[derive(Clone, Debug)]
pub struct FunctionFamilies {
    config: FunctionFamiliesConfig,
    concepts: Vec<Concept>,
}

impl FunctionFamilies {
    /// A ridge prior over `coordinates` for a function Σ_i w_i z_i with E[z_i²] = `moment`.
    fn prior(&self, coordinates: Vec<usize>, moment: f64) -> Regression {
        let variance = self.config.signal_std.powi(2) / (moment * coordinates.len() as f64);
        Regression::prior(&Basis::from_sorted(coordinates), variance, self.config.noise_variance)
    }

    /// Bayes' answer if the function is linear on `rank` unknown coordinates.
    fn sparse_mixture(&self, rank: usize) -> Option<Mixture> {
        let supports = supports(self.config.d_x, rank)?;
        let weights = vec![1.0 / supports.len() as f64; supports.len()];
        let priors = supports.into_iter().map(|support| self.prior(support, 1.0)).collect();
        Some(Mixture { name: "sparse_mixture".to_owned(), priors, weights })
    }
}

/// All choices of `rank` of `d_x` coordinates, if they and their covariances are not too many.
fn supports(d_x: usize, rank: usize) -> Option<Vec<Vec<usize>>> {
    let mut factors = 0..rank.min(d_x - rank);
    let count = factors.try_fold(1_usize, |count, i| Some(count.checked_mul(d_x - i)? / (i + 1)))?;
    let longer = |shorter: Vec<usize>| {
        let next = shorter.last().map_or(0, |last| last + 1);
        let last = d_x - (rank - shorter.len());
        (next..=last).map(move |coordinate| [shorter.as_slice(), &[coordinate]].concat())
    };
    let grow = |found: Vec<Vec<usize>>, _| found.into_iter().flat_map(longer).collect();
    (count <= MOST_SUPPORTS && count * rank * rank <= MOST_NUMBERS).then(|| (0..rank).fold(vec![Vec::new()], grow))
}

impl Task for FunctionFamilies {
    fn shape(&self) -> PromptShape {
        PromptShape { n_points: self.config.n_points, d_x: self.config.d_x }
    }

    fn concepts(&self) -> &[Concept] {
        &self.concepts
    }

    fn sample(&self, concept: ConceptId, mut rng: &mut dyn Rng) -> Prompt {
        let function = self.config.families[concept.0].draw(self.config.d_x, rng);
        let mut normal = || -> f64 { StandardNormal.sample(&mut rng) };
        let noise_std = self.config.noise_variance.sqrt();
        let mut prompt = Prompt { concept, xs: Vec::new(), ys: Vec::new() };
        for _ in 0..self.config.n_points {
            let x: Vec<f32> = (0..self.config.d_x).map(|_| normal() as f32).collect();
            let signal = self.config.signal_std * function.at(&x);
            prompt.ys.push((signal + noise_std * normal()) as f32);
            prompt.xs.extend(x);
        }
        prompt
    }

    fn predictors(&self) -> Vec<Box<dyn Predictor>> {
        vec![Box::new(Zero), Box::new(Ridge { prior: self.prior((0..self.config.d_x).collect(), 1.0) })]
    }

    fn algorithms(&self) -> Vec<Box<dyn Predictor>> {
        let FunctionFamiliesConfig { d_x, noise_variance, signal_std, .. } = self.config;
        let lasso = Lasso::new(signal_std.powi(2) / d_x as f64, noise_variance, d_x);
        let mut algorithms: Vec<Box<dyn Predictor>> = vec![Box::new(LeastSquares), Box::new(lasso)];
        for family in &self.config.families {
            match family {
                Family::SparseLinear(SparseLinear { rank }) => {
                    algorithms.extend(self.sparse_mixture(*rank).map(|mixture| Box::new(mixture) as _));
                }
                // E[(x²)²] = 3.
                Family::Quadratic => {
                    algorithms.push(Box::new(RidgeOnSquares { prior: self.prior((0..d_x).collect(), 3.0) }));
                }
                Family::Linear | Family::LeakyRelu(_) => {}
            }
        }
        algorithms
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{Purpose, Sampler, Stream};

    /// Four standard errors of a mean square over 4,000 prompts: within a prompt all values have the function's scale,
    /// so there are hardly more than 4,000 independent ones, and their kurtosis is that of a network of few units.
    const MOMENT_TOLERANCE: f64 = 0.15;
    /// Pairs are rounded to f32, and the fits have condition numbers of thousands at worst.
    const EXACT_TOLERANCE: f64 = 1e-2;

    fn config() -> FunctionFamiliesConfig {
        FunctionFamiliesConfig {
            d_x: 6,
            n_points: 14,
            families: vec![
                Family::Linear,
                Family::SparseLinear(SparseLinear { rank: 2 }),
                Family::LeakyRelu(LeakyRelu { width: 8, slope: 0.25 }),
                Family::Quadratic,
            ],
            noise_variance: 0.0,
            signal_std: 1.5,
        }
    }

    fn prompts(config: FunctionFamiliesConfig, concept: usize, n: u64) -> Vec<Prompt> {
        let task = config.build().unwrap();
        (0..n).map(|i| task.sample(ConceptId(concept), &mut Stream::new(2, Purpose::Eval).rng(i))).collect()
    }

    /// Largest error of a predictor from pair `from` on, over prompts of one concept.
    fn worst(predictor: &dyn Predictor, prompts: &[Prompt], from: usize) -> f64 {
        let errors = |prompt: &Prompt| {
            let pairs = predictor.predict(prompt).into_iter().zip(prompt.ys.clone()).skip(from);
            pairs.map(|(p, y)| (p - f64::from(y)).abs()).fold(0.0, f64::max)
        };
        prompts.iter().map(errors).fold(0.0, f64::max)
    }

    fn named(name: &str) -> Box<dyn Predictor> {
        let task = config().build().unwrap();
        let mut all = task.predictors().into_iter().chain(task.algorithms());
        all.find(|predictor| predictor.name() == name).unwrap()
    }

    #[test]
    fn every_family_has_the_same_mean_square() {
        for noise_variance in [0.0, 0.5] {
            let config = FunctionFamiliesConfig { noise_variance, ..config() };
            let expected = 1.5 * 1.5 + noise_variance;
            for concept in 0..4 {
                let prompts = prompts(config.clone(), concept, 4000);
                let squares: f64 = prompts.iter().flat_map(|p| &p.ys).map(|&y| f64::from(y).powi(2)).sum();
                let found = squares / (4000.0 * 14.0);
                assert!((found / expected - 1.0).abs() < MOMENT_TOLERANCE, "{concept}: {found} for {expected}");
            }
        }
    }

    #[test]
    fn a_family_is_solved_by_its_own_predictor_and_by_no_simpler_one() {
        let exact = |name: &str, concept: usize, from: usize| {
            worst(named(name).as_ref(), &prompts(config(), concept, 50), from) < EXACT_TOLERANCE
        };
        assert!(exact("least_squares", 0, 6) && exact("least_squares", 1, 6));
        assert!(exact("ridge_on_squares", 3, 6) && !exact("ridge_on_squares", 0, 6));
        assert!(exact("sparse_mixture", 1, 5) && !exact("sparse_mixture", 0, 5));
        assert!(!exact("least_squares", 2, 6) && !exact("least_squares", 3, 6));
    }

    #[test]
    fn a_network_without_a_kink_is_linear() {
        let with_slope = |slope| {
            let families = vec![Family::LeakyRelu(LeakyRelu { width: 8, slope })];
            worst(&LeastSquares, &prompts(FunctionFamiliesConfig { families, ..config() }, 0, 50), 6)
        };
        assert!(with_slope(1.0) < EXACT_TOLERANCE, "{}", with_slope(1.0));
        assert!(with_slope(0.9) > EXACT_TOLERANCE);
    }

    #[test]
    fn the_optimal_predictors_are_better_than_ridge_on_their_family() {
        let noisy = Arc::new(FunctionFamiliesConfig { noise_variance: 0.1, ..config() }.build().unwrap());
        let prompts = Sampler::new(noisy.clone(), Stream::new(3, Purpose::Eval)).balanced(0, 500).unwrap();
        let all: Vec<_> = noisy.predictors().into_iter().chain(noisy.algorithms()).collect();
        let error = |name: &str, concept: usize| -> f64 {
            let predictor = all.iter().find(|predictor| predictor.name() == name).unwrap();
            let of = |prompt: &Prompt| -> f64 {
                predictor.predict(prompt).iter().zip(&prompt.ys).map(|(p, &y)| (p - f64::from(y)).powi(2)).sum()
            };
            prompts.iter().filter(|prompt| prompt.concept.0 == concept).map(of).sum()
        };
        for (best, concept) in [("ridge", 0), ("sparse_mixture", 1), ("ridge_on_squares", 3)] {
            for other in all.iter().map(|predictor| predictor.name()).filter(|name| *name != best) {
                assert!(error(best, concept) < error(other, concept), "{best} and {other} on family {concept}");
            }
        }
    }

    #[test]
    fn supports_are_all_subsets_of_a_size() {
        assert_eq!(supports(4, 2).unwrap(), [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]);
        assert_eq!(supports(20, 3).unwrap().len(), 1140);
        assert!(supports(64, 32).is_none() && supports(4096, 2).is_none() && supports(1001, 1000).is_none());
        assert_eq!(supports(33, 32).unwrap().len(), 33);
        assert_eq!(supports(4096, 4096).unwrap(), [(0..4096).collect::<Vec<_>>()]);
    }
}
