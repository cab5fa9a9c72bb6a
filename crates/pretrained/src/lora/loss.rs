//! The loss over the tokens of answers, with its gradient written by hand: logits are there for a few rows at a time.

use burn::tensor::{Int, Tensor, TensorData};
use kernels::{Kernels, Product, ProductInputs};

use crate::head::capped;

/// Rows whose logits are in memory at a time.
const ROWS: usize = 64;

/// The map from normalised states to logits.
pub(crate) struct Logits<'a, B: Kernels> {
    /// `[vocabulary, d_model]`
    pub(crate) weight: &'a Tensor<B, 2>,
    /// Logits l become cap · tanh(l / cap).
    pub(crate) cap: Option<f32>,
}

/// A sum of −ln p over rows, and its gradient.
pub(crate) struct CrossEntropy<B: Kernels> {
    pub(crate) sum: f64,
    /// `[rows, d_model]`
    pub(crate) gradient: Tensor<B, 2>,
}

impl<B: Kernels> Logits<'_, B> {
    /// −Σ ln p of the tokens asked for, one a row of `states`.
    ///
    /// With logits l, p = exp(l − max) / Σ exp(l − max); the gradient of −ln p of token a is (Σ p W) − W[a].
    pub(crate) fn cross_entropy(&self, states: &Tensor<B, 2>, asked: &[u32]) -> CrossEntropy<B> {
        let parts = asked
            .chunks(ROWS)
            .enumerate()
            .map(|(number, asked)| self.of_rows(states.clone().narrow(0, number * ROWS, asked.len()), asked));
        let (sums, gradients): (Vec<f64>, Vec<_>) = parts.map(|part| (part.sum, part.gradient)).unzip();
        CrossEntropy { sum: sums.iter().sum(), gradient: Tensor::cat(gradients, 0) }
    }

    fn of_rows(&self, states: Tensor<B, 2>, asked: &[u32]) -> CrossEntropy<B> {
        let device = states.device();
        let tokens: Vec<i32> = asked.iter().map(|&token| token as i32).collect();
        let tokens = Tensor::<B, 1, Int>::from_data(TensorData::new(tokens, [asked.len()]), &device);
        let places = tokens.clone().reshape([asked.len(), 1]);
        let [vocabulary, d_model] = self.weight.dims();
        let product = Product { inputs: d_model, outputs: vocabulary, transposed: true };
        let logits = product.apply(ProductInputs { weight: self.weight.clone(), x: states });
        let logits = capped(logits, self.cap);
        let most = logits.clone().max_dim(1);
        let of_asked = logits.clone().gather(1, places.clone());
        // d cap·tanh(l / cap) / dl = 1 − tanh².
        let slopes = self.cap.map(|cap| (logits.clone() / cap).powi_scalar(2).neg() + 1.0);
        let shares = (logits - most.clone()).exp();
        let sum = shares.clone().sum_dim(1);
        let losses = sum.clone().log() + most - of_asked;
        let rows_of_asked = self.weight.clone().select(0, tokens);
        let (shares, rows_of_asked) = match slopes {
            Some(slopes) => (shares * slopes.clone(), rows_of_asked * slopes.gather(1, places)),
            None => (shares, rows_of_asked),
        };
        let gradient = shares.matmul(self.weight.clone()) / sum - rows_of_asked;
        let losses = losses.into_data().to_vec::<f32>().expect("losses are f32");
        CrossEntropy { sum: losses.into_iter().map(f64::from).sum(), gradient }
    }
}

#[cfg(test)]
mod tests {
    use burn::backend::{Autodiff, NdArray};
    use burn::tensor::activation;
    use burn_flex::Flex;
    use data::{Purpose, Stream};
    use rand::RngExt;

    use super::*;

    /// Largest difference, over the largest value: both sides are in f32.
    const TOLERANCE: f32 = 1e-5;

    fn noise(shape: [usize; 2], seed: u64) -> TensorData {
        let mut rng = Stream::new(seed, Purpose::Init).rng(0);
        TensorData::new((0..shape[0] * shape[1]).map(|_| rng.random_range(-2.0..2.0)).collect::<Vec<f32>>(), shape)
    }

    /// More rows than fit at a time, with and without a cap, against autodiff.
    #[test]
    fn the_gradient_is_that_of_autodiff() {
        let (rows, d, vocabulary) = (ROWS + 5, 12, 50);
        let asked: Vec<u32> = (0..rows as u32).map(|row| (7 * row + 3) % vocabulary as u32).collect();
        for cap in [None, Some(2.5)] {
            let device = Default::default();
            let weight = Tensor::<Flex, 2>::from_data(noise([vocabulary, d], 1), &device);
            let states = Tensor::<Flex, 2>::from_data(noise([rows, d], 2), &device);
            let found = Logits { weight: &weight, cap }.cross_entropy(&states, &asked);

            type Reference = Autodiff<NdArray>;
            let device = Default::default();
            let weight = Tensor::<Reference, 2>::from_data(noise([vocabulary, d], 1), &device);
            let states = Tensor::<Reference, 2>::from_data(noise([rows, d], 2), &device).require_grad();
            let logits = states.clone().matmul(weight.transpose());
            let logits = cap.map_or(logits.clone(), |cap| (logits / cap).tanh() * cap);
            let places: Vec<i32> = asked.iter().map(|&token| token as i32).collect();
            let places = Tensor::<Reference, 2, Int>::from_data(TensorData::new(places, [rows, 1]), &device);
            let loss = activation::log_softmax(logits, 1).gather(1, places).sum().neg();
            let expected: Vec<f32> = states.grad(&loss.backward()).unwrap().into_data().to_vec().unwrap();
            let gradient: Vec<f32> = found.gradient.into_data().to_vec().unwrap();
            let most = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            assert!(gradient.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= TOLERANCE * most), "{cap:?}");
            let loss = f64::from(loss.into_scalar());
            assert!((found.sum / loss - 1.0).abs() < f64::from(TOLERANCE), "{cap:?}: {} against {loss}", found.sum);
        }
    }
}
