//! A whole transformer block, forward and backward, over a few sequences at a time.
//!
//! What makes it fast: sequences go through the block in chunks whose intermediate values stay in cache; scale and
//! shift of a norm are folded into the linear map behind it, so that they cost nothing per token; products write into
//! the residual stream directly; queries, keys and values are laid out features by tokens, as attention wants them.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use super::attention::{Attention, Head, HeadMut};
use super::buffer::Buffer;
use super::kernels::{
    add, add_normalise_gradient, add_row_sums, add_rows, gelu, gelu_with_slope, normalise, sum, update,
};
use super::product::{Matrix, MatrixMut};

/// Tokens of a chunk: few enough to stay in a core's own cache, enough for products at their full rate.
const CHUNK: usize = 512;

/// What a block is applied to.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    pub(crate) sequences: usize,
    /// Tokens of a sequence.
    pub(crate) tokens: usize,
    pub(crate) d_model: usize,
    pub(crate) n_heads: usize,
    /// The block's output is wanted at the tokens 0, every, 2·every, …
    pub(crate) every: usize,
}

/// One slice for every parameter of a block: weights `[fan_in, fan_out]`, or their gradients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parameters<T> {
    pub(super) attention_norm: Norm<T>,
    pub(super) query_key_value: Linear<T>,
    pub(super) attention_out: Linear<T>,
    pub(super) feed_forward_norm: Norm<T>,
    pub(super) feed_forward_in: Linear<T>,
    pub(super) feed_forward_out: Linear<T>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Linear<T> {
    pub(super) weight: T,
    pub(super) bias: T,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Norm<T> {
    pub(super) gamma: T,
    pub(super) beta: T,
}

impl<T> Parameters<T> {
    /// In the order of the fields.
    pub(super) fn from_array([a, b, c, d, e, f, g, h, i, j, k, l]: [T; 12]) -> Self {
        Self {
            attention_norm: Norm { gamma: a, beta: b },
            query_key_value: Linear { weight: c, bias: d },
            attention_out: Linear { weight: e, bias: f },
            feed_forward_norm: Norm { gamma: g, beta: h },
            feed_forward_in: Linear { weight: i, bias: j },
            feed_forward_out: Linear { weight: k, bias: l },
        }
    }

    /// The inverse of [`from_array`](Self::from_array).
    pub(super) fn into_array(self) -> [T; 12] {
        let Norm { gamma: a, beta: b } = self.attention_norm;
        let Linear { weight: c, bias: d } = self.query_key_value;
        let Linear { weight: e, bias: f } = self.attention_out;
        let Norm { gamma: g, beta: h } = self.feed_forward_norm;
        let Linear { weight: i, bias: j } = self.feed_forward_in;
        let Linear { weight: k, bias: l } = self.feed_forward_out;
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }
}

/// What the backward pass needs of the forward pass.
#[derive(Debug)]
pub struct Kept {
    folded: Folded,
    chunks: Vec<Chunk>,
}

/// The linear maps behind the norms, with scale and shift of the norm, and the attention's scale, inside.
#[derive(Debug)]
struct Folded {
    query_key_value: Linear<Buffer>,
    feed_forward_in: Linear<Buffer>,
}

/// Intermediate values of some sequences; n tokens go in, m come out.
#[derive(Debug)]
struct Chunk {
    sequences: Range<usize>,
    /// `[n, d_model]`
    normal_1: Buffer,
    /// `[n]`
    inverse_std_1: Buffer,
    /// `[d_model, m]`
    queries: Buffer,
    /// `[2 d_model, n]`
    keys_values: Buffer,
    /// `[sequences, heads, tokens, padded(queries)]`
    weights: Buffer,
    /// `[d_model, m]`
    mixed: Buffer,
    /// `[m, d_model]`
    normal_2: Buffer,
    /// `[m]`
    inverse_std_2: Buffer,
    /// Before GELU, `[m, 4 d_model]`
    hidden: Buffer,
}

impl Geometry {
    /// Tokens of a sequence that come out.
    pub(super) fn outputs(&self) -> usize {
        self.tokens.div_ceil(self.every)
    }

    fn d_head(&self) -> usize {
        self.d_model / self.n_heads
    }

    fn attention_scale(&self) -> f32 {
        1.0 / (self.d_head() as f32).sqrt()
    }

    fn inputs(&self, sequences: &Range<usize>) -> Range<usize> {
        let size = self.tokens * self.d_model;
        sequences.start * size..sequences.end * size
    }

    fn outputs_of(&self, sequences: &Range<usize>) -> Range<usize> {
        let size = self.outputs() * self.d_model;
        sequences.start * size..sequences.end * size
    }

    fn chunks(&self) -> impl Iterator<Item = Range<usize>> {
        let size = (CHUNK / self.tokens).max(1);
        let sequences = self.sequences;
        (0..sequences).step_by(size).map(move |first| first..sequences.min(first + size))
    }

    /// The tokens of a chunk that come out, as `(row among the outputs, row among all tokens)`.
    fn output_rows(self, sequences: usize) -> impl Iterator<Item = (usize, usize)> {
        let outputs = self.outputs();
        (0..sequences * outputs).map(move |row| (row, row / outputs * self.tokens + row % outputs * self.every))
    }
}

/// `h + attention(norm(h))`, then `h + feed_forward(norm(h))`, at the tokens that are wanted; [`Kept`] only if asked.
///
/// # Shapes
/// `h` `[sequences, tokens, d_model]` to `[sequences, outputs, d_model]`
pub(super) fn forward(
    arch: Arch,
    geometry: Geometry,
    parameters: &Parameters<&[f32]>,
    h: &[f32],
    keep: bool,
) -> (Vec<f32>, Kept) {
    struct Forward<'a>(Geometry, &'a Parameters<&'a [f32]>, &'a [f32], bool);
    impl WithSimd for Forward<'_> {
        type Output = (Vec<f32>, Kept);

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let Self(geometry, parameters, h, keep) = self;
            let mut kept = Kept { folded: Folded::new(simd, geometry, parameters), chunks: Vec::new() };
            let mut attention = Attention::new(geometry.d_head(), geometry.tokens, geometry.every);
            let mut out = Vec::with_capacity(geometry.sequences * geometry.outputs() * geometry.d_model);
            for sequences in geometry.chunks() {
                let mut chunk = Chunk::new(geometry, sequences, attention.n_weights());
                let h = &h[geometry.inputs(&chunk.sequences)];
                let first = out.len();
                for (_, row) in geometry.output_rows(chunk.sequences.len()) {
                    out.extend_from_slice(&h[row * geometry.d_model..][..geometry.d_model]);
                }
                chunk.attend(simd, geometry, parameters, &kept.folded, &mut attention, h, &mut out[first..]);
                chunk.feed_forward(simd, geometry, parameters, &kept.folded, &mut out[first..]);
                if keep {
                    kept.chunks.push(chunk);
                }
            }
            (out, kept)
        }
    }
    arch.dispatch(Forward(geometry, parameters, h, keep))
}

