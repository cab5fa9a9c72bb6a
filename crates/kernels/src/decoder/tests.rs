//! Every operation is held to its ordinary form on another backend, on results and gradients.

use burn::backend::{Autodiff, NdArray};
use burn_flex::Flex;
use rand::{RngExt, SeedableRng};

use super::product::ProductOfRows;
use super::*;

/// Largest difference, over the largest value of the reference.
const TOLERANCE: f32 = 3e-6;

fn noise(shape: [usize; 2], seed: u64) -> Vec<f32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..shape[0] * shape[1]).map(|_| rng.random_range(-2.0..2.0)).collect()
}

/// The result, and the gradient of the last input when the result's is noise.
fn both<B: Kernels, O: Described<N>, const N: usize>(operation: &O, shapes: [[usize; 2]; N]) -> [Vec<f32>; 2]
where
    Autodiff<B>: Kernels,
{
    let device = Default::default();
    let tensor = |shape: [usize; 2], seed| {
        Tensor::<Autodiff<B>, 2>::from_data(burn::tensor::TensorData::new(noise(shape, seed), shape), &device)
    };
    let mut inputs: Vec<_> = shapes.iter().enumerate().map(|(seed, shape)| tensor(*shape, seed as u64)).collect();
    let last = inputs.pop().unwrap().require_grad();
    inputs.push(last.clone());
    let result = apply(operation.clone(), inputs.try_into().unwrap());
    let weights = tensor(result.dims(), 99);
    let gradients = (result.clone() * weights).sum().backward();
    let host = |data: burn::tensor::TensorData| data.to_vec().unwrap();
    [host(result.into_data()), host(last.grad(&gradients).unwrap().into_data())]
}

fn check<O: Described<N>, const N: usize>(operation: O, shapes: [[usize; 2]; N]) {
    let found = both::<Flex, O, N>(&operation, shapes);
    let expected = both::<NdArray, O, N>(&operation, shapes);
    for ((found, expected), what) in found.iter().zip(&expected).zip(["result", "gradient"]) {
        assert_eq!(found.len(), expected.len());
        let most = expected.iter().fold(0.0f32, |most, x| most.max(x.abs()));
        assert!(most > 0.1, "{operation:?}: the {what} must not be nothing");
        let off = found.iter().zip(expected).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(off <= TOLERANCE * most, "{operation:?}: the {what} is {off} off, of at most {most}");
    }
}

#[test]
fn norms_are_their_ordinary_form() {
    for (centred, width) in [(false, 37), (true, 37), (true, 64), (false, 5)] {
        let norm = Normalize { centred, epsilon: 1e-3, shape: [7, width] };
        check(norm, [[1, width], [1, width], [7, width]]);
    }
}

#[test]
fn products_are_their_ordinary_form() {
    let [rows, inputs, outputs] = [40, 21, 33];
    for (transposed, shape) in [(false, [inputs, outputs]), (true, [outputs, inputs])] {
        check(ProductOfRows { product: Product { inputs, outputs, transposed }, rows }, [shape, [rows, inputs]]);
    }
}

#[test]
fn no_row_of_a_product_depends_on_how_many_there_are() {
    let [inputs, outputs] = [72, 33];
    let product = Product { inputs, outputs, transposed: false };
    let of = |rows: usize| -> Vec<f32> {
        let tensor = |shape, seed| {
            Tensor::<Flex, 2>::from_data(burn::tensor::TensorData::new(noise(shape, seed), shape), &Default::default())
        };
        let x = tensor([100, inputs], 2).narrow(0, 0, rows);
        product.apply(ProductInputs { weight: tensor([inputs, outputs], 1), x }).into_data().to_vec().unwrap()
    };
    let all = of(100);
    for rows in [1, 2, 3, 17, 32, 33, 99] {
        assert_eq!(of(rows), all[..rows * outputs], "{rows} rows");
    }
}

#[test]
fn gates_are_their_ordinary_form() {
    for activation in [Activation::Silu, Activation::Gelu, Activation::GeluTanh] {
        check(Gate { activation, gated: false, shape: [5, 33] }, [[5, 33]]);
        check(Gate { activation, gated: true, shape: [5, 33] }, [[5, 66]]);
    }
}

/// Three sequences and a branch that leaves the second one.
fn attention() -> Attend {
    let spans =
        [Span::whole(0, 5), Span::whole(5, 9), Span { start: 14, len: 3, from: Some((5, 4)) }, Span::whole(17, 1)];
    let rope = Rope::new(16, &[1.0, 0.3, 0.05]);
    let (heads, kv_heads, d_head) = (6, 2, 8);
    Attend { spans: spans.into(), heads, kv_heads, d_head, scale: 0.4, cap: None, window: None, rope: rope.into() }
}

#[test]
fn attention_is_its_ordinary_form() {
    let whole = Rope::new(16, &[1.0, 0.3, 0.05, 0.01]);
    for cap in [None, Some(1.5)] {
        for window in [None, Some(3)] {
            check(Attend { cap, window, ..attention() }, [[18, 80]]);
            check(Attend { cap, window, rope: whole.clone().into(), ..attention() }, [[18, 80]]);
        }
    }
}

#[test]
fn a_branch_with_the_same_rows_is_the_sequence_it_left() {
    let attend = attention();
    let mut rows = noise([18, 80], 3);
    let same = rows[9 * 80..12 * 80].to_vec();
    rows[14 * 80..17 * 80].copy_from_slice(&same);
    let data = burn::tensor::TensorData::new(rows, [18, 80]);
    let found: Vec<f32> =
        attend.apply(Tensor::<Flex, 2>::from_data(data, &Default::default())).into_data().to_vec().unwrap();
    let width = 6 * 8;
    for (a, b) in found[14 * width..17 * width].iter().zip(&found[9 * width..12 * width]) {
        assert!((a - b).abs() < 1e-6, "{a} {b}");
    }
}

#[test]
fn the_exact_gelu_has_all_its_digits() {
    let x: Vec<f32> = (-600..=600).map(|i| i as f32 * 0.01).collect();
    let gate = Gate { activation: Activation::Gelu, gated: false, shape: [1, x.len()] };
    let data = burn::tensor::TensorData::new(x.clone(), gate.shape);
    let found: Vec<f32> =
        gate.apply(Tensor::<Flex, 2>::from_data(data, &Default::default())).into_data().to_vec().unwrap();
    // Φ by Simpson's rule from 0, in f64.
    let cumulative = |x: f64| {
        let (n, density) = (2000, |t: f64| (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt());
        let h = x / f64::from(n);
        let inner: f64 = (1..n).map(|i| density(h * f64::from(i)) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        0.5 + (density(0.0) + inner + density(x)) * h / 3.0
    };
    for (found, x) in found.into_iter().zip(x.into_iter().map(f64::from)) {
        let expected = x * cumulative(x);
        assert!((f64::from(found) - expected).abs() < 4e-7 * x.abs().max(1.0), "gelu({x}) = {found}, not {expected}");
    }
}
