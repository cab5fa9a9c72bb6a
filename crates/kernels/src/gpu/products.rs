//! Products of matrices: by our kernel where tensor cores can take them, by one of CubeCL's elsewhere.

use burn::tensor::DType;
use burn_cubecl::CubeRuntime;
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
use burn_cubecl::kernel::{cast, into_contiguous};
use burn_cubecl::tensor::CubeTensor;

use super::epilogue::Epilogue;
use super::tensor_cores::{self, Contiguous, Plan};
use super::{F64_PRODUCTS, VECTOR, arg, by_element, rows, shaped};

/// Rows and columns of the result that a cube of a product's kernel works on, about.
const TILE: usize = 64;

/// Tiles that keep a GPU busy.
const TILES: usize = 384;

/// Why a product never fails.
const SUPPORTED: &str = "there is a kernel for every product of matrices";

/// What is done with a product as it is written.
pub(super) enum Then<'a, R: CubeRuntime> {
    /// Nothing.
    Nothing,
    /// A bias is added.
    Add(&'a CubeTensor<R>),
    /// A bias and the residual stream are added.
    AddStream([&'a CubeTensor<R>; 2]),
    /// The GELU of it and a bias is written into another matrix.
    Gelu([&'a CubeTensor<R>; 2]),
    /// It is the gradient of a GELU of a bias and a matrix, and becomes that of their sum.
    GeluGradient([&'a CubeTensor<R>; 2]),
}

/// The product of two matrices, either of which may be a [`transposed`] one, in TF32 where tensor cores do it and then
/// in `room`.
pub(super) fn product<R: CubeRuntime>(
    a: &CubeTensor<R>,
    b: &CubeTensor<R>,
    then: Then<R>,
    room: &CubeTensor<R>,
) -> CubeTensor<R> {
    if let Some(layouts) = layouts(a, b) {
        return launch(layouts, a, b, then, room);
    }
    let product = if F64_PRODUCTS {
        let [a, b] = [a, b].map(|factor| cast(factor.clone(), DType::F64));
        let product = matmul(a, b, None, MatmulStrategy::default(), DType::F64).expect(SUPPORTED);
        into_contiguous(cast(product, DType::F32))
    } else {
        let room = Some(room.clone());
        matmul(a.clone(), b.clone(), room, MatmulStrategy::default(), DType::F32).expect(SUPPORTED)
    };
    finish(&product, then);
    product
}

/// Does what follows a product in a launch of its own.
fn finish<R: CubeRuntime>(product: &CubeTensor<R>, then: Then<R>) {
    let ((count, dim), width) = (by_element(product), product.meta.shape()[1]);
    let (client, values) = (&product.client, arg(product));
    match then {
        Then::Nothing => {}
        Then::Add(bias) => rows::add_bias::launch(client, count, dim, values, arg(bias), width),
        Then::AddStream([bias, stream]) => {
            rows::add_stream::launch(client, count, dim, arg(stream), arg(bias), values, width);
        }
        Then::Gelu([bias, active]) => {
            rows::bias_gelu::launch(client, count, dim, values, arg(bias), arg(active), width)
        }
        Then::GeluGradient([bias, hidden]) => {
            rows::bias_gelu_gradient::launch(client, count, dim, arg(hidden), arg(bias), values, width);
        }
    }
}

/// The product by our kernel, into `out`.
fn launch<R: CubeRuntime>(
    layouts: [Contiguous; 2],
    a: &CubeTensor<R>,
    b: &CubeTensor<R>,
    then: Then<R>,
    out: &CubeTensor<R>,
) -> CubeTensor<R> {
    let (epilogue, [bias, other, active]) = match then {
        Then::Nothing => (Epilogue::Plain, [a, a, a]),
        Then::Add(bias) => (Epilogue::Bias, [bias, a, a]),
        Then::AddStream([bias, stream]) => (Epilogue::Sum, [bias, stream, a]),
        Then::Gelu([bias, active]) => (Epilogue::Gelu, [bias, a, active]),
        Then::GeluGradient([bias, hidden]) => (Epilogue::GeluGradient, [bias, hidden, a]),
    };
    let ([rows, terms], [_, columns]) = (last_two(a.meta.shape()), last_two(b.meta.shape()));
    let plan = Plan { layouts, epilogue };
    let (count, dim) = tensor_cores::cubes([rows, columns], a.meta.shape().num_elements() / (rows * terms));
    let [a, b, bias, other, product, active] = [a, b, bias, other, out, active].map(arg);
    let [rows, columns, terms] = [rows, columns, terms].map(|size| size as u32);
    #[expect(unsafe_code, reason = "no bounds are checked; the kernel stays within its shapes")]
    unsafe {
        tensor_cores::multiply::launch_unchecked(
            &out.client,
            count,
            dim,
            a,
            b,
            bias,
            other,
            product,
            active,
            rows,
            columns,
            terms,
            plan,
        );
    }
    out.clone()
}

fn last_two(sizes: &[usize]) -> [usize; 2] {
    *sizes.last_chunk().expect("matrices have two dimensions")
}

/// How two factors lie in memory, if tensor cores can take them.
fn layouts<R: CubeRuntime>(a: &CubeTensor<R>, b: &CubeTensor<R>) -> Option<[Contiguous; 2]> {
    let [[rows, terms], [_, columns]] = [a, b].map(|factor| last_two(factor.meta.shape()));
    let [a_along, b_along] = [a, b].map(|factor| factor.meta.strides().last() == Some(&1));
    let (a_layout, a_width) = if a_along { (Contiguous::Summed, terms) } else { (Contiguous::Kept, rows) };
    let (b_layout, b_width) = if b_along { (Contiguous::Kept, columns) } else { (Contiguous::Summed, terms) };
    let wide = [a_width, b_width, columns].iter().all(|width| width.is_multiple_of(VECTOR));
    (wide && tensor_cores::available(&a.client)).then_some([a_layout, b_layout])
}

/// Parts to cut many rows into for a product of so many columns over them, which alone would not keep a GPU busy.
/// `sequences` is a number of equal parts that can be made.
pub(super) fn parts([n, m]: [usize; 2], sequences: usize) -> usize {
    let tiles = n.div_ceil(TILE) * m.div_ceil(TILE);
    let mut parts = 1;
    while !F64_PRODUCTS && parts * tiles < TILES && sequences.is_multiple_of(2 * parts) {
        parts *= 2;
    }
    parts
}

/// aᵀ b of two matrices of many rows, in `room`, which has a row for every one of the [`parts`], whose products are to be
/// added up.
pub(super) fn product_over_rows<R: CubeRuntime>(
    a: &CubeTensor<R>,
    b: &CubeTensor<R>,
    room: CubeTensor<R>,
) -> CubeTensor<R> {
    let [rows, n, m] = [a.meta.shape()[0], a.meta.shape()[1], b.meta.shape()[1]];
    let parts = room.meta.shape()[0];
    if parts == 1 {
        return shaped(product(&transposed(a), b, Then::Nothing, &shaped(room, &[n, m])), &[1, n * m]);
    }
    let [mut a, b] = [(a, n), (b, m)].map(|(matrix, width)| shaped(matrix.clone(), &[parts, rows / parts, width]));
    a.meta.swap(1, 2);
    shaped(product(&a, &b, Then::Nothing, &shaped(room, &[parts, n, m])), &[parts, n * m])
}

/// The same matrix seen the other way round.
pub(super) fn transposed<R: CubeRuntime>(matrix: &CubeTensor<R>) -> CubeTensor<R> {
    let mut seen = matrix.clone();
    seen.meta.swap(0, 1);
    seen
}

#[cfg(all(test, feature = "cuda", not(feature = "cuda-f64")))]
mod tests {
    use burn::backend::Cuda;
    use burn::tensor::{Tensor, TensorData, TensorPrimitive};
    use burn_cubecl::tensor::CubeTensor;
    use rand::{RngExt, SeedableRng};

    use super::*;

    type Matrix = CubeTensor<cubecl_cuda::CudaRuntime>;

    fn random(len: usize, rng: &mut impl rand::Rng) -> Vec<f32> {
        (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
    }

    fn device(values: &[f32], shape: [usize; 2]) -> Matrix {
        let tensor = Tensor::<Cuda, 1>::from_data(TensorData::from(values), &Default::default());
        shaped(tensor.into_primitive().tensor(), &shape)
    }

    fn host(matrix: &Matrix) -> Vec<f32> {
        let flat = shaped(matrix.clone(), &[matrix.meta.shape().num_elements()]);
        Tensor::<Cuda, 1>::from_primitive(TensorPrimitive::Float(flat)).into_data().to_vec().expect("products are f32")
    }

    /// The largest error over the root mean square of what is expected.
    fn error(found: &Matrix, expected: &[f64]) -> f64 {
        let errors = host(found).into_iter().zip(expected).map(|(found, expected)| (f64::from(found) - expected).abs());
        let scale = (expected.iter().map(|value| value * value).sum::<f64>() / expected.len() as f64).sqrt();
        errors.fold(0.0, |worst, error| if error <= worst { worst } else { error }) / scale
    }

    /// The product, and random matrices to go on with: a row, and two of the product's size.
    struct Case {
        factors: [Matrix; 2],
        product: Vec<f64>,
        shape: [usize; 2],
        more: [Vec<f32>; 3],
    }

    fn case([rows, columns, terms]: [usize; 3], turned: [bool; 2]) -> Case {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(0);
        let [a, b] = [rows * terms, terms * columns].map(|len| random(len, &mut rng));
        let a_at = |row, term| f64::from(a[if turned[0] { term * rows + row } else { row * terms + term }]);
        let b_at = |term, column| f64::from(b[if turned[1] { column * terms + term } else { term * columns + column }]);
        let number = |i: usize| (0..terms).map(|term| a_at(i / columns, term) * b_at(term, i % columns)).sum();
        let factor = |values: &[f32], shape: [usize; 2], turned: bool| match turned {
            true => transposed(&device(values, [shape[1], shape[0]])),
            false => device(values, shape),
        };
        Case {
            factors: [factor(&a, [rows, terms], turned[0]), factor(&b, [terms, columns], turned[1])],
            product: (0..rows * columns).map(number).collect(),
            shape: [rows, columns],
            more: [columns, rows * columns, rows * columns].map(|len| random(len, &mut rng)),
        }
    }

    const SIZES: [[usize; 3]; 7] =
        [[1, 4, 4], [130, 72, 40], [64, 64, 32], [200, 8, 1000], [36, 260, 20], [5, 3, 7], [128, 128, 37]];

    /// Cut to TF32, each factor is off by up to 6e-4 of itself.
    const BOUND: f64 = 3e-3;

    #[test]
    fn products_are_those_of_f64_however_factors_lie() {
        for sizes in SIZES {
            for turned in [[false, false], [false, true], [true, false], [true, true]] {
                let Case { factors: [a, b], product: expected, shape, .. } = case(sizes, turned);
                let room = device(&vec![f32::NAN; expected.len()], shape);
                let error = error(&product(&a, &b, Then::Nothing, &room), &expected);
                assert!(error < BOUND, "{sizes:?}, {turned:?}: {error}");
            }
        }
    }

    #[test]
    fn what_follows_a_product_is_that_of_f64() {
        let gelu = |x: f64| x / (1.0 + (-(8.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).exp());
        let slope = |x: f64| (gelu(x + 1e-5) - gelu(x - 1e-5)) / 2e-5;
        for sizes in SIZES {
            let Case { factors: [a, b], product: plain, shape, more: [row, stream, other] } = case(sizes, [false; 2]);
            let [bias, stream_there] = [device(&row, [1, shape[1]]), device(&stream, shape)];
            let expected = |number: &dyn Fn(f64, f64, f64) -> f64| -> Vec<f64> {
                let numbers = plain.iter().zip(&stream).enumerate();
                numbers.map(|(i, (&x, &s))| number(x, f64::from(row[i % shape[1]]), f64::from(s))).collect()
            };
            let found = |then: Then<_>| product(&a, &b, then, &device(&vec![f32::NAN; plain.len()], shape));
            let active = device(&other, shape);
            for (name, found, expected) in [
                ("bias", found(Then::Add(&bias)), expected(&|x, bias, _| x + bias)),
                ("stream", found(Then::AddStream([&bias, &stream_there])), expected(&|x, bias, s| x + bias + s)),
                ("before GELU", found(Then::Gelu([&bias, &active])), expected(&|x, _, _| x)),
                ("GELU", active.clone(), expected(&|x, bias, _| gelu(x + bias))),
                (
                    "slope",
                    found(Then::GeluGradient([&bias, &stream_there])),
                    expected(&|x, bias, s| x * slope(s + bias)),
                ),
            ] {
                let error = error(&found, &expected);
                assert!(error < BOUND, "{sizes:?}, {name}: {error}");
            }
        }
    }
}