/// The gradients of `h` and of every parameter from the gradient of the block's output.
pub(super) fn backward(
    arch: Arch,
    geometry: Geometry,
    parameters: &Parameters<&[f32]>,
    kept: &Kept,
    gradient: &[f32],
) -> (Vec<f32>, Parameters<Vec<f32>>) {
    struct Backward<'a>(Geometry, &'a Parameters<&'a [f32]>, &'a Kept, &'a [f32]);
    impl WithSimd for Backward<'_> {
        type Output = (Vec<f32>, Parameters<Vec<f32>>);

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let Self(geometry, parameters, kept, gradient) = self;
            let mut found = Parameters::zeros(geometry.d_model);
            let mut attention = Attention::new(geometry.d_head(), geometry.tokens, geometry.every);
            let mut h = Vec::with_capacity(geometry.sequences * geometry.tokens * geometry.d_model);
            for chunk in &kept.chunks {
                let gradient = &gradient[geometry.outputs_of(&chunk.sequences)];
                let middle =
                    chunk.feed_forward_gradient(simd, geometry, parameters, &kept.folded, gradient, &mut found);
                let first = h.len();
                if geometry.every == 1 {
                    h.extend_from_slice(&middle);
                } else {
                    h.resize(first + chunk.normal_1.len(), 0.0);
                    scatter(simd, geometry, &middle, &mut h[first..]);
                }
                let h = &mut h[first..];
                chunk.attend_gradient(simd, geometry, parameters, &kept.folded, &mut attention, &middle, h, &mut found);
            }
            unfold(simd, geometry, parameters, &mut found);
            (h, found)
        }
    }
    arch.dispatch(Backward(geometry, parameters, kept, gradient))
}

