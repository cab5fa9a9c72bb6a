//! The embedding and the readout of the model as one operation each.

#[cfg(feature = "gpu")]
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use pulp::Arch;

#[cfg(feature = "gpu")]
use crate::gpu::{self, GpuRuntime};
use crate::{Inputs, Linear, Norm, Operation, cpu};

/// The embedding of the first tokens of some sequences x1 y1 x2 y2 …: a linear map of each, plus its position. A y token
/// is (y, 0, …, 0).
#[derive(Clone, Copy, Debug)]
pub struct Embed {
    /// Sequences.
    pub prompts: usize,
    /// Tokens of a sequence that are wanted.
    pub tokens: usize,
    /// Width of the residual stream.
    pub d_model: usize,
}

/// What an embedding is computed from. x and y are constants: they get no gradient.
#[derive(Clone, Copy, Debug)]
pub struct EmbedInputs<T> {
    /// From a token to the residual stream, `[d_x, d_model]` and `[d_model]`.
    pub linear: Linear<T>,
    /// `[seq_len, d_model]`
    pub positions: T,
    /// `[prompts, n_points, d_x]`
    pub xs: T,
    /// `[prompts, n_points]`
    pub ys: T,
}

/// The readout: the norm of every row of the residual stream, then a linear map to one number.
#[derive(Clone, Copy, Debug)]
pub struct ReadOut {
    /// Of the predictions, `[prompts, n_points]`.
    pub shape: [usize; 2],
}

/// What a readout is computed from.
#[derive(Clone, Copy, Debug)]
pub struct ReadOutInputs<T> {
    /// Scale and shift, `[d_model]`.
    pub norm: Norm<T>,
    /// From the residual stream to a prediction, `[d_model, 1]` and `[1]`.
    pub linear: Linear<T>,
    /// The residual stream, with a row for every prediction, `[prompts, n_points, d_model]`.
    pub h: T,
}

impl<T> Inputs<T, 5> for EmbedInputs<T> {
    fn into_array(self) -> [T; 5] {
        [self.linear.weight, self.linear.bias, self.positions, self.xs, self.ys]
    }

    fn from_array([weight, bias, positions, xs, ys]: [T; 5]) -> Self {
        Self { linear: Linear { weight, bias }, positions, xs, ys }
    }
}

impl<T> Inputs<T, 5> for ReadOutInputs<T> {
    fn into_array(self) -> [T; 5] {
        [self.norm.gamma, self.norm.beta, self.linear.weight, self.linear.bias, self.h]
    }

    fn from_array([gamma, beta, weight, bias, h]: [T; 5]) -> Self {
        Self { norm: Norm { gamma, beta }, linear: Linear { weight, bias }, h }
    }
}

impl<T> EmbedInputs<Option<T>> {
    /// The gradients, of which the constants have none.
    fn of_parameters(linear: Linear<T>, positions: T) -> Self {
        let Linear { weight, bias } = linear;
        let linear = Linear { weight: Some(weight), bias: Some(bias) };
        Self { linear, positions: Some(positions), xs: None, ys: None }
    }
}

impl Operation<5> for Embed {
    type Inputs<T> = EmbedInputs<T>;
    type Saved = ();
    #[cfg(feature = "gpu")]
    type SavedOnGpu<R: CubeRuntime> = CubeTensor<R>;

    fn shape(&self) -> Vec<usize> {
        vec![self.prompts, self.tokens, self.d_model]
    }

    fn forward(&self, arch: Arch, inputs: EmbedInputs<&[f32]>, _: bool) -> (Vec<f32>, ()) {
        (cpu::embed(*self, arch, inputs), ())
    }

    fn backward(
        &self,
        arch: Arch,
        inputs: EmbedInputs<&[f32]>,
        (): &(),
        gradient: &[f32],
    ) -> EmbedInputs<Option<Vec<f32>>> {
        let (linear, positions) = cpu::embed_gradient(*self, arch, inputs, gradient);
        EmbedInputs::of_parameters(linear, positions)
    }

    #[cfg(feature = "gpu")]
    fn forward_on_gpu<R: GpuRuntime>(&self, inputs: EmbedInputs<CubeTensor<R>>) -> (CubeTensor<R>, CubeTensor<R>) {
        gpu::embed(self, inputs)
    }

    #[cfg(feature = "gpu")]
    fn backward_on_gpu<R: GpuRuntime>(
        &self,
        inputs: EmbedInputs<CubeTensor<R>>,
        read: &CubeTensor<R>,
        gradient: CubeTensor<R>,
    ) -> EmbedInputs<Option<CubeTensor<R>>> {
        let (linear, positions) = gpu::embed_gradient(self, inputs, read, gradient);
        EmbedInputs::of_parameters(linear, positions)
    }
}

impl Operation<5> for ReadOut {
    type Inputs<T> = ReadOutInputs<T>;
    type Saved = cpu::SavedNorm;
    #[cfg(feature = "gpu")]
    type SavedOnGpu<R: CubeRuntime> = CubeTensor<R>;

    fn shape(&self) -> Vec<usize> {
        self.shape.to_vec()
    }

    fn forward(&self, arch: Arch, inputs: ReadOutInputs<&[f32]>, _: bool) -> (Vec<f32>, cpu::SavedNorm) {
        cpu::read_out(arch, inputs)
    }

    fn backward(
        &self,
        arch: Arch,
        inputs: ReadOutInputs<&[f32]>,
        saved: &cpu::SavedNorm,
        gradient: &[f32],
    ) -> ReadOutInputs<Option<Vec<f32>>> {
        ReadOutInputs::from_array(cpu::read_out_gradient(arch, inputs, saved, gradient).into_array().map(Some))
    }

    #[cfg(feature = "gpu")]
    fn forward_on_gpu<R: GpuRuntime>(&self, inputs: ReadOutInputs<CubeTensor<R>>) -> (CubeTensor<R>, CubeTensor<R>) {
        gpu::read_out(self, inputs)
    }

    #[cfg(feature = "gpu")]
    fn backward_on_gpu<R: GpuRuntime>(
        &self,
        inputs: ReadOutInputs<CubeTensor<R>>,
        statistics: &CubeTensor<R>,
        gradient: CubeTensor<R>,
    ) -> ReadOutInputs<Option<CubeTensor<R>>> {
        ReadOutInputs::from_array(gpu::read_out_gradient(inputs, statistics, gradient).into_array().map(Some))
    }
}
