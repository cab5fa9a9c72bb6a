//! Products with weights that are constants.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
#[cfg(feature = "gpu")]
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use pulp::Arch;

use super::{Described, apply};
#[cfg(feature = "gpu")]
use crate::gpu::{self, GpuRuntime};
use crate::{Inputs, Kernels, Operation, cpu};

/// x W, in which no row depends on how many there are.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// The width of x.
    pub inputs: usize,
    /// The width of the result.
    pub outputs: usize,
    /// Whether W is given as `[outputs, inputs]`.
    pub transposed: bool,
}

/// What a product is computed from. W is a constant: it gets no gradient.
#[derive(Clone, Copy, Debug)]
pub struct ProductInputs<T> {
    /// W, `[inputs, outputs]` or its transpose.
    pub weight: T,
    /// `[rows, inputs]`
    pub x: T,
}

/// A product of so many rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProductOfRows {
    pub(super) product: Product,
    pub(super) rows: usize,
}

impl<T> Inputs<T, 2> for ProductInputs<T> {
    fn into_array(self) -> [T; 2] {
        [self.weight, self.x]
    }

    fn from_array([weight, x]: [T; 2]) -> Self {
        Self { weight, x }
    }
}

impl Product {
    /// The product, `[rows, outputs]`.
    pub fn apply<B: Kernels>(self, inputs: ProductInputs<Tensor<B, 2>>) -> Tensor<B, 2> {
        /// Products of fewer rows may be summed in another order, by kernels for vectors and small matrices.
        const LEAST: usize = 32;
        let ProductInputs { weight, x } = inputs;
        let [rows, inputs] = x.dims();
        if rows >= LEAST {
            return apply(ProductOfRows { product: self, rows }, [weight, x]);
        }
        let nothing = Tensor::zeros([LEAST - rows, inputs], &x.device());
        let more = Tensor::cat(vec![x, nothing], 0);
        apply(ProductOfRows { product: self, rows: LEAST }, [weight, more]).narrow(0, 0, rows)
    }
}

impl ProductOfRows {
    /// The product that gives the gradient of x from that of the result.
    fn back(self) -> Self {
        let Product { inputs, outputs, transposed } = self.product;
        let product = Product { inputs: outputs, outputs: inputs, transposed: !transposed };
        Self { product, ..self }
    }
}

impl Described<2> for ProductOfRows {
    fn ordinary<B: Backend>(&self, [weight, x]: [Tensor<B, 2>; 2]) -> Tensor<B, 2> {
        x.matmul(if self.product.transposed { weight.transpose() } else { weight })
    }
}

impl Operation<2> for ProductOfRows {
    type Inputs<T> = ProductInputs<T>;
    type Saved = ();
    #[cfg(feature = "gpu")]
    type SavedOnGpu<R: CubeRuntime> = ();

    fn shape(&self) -> Vec<usize> {
        vec![self.rows, self.product.outputs]
    }

    fn forward(&self, _: Arch, inputs: ProductInputs<&[f32]>, _: bool) -> (Vec<f32>, ()) {
        (cpu::product(self.product, inputs), ())
    }

    fn backward(
        &self,
        _: Arch,
        inputs: ProductInputs<&[f32]>,
        (): &(),
        gradient: &[f32],
    ) -> ProductInputs<Option<Vec<f32>>> {
        let of_x = cpu::product(self.back().product, ProductInputs { x: gradient, ..inputs });
        ProductInputs { weight: None, x: Some(of_x) }
    }

    #[cfg(feature = "gpu")]
    fn forward_on_gpu<R: GpuRuntime>(&self, inputs: ProductInputs<CubeTensor<R>>) -> (CubeTensor<R>, ()) {
        (gpu::ordinary(self, inputs.into_array()), ())
    }

    #[cfg(feature = "gpu")]
    fn backward_on_gpu<R: GpuRuntime>(
        &self,
        inputs: ProductInputs<CubeTensor<R>>,
        (): &(),
        gradient: CubeTensor<R>,
    ) -> ProductInputs<Option<CubeTensor<R>>> {
        ProductInputs { weight: None, x: Some(gpu::ordinary(&self.back(), [inputs.weight, gradient])) }
    }
}