impl Parameters<Vec<f32>> {
    fn zeros(d: usize) -> Self {
        let zeros = |len| vec![0.0; len];
        let norm = || Norm { gamma: zeros(d), beta: zeros(d) };
        let linear = |fan_in, fan_out| Linear { weight: zeros(fan_in * fan_out), bias: zeros(fan_out) };
        Self {
            attention_norm: norm(),
            query_key_value: linear(d, 3 * d),
            attention_out: linear(d, d),
            feed_forward_norm: norm(),
            feed_forward_in: linear(d, 4 * d),
            feed_forward_out: linear(4 * d, d),
        }
    }
}

impl Folded {
    #[inline(always)]
    fn new<S: Simd>(simd: S, geometry: Geometry, parameters: &Parameters<&[f32]>) -> Self {
        let mut query_key_value = fold(simd, parameters.attention_norm, parameters.query_key_value);
        let (d, scale) = (geometry.d_model, simd.splat_f32s(geometry.attention_scale()));
        let Linear { weight, bias } = &mut query_key_value;
        for row in weight.chunks_exact_mut(3 * d).chain([&mut **bias]) {
            update(
                simd,
                &mut row[..d],
                [],
                #[inline(always)]
                |x, []| simd.mul_f32s(x, scale),
            );
        }
        let feed_forward_in = fold(simd, parameters.feed_forward_norm, parameters.feed_forward_in);
        Self { query_key_value, feed_forward_in }
    }
}

/// (n·γ + β) W + b as n (γ·W) + (βW + b).
#[inline(always)]
fn fold<S: Simd>(simd: S, norm: Norm<&[f32]>, linear: Linear<&[f32]>) -> Linear<Buffer> {
    let (mut weight, mut bias) = (Buffer::new(linear.weight.len()), Buffer::new(linear.bias.len()));
    let fan_out = bias.len();
    bias.copy_from_slice(linear.bias);
    for (i, (to, from)) in weight.chunks_exact_mut(fan_out).zip(linear.weight.chunks_exact(fan_out)).enumerate() {
        let [gamma, beta] = [norm.gamma[i], norm.beta[i]].map(|value| simd.splat_f32s(value));
        update(
            simd,
            to,
            [from],
            #[inline(always)]
            |_, [w]| simd.mul_f32s(w, gamma),
        );
        update(
            simd,
            &mut bias,
            [from],
            #[inline(always)]
            |b, [w]| simd.mul_add_e_f32s(w, beta, b),
        );
    }
    Linear { weight, bias }
}

/// Gradients of the folded maps to those of the norms and the maps themselves.
#[inline(always)]
fn unfold<S: Simd>(simd: S, geometry: Geometry, parameters: &Parameters<&[f32]>, found: &mut Parameters<Vec<f32>>) {
    let (d, scale) = (geometry.d_model, simd.splat_f32s(geometry.attention_scale()));
    let Linear { weight, bias } = &mut found.query_key_value;
    for row in weight.chunks_exact_mut(3 * d).chain([&mut **bias]) {
        update(
            simd,
            &mut row[..d],
            [],
            #[inline(always)]
            |x, []| simd.mul_f32s(x, scale),
        );
    }
    let maps = [
        (&mut found.attention_norm, parameters.attention_norm, &mut found.query_key_value, parameters.query_key_value),
        (
            &mut found.feed_forward_norm,
            parameters.feed_forward_norm,
            &mut found.feed_forward_in,
            parameters.feed_forward_in,
        ),
    ];
    for (of_norm, norm, of_linear, linear) in maps {
        let fan_out = linear.bias.len();
        let rows = of_linear.weight.chunks_exact_mut(fan_out).zip(linear.weight.chunks_exact(fan_out));
        for (i, (gradient, w)) in rows.enumerate() {
            of_norm.gamma[i] = sum(
                simd,
                [gradient, w],
                #[inline(always)]
                |sum, [g, w]| simd.mul_add_e_f32s(g, w, sum),
            );
            of_norm.beta[i] = sum(
                simd,
                [&of_linear.bias, w],
                #[inline(always)]
                |sum, [g, w]| simd.mul_add_e_f32s(g, w, sum),
            );
            let [gamma, beta] = [norm.gamma[i], norm.beta[i]].map(|value| simd.splat_f32s(value));
            update(
                simd,
                gradient,
                [&of_linear.bias],
                #[inline(always)]
                |g, [b]| simd.mul_add_e_f32s(b, beta, simd.mul_f32s(g, gamma)),
            );
        }
    }
}

/// Adds the rows of the outputs to their rows among all tokens.
#[inline(always)]
fn scatter<S: Simd>(simd: S, geometry: Geometry, outputs: &[f32], all: &mut [f32]) {
    let d = geometry.d_model;
    for (output, row) in geometry.output_rows(all.len() / d / geometry.tokens) {
        add(simd, &mut all[row * d..][..d], &outputs[output * d..][..d]);
    }
}

/// Every row filled with its bias.
fn fill_rows(rows: &mut [f32], bias: &[f32]) {
    let columns = rows.len() / bias.len();
    for (row, bias) in rows.chunks_exact_mut(columns).zip(bias) {
        row.fill(*bias);
    }
}

impl Chunk {
    fn new(geometry: Geometry, sequences: Range<usize>, n_weights: usize) -> Self {
        let d = geometry.d_model;
        let (n, m) = (sequences.len() * geometry.tokens, sequences.len() * geometry.outputs());
        Self {
            normal_1: Buffer::new(n * d),
            inverse_std_1: Buffer::new(n),
            queries: Buffer::new(d * m),
            keys_values: Buffer::new(2 * d * n),
            weights: Buffer::new(sequences.len() * geometry.n_heads * n_weights),
            mixed: Buffer::new(d * m),
            normal_2: Buffer::new(m * d),
            inverse_std_2: Buffer::new(m),
            hidden: Buffer::new(m * 4 * d),
            sequences,
        }
    }

    /// The rows of `normal_1` that ask: those of the tokens that come out.
    fn asking(&self, geometry: Geometry) -> Option<Buffer> {
        let d = geometry.d_model;
        (geometry.every > 1).then(|| {
            let mut rows = Buffer::new(self.normal_2.len());
            for (output, row) in geometry.output_rows(self.sequences.len()) {
                rows[output * d..][..d].copy_from_slice(&self.normal_1[row * d..][..d]);
            }
            rows
        })
    }

    /// out += `attention(norm(h))`
    #[expect(clippy::too_many_arguments, reason = "the values a pass works on")]
    #[inline(always)]
    fn attend<S: Simd>(
        &mut self,
        simd: S,
        geometry: Geometry,
        parameters: &Parameters<&[f32]>,
        folded: &Folded,
        attention: &mut Attention,
        h: &[f32],
        out: &mut [f32],
    ) {
        let d = geometry.d_model;
        let (n, m) = (self.inverse_std_1.len(), self.inverse_std_2.len());
        normalise(simd, h, &mut self.normal_1, &mut self.inverse_std_1);
        let asking = self.asking(geometry);
        let Linear { weight, bias } = &folded.query_key_value;
        let weight = Matrix::new(weight, 3 * d).transposed();
        fill_rows(&mut self.queries, &bias[..d]);
        fill_rows(&mut self.keys_values, &bias[d..]);
        let normal = Matrix::new(&self.normal_1, d).transposed();
        let asking = asking.as_deref().map_or(normal, |rows| Matrix::new(rows, d).transposed());
        MatrixMut::new(&mut self.queries, m).add_product(weight.rows(0..d), asking);
        MatrixMut::new(&mut self.keys_values, n).add_product(weight.rows(d..3 * d), normal);

        let size = attention.n_weights();
        for (i, weights) in self.weights.chunks_exact_mut(size).enumerate() {
            let at = HeadAt::new(geometry, i, [n, m]);
            let heads = at.heads(&self.queries, &self.keys_values);
            attention.attend(simd, heads, weights, at.query_mut(&mut self.mixed));
        }
        let Linear { weight, bias } = parameters.attention_out;
        for row in out.chunks_exact_mut(d) {
            add(simd, row, bias);
        }
        MatrixMut::new(out, d).add_product(Matrix::new(&self.mixed, m).transposed(), Matrix::new(weight, d));
    }

    /// out += `feed_forward(norm(out))`
    #[inline(always)]
    fn feed_forward<S: Simd>(
        &mut self,
        simd: S,
        geometry: Geometry,
        parameters: &Parameters<&[f32]>,
        folded: &Folded,
        out: &mut [f32],
    ) {
        let d = geometry.d_model;
        normalise(simd, out, &mut self.normal_2, &mut self.inverse_std_2);
        let Linear { weight, bias } = &folded.feed_forward_in;
        for row in self.hidden.chunks_exact_mut(4 * d) {
            row.copy_from_slice(bias);
        }
        MatrixMut::new(&mut self.hidden, 4 * d).add_product(Matrix::new(&self.normal_2, d), Matrix::new(weight, 4 * d));
        let mut active = Buffer::new(self.hidden.len());
        update(
            simd,
            &mut active,
            [&self.hidden],
            #[inline(always)]
            |_, [u]| gelu(simd, u).0,
        );
        let Linear { weight, bias } = parameters.feed_forward_out;
        for row in out.chunks_exact_mut(d) {
            add(simd, row, bias);
        }
        MatrixMut::new(out, d).add_product(Matrix::new(&active, 4 * d), Matrix::new(weight, d));
    }

    /// From the gradient of the output to that of the residual stream between attention and feed-forward.
    #[inline(always)]
    fn feed_forward_gradient<S: Simd>(
        &self,
        simd: S,
        geometry: Geometry,
        parameters: &Parameters<&[f32]>,
        folded: &Folded,
        gradient: &[f32],
        found: &mut Parameters<Vec<f32>>,
    ) -> Buffer {
        let d = geometry.d_model;
        let (mut active, mut slope) = (Buffer::new(self.hidden.len()), Buffer::new(self.hidden.len()));
        gelu_with_slope(simd, &self.hidden, &mut active, &mut slope);
        add_rows(simd, &mut found.feed_forward_out.bias, gradient);
        let outer = Matrix::new(gradient, d);
        MatrixMut::new(&mut found.feed_forward_out.weight, d)
            .add_product(Matrix::new(&active, 4 * d).transposed(), outer);

        let mut inner = active;
        let weight = Matrix::new(parameters.feed_forward_out.weight, d).transposed();
        MatrixMut::new(&mut inner, 4 * d).set_product(outer, weight);
        update(
            simd,
            &mut inner,
            [&slope],
            #[inline(always)]
            |g, [slope]| simd.mul_f32s(g, slope),
        );
        add_rows(simd, &mut found.feed_forward_in.bias, &inner);
        let inner = Matrix::new(&inner, 4 * d);
        MatrixMut::new(&mut found.feed_forward_in.weight, 4 * d)
            .add_product(Matrix::new(&self.normal_2, d).transposed(), inner);

        let mut of_normal = Buffer::new(self.normal_2.len());
        let weight = Matrix::new(&folded.feed_forward_in.weight, 4 * d).transposed();
        MatrixMut::new(&mut of_normal, d).set_product(inner, weight);
        let mut middle = Buffer::new(gradient.len());
        middle.copy_from_slice(gradient);
        add_normalise_gradient(simd, &mut middle, &of_normal, &self.normal_2, &self.inverse_std_2);
        middle
    }

    /// Adds to `h` what reaches it through attention from the gradient `middle` of the residual stream behind it.
    #[expect(clippy::too_many_arguments, reason = "the values a pass works on")]
    #[inline(always)]
    fn attend_gradient<S: Simd>(
        &self,
        simd: S,
        geometry: Geometry,
        parameters: &Parameters<&[f32]>,
        folded: &Folded,
        attention: &mut Attention,
        middle: &[f32],
        h: &mut [f32],
        found: &mut Parameters<Vec<f32>>,
    ) {
        let d = geometry.d_model;
        let (n, m) = (self.inverse_std_1.len(), self.inverse_std_2.len());
        add_rows(simd, &mut found.attention_out.bias, middle);
        let outer = Matrix::new(middle, d);
        MatrixMut::new(&mut found.attention_out.weight, d).add_product(Matrix::new(&self.mixed, m), outer);
        let mut of_mixed = Buffer::new(self.mixed.len());
        let weight = Matrix::new(parameters.attention_out.weight, d);
        MatrixMut::new(&mut of_mixed, m).set_product(weight, outer.transposed());

        let (mut of_queries, mut of_keys_values) = (Buffer::new(d * m), Buffer::new(2 * d * n));
        for (i, weights) in self.weights.chunks_exact(attention.n_weights()).enumerate() {
            let at = HeadAt::new(geometry, i, [n, m]);
            let heads = at.heads(&self.queries, &self.keys_values);
            let (of_keys, of_values) = of_keys_values.split_at_mut(d * n);
            let gradients = [at.query_mut(&mut of_queries), at.key_mut(of_keys), at.key_mut(of_values)];
            attention.attend_gradient(simd, heads, weights, at.query(&of_mixed), gradients);
        }

        let asking = self.asking(geometry);
        let asking = asking.as_deref().unwrap_or(&self.normal_1);
        let (of_queries, of_keys_values) = (&*of_queries, &*of_keys_values);
        let Linear { weight, bias } = &mut found.query_key_value;
        add_row_sums(simd, &mut bias[..d], of_queries);
        add_row_sums(simd, &mut bias[d..], of_keys_values);
        let [of_queries, of_keys_values] =
            [(of_queries, m), (of_keys_values, n)].map(|(x, n)| Matrix::new(x, n).transposed());
        for (columns, normal, gradient) in [(0..d, asking, of_queries), (d..3 * d, &self.normal_1, of_keys_values)] {
            let weight = MatrixMut::new(weight, 3 * d).columns(columns);
            weight.add_product(Matrix::new(normal, d).transposed(), gradient);
        }

        let weight = Matrix::new(&folded.query_key_value.weight, 3 * d).transposed();
        let mut of_normal = Buffer::new(n * d);
        MatrixMut::new(&mut of_normal, d).set_product(of_keys_values, weight.rows(d..3 * d));
        if geometry.every == 1 {
            MatrixMut::new(&mut of_normal, d).add_product(of_queries, weight.rows(0..d));
        } else {
            let mut of_asking = Buffer::new(m * d);
            MatrixMut::new(&mut of_asking, d).set_product(of_queries, weight.rows(0..d));
            scatter(simd, geometry, &of_asking, &mut of_normal);
        }
        add_normalise_gradient(simd, h, &of_normal, &self.normal_1, &self.inverse_std_1);
    }
}

/// Where a head of a sequence lies in a chunk's matrices.
#[derive(Clone, Copy)]
struct HeadAt {
    query: usize,
    key: usize,
    values: usize,
    /// Columns of the matrices of keys and of queries.
    columns: [usize; 2],
}

impl HeadAt {
    /// The `i`-th head when all heads of the first sequence come first, in a chunk of `n` tokens of which `m` ask.
    fn new(geometry: Geometry, i: usize, [n, m]: [usize; 2]) -> Self {
        let (sequence, feature) = (i / geometry.n_heads, i % geometry.n_heads * geometry.d_head());
        Self {
            query: feature * m + sequence * geometry.outputs(),
            key: feature * n + sequence * geometry.tokens,
            values: geometry.d_model * n,
            columns: [n, m],
        }
    }

    fn heads<'a>(&self, queries: &'a [f32], keys_values: &'a [f32]) -> [Head<'a>; 3] {
        let (keys, values) = keys_values.split_at(self.values);
        let key = |data: &'a [f32]| Head { data: &data[self.key..], stride: self.columns[0] };
        [self.query(queries), key(keys), key(values)]
    }

    fn query<'a>(&self, data: &'a [f32]) -> Head<'a> {
        Head { data: &data[self.query..], stride: self.columns[1] }
    }

    fn query_mut<'a>(&self, data: &'a mut [f32]) -> HeadMut<'a> {
        HeadMut { data: &mut data[self.query..], stride: self.columns[1] }
    }

    fn key_mut<'a>(&self, data: &'a mut [f32]) -> HeadMut<'a> {
        HeadMut { data: &mut data[self.key..], stride: self.columns[0] }
    }
}
