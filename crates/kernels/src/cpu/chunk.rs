//! The passes over one chunk of sequences, and the intermediate values between them.
//!
//! Rows are tokens, and the same token of all sequences comes before the next token: attention wants it so.

use pulp::Simd;

use super::attention::{Attention, Head, HeadMut, Weights, stride};
use super::buffer::Buffer;
use super::fold::Folded;
use super::gelu::{gelu_rows, gelu_rows_with_slope};
use super::product::{Matrix, MatrixMut};
use super::rows::{add, add_normalise_gradient, add_row_sums, add_rows, multiply_and_sum, normalise};
use crate::{BlockWeights, Geometry, Linear};

/// What a pass over a chunk knows of the block.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a, S> {
    pub(super) simd: S,
    pub(super) geometry: Geometry,
    pub(super) parameters: &'a BlockWeights<&'a [f32]>,
    pub(super) folded: &'a Folded,
}

/// Intermediate values of some sequences, of whose tokens n go in and m come out. Matrices of features by tokens have
/// rows of [`stride`] elements.
#[derive(Debug)]
pub(super) struct Chunk {
    sequences: usize,
    /// The normalised input, `[n, d_model]`.
    normal_1: Buffer,
    /// `[n]`
    inverse_std_1: Buffer,
    /// `[d_model, stride(m)]`
    queries: Buffer,
    /// `[2 d_model, stride(n)]`
    keys_values: Buffer,
    /// Of attention, head by head, if they are kept.
    weights: Option<Buffer>,
    /// What attention puts together, `[d_model, stride(m)]`.
    mixed: Buffer,
    /// The normalised residual stream behind attention, `[m, d_model]`.
    normal_2: Buffer,
    /// `[m]`
    inverse_std_2: Buffer,
    /// Before the bias and GELU, `[m, 4 d_model]`.
    hidden: Buffer,
}

impl Chunk {
    /// Room for the values, which the forward passes fill in.
    pub(super) fn new(geometry: Geometry, sequences: usize) -> Self {
        let d = geometry.d_model;
        let (n, m) = (sequences * geometry.tokens, sequences * geometry.outputs());
        let attention = geometry.attention(sequences);
        let weights = || Buffer::new(geometry.n_heads * attention.n_weights());
        Self {
            sequences,
            normal_1: Buffer::new(n * d),
            inverse_std_1: Buffer::new(n),
            queries: Buffer::new(d * stride(m)),
            keys_values: Buffer::new(2 * d * stride(n)),
            weights: attention.keeps_weights().then(weights),
            mixed: Buffer::new(d * stride(m)),
            normal_2: Buffer::new(m * d),
            inverse_std_2: Buffer::new(m),
            hidden: Buffer::new(m * 4 * d),
        }
    }

    fn inputs(&self) -> usize {
        self.inverse_std_1.len()
    }

    fn outputs(&self) -> usize {
        self.inverse_std_2.len()
    }

    /// Room for the attention weights of a strip, where they are not kept.
    fn room_for_weights(&self, attention: Attention) -> Buffer {
        Buffer::new(if self.weights.is_some() { 0 } else { attention.n_weights() })
    }

    /// The rows of `all` at the tokens that come out.
    fn at_outputs(&self, geometry: Geometry, all: &[f32]) -> Buffer {
        let mut outputs = Buffer::new(self.normal_2.len());
        let token = self.sequences * geometry.d_model;
        for (output, all) in outputs.chunks_exact_mut(token).zip(all.chunks_exact(token).step_by(geometry.every)) {
            output.copy_from_slice(all);
        }
        outputs
    }

    /// The rows of the outputs at their tokens among all, zero elsewhere.
    fn among_all(&self, geometry: Geometry, outputs: &[f32]) -> Buffer {
        let mut all = Buffer::new(self.normal_1.len());
        let token = self.sequences * geometry.d_model;
        for (i, all) in all.chunks_exact_mut(token).enumerate() {
            if i.is_multiple_of(geometry.every) {
                all.copy_from_slice(&outputs[i / geometry.every * token..][..token]);
            } else {
                all.fill(0.0);
            }
        }
        all
    }

    /// `h + attention(norm(h))` at the tokens that come out.
    #[inline(always)]
    pub(super) fn attend<S: Simd>(&mut self, pass: Pass<'_, S>, h: Buffer) -> Buffer {
        let Pass { simd, geometry, parameters, folded } = pass;
        let (d, n, m) = (geometry.d_model, self.inputs(), self.outputs());
        normalise(simd, &h, &mut self.normal_1, &mut self.inverse_std_1);
        let (mut out, at_outputs) = match geometry.every {
            1 => (h, None),
            _ => (self.at_outputs(geometry, &h), Some(self.at_outputs(geometry, &self.normal_1))),
        };
        let asking = at_outputs.as_deref().unwrap_or(&self.normal_1);

        let Linear { weight, bias } = &folded.query_key_value;
        let weight = Matrix::new(weight, 3 * d).transposed();
        fill_rows(&mut self.queries, &bias[..d]);
        fill_rows(&mut self.keys_values, &bias[d..]);
        let queries = MatrixMut::new(&mut self.queries, stride(m)).columns(0..m);
        queries.add_product(weight.rows(0..d), Matrix::new(asking, d).transposed());
        let keys_values = MatrixMut::new(&mut self.keys_values, stride(n)).columns(0..n);
        keys_values.add_product(weight.rows(d..3 * d), Matrix::new(&self.normal_1, d).transposed());

        let attention = geometry.attention(self.sequences);
        let (keys, values) = self.keys_values.split_at(d * stride(n));
        let mut room = self.room_for_weights(attention);
        for i in 0..geometry.n_heads {
            let head = HeadAt::new(geometry, i, [m, n]);
            let weights = match &mut self.weights {
                Some(kept) => &mut kept[i * attention.n_weights()..][..attention.n_weights()],
                None => &mut room,
            };
            let heads = [head.query(&self.queries), head.key(keys), head.key(values)];
            attention.attend(simd, heads, weights, head.query_mut(&mut self.mixed));
        }

        let Linear { weight, bias } = parameters.attention_out;
        out.chunks_exact_mut(d).for_each(|row| add(simd, row, bias));
        let mixed = Matrix::new(&self.mixed, stride(m)).columns(0..m).transposed();
        MatrixMut::new(&mut out, d).add_product(mixed, Matrix::new(weight, d));
        out
    }

    /// out += `feed_forward(norm(out))`
    #[inline(always)]
    pub(super) fn feed_forward<S: Simd>(&mut self, pass: Pass<'_, S>, out: &mut [f32]) {
        let Pass { simd, geometry, parameters, folded } = pass;
        let d = geometry.d_model;
        normalise(simd, out, &mut self.normal_2, &mut self.inverse_std_2);
        let Linear { weight, bias } = &folded.feed_forward_in;
        MatrixMut::new(&mut self.hidden, 4 * d).set_product(Matrix::new(&self.normal_2, d), Matrix::new(weight, 4 * d));
        let mut active = Buffer::new(self.hidden.len());
        gelu_rows(simd, &self.hidden, bias, &mut active);
        let Linear { weight, bias } = parameters.feed_forward_out;
        out.chunks_exact_mut(d).for_each(|row| add(simd, row, bias));
        MatrixMut::new(out, d).add_product(Matrix::new(&active, 4 * d), Matrix::new(weight, d));
    }

    /// From the gradient of the output to that of the residual stream between attention and feed-forward, in place.
    #[inline(always)]
    pub(super) fn feed_forward_gradient<S: Simd>(
        &self,
        pass: Pass<'_, S>,
        gradient: &mut [f32],
        found: &mut BlockWeights<Vec<f32>>,
    ) {
        let Pass { simd, geometry, parameters, folded } = pass;
        let d = geometry.d_model;
        let (mut active, mut slope) = (Buffer::new(self.hidden.len()), Buffer::new(self.hidden.len()));
        gelu_rows_with_slope(simd, &self.hidden, &folded.feed_forward_in.bias, &mut active, &mut slope);
        let outer = Matrix::new(gradient, d);
        let Linear { weight, bias } = &mut found.feed_forward_out;
        add_rows(simd, bias, gradient);
        MatrixMut::new(weight, d).add_product(Matrix::new(&active, 4 * d).transposed(), outer);

        let mut inner = active;
        let weight = Matrix::new(parameters.feed_forward_out.weight, d);
        MatrixMut::new(&mut inner, 4 * d).set_product(outer, weight.transposed());
        let Linear { weight, bias } = &mut found.feed_forward_in;
        multiply_and_sum(simd, &mut inner, &slope, bias);
        let inner = Matrix::new(&inner, 4 * d);
        MatrixMut::new(weight, 4 * d).add_product(Matrix::new(&self.normal_2, d).transposed(), inner);

        let mut of_normal = Buffer::new(self.normal_2.len());
        let weight = Matrix::new(&folded.feed_forward_in.weight, 4 * d);
        MatrixMut::new(&mut of_normal, d).set_product(inner, weight.transposed());
        add_normalise_gradient(simd, gradient, &of_normal, &self.normal_2, &self.inverse_std_2);
    }

    /// From the gradient of the residual stream behind attention to that of `h`.
    #[inline(always)]
    pub(super) fn attend_gradient<S: Simd>(
        &self,
        pass: Pass<'_, S>,
        middle: Buffer,
        found: &mut BlockWeights<Vec<f32>>,
    ) -> Buffer {
        let Pass { simd, geometry, parameters, folded } = pass;
        let (d, n, m) = (geometry.d_model, self.inputs(), self.outputs());
        let outer = Matrix::new(&middle, d);
        let Linear { weight, bias } = &mut found.attention_out;
        add_rows(simd, bias, &middle);
        MatrixMut::new(weight, d).add_product(Matrix::new(&self.mixed, stride(m)).columns(0..m), outer);
        let mut of_mixed = Buffer::new(self.mixed.len());
        let weight = Matrix::new(parameters.attention_out.weight, d);
        MatrixMut::new(&mut of_mixed, stride(m)).columns(0..m).set_product(weight, outer.transposed());

        let (of_queries, of_keys_values) = self.head_gradients(pass, &of_mixed);

        let Linear { weight, bias } = &mut found.query_key_value;
        add_row_sums(simd, &mut bias[..d], &of_queries, m);
        add_row_sums(simd, &mut bias[d..], &of_keys_values, n);
        let of_queries = Matrix::new(&of_queries, stride(m)).columns(0..m).transposed();
        let of_keys_values = Matrix::new(&of_keys_values, stride(n)).columns(0..n).transposed();
        let at_outputs = (geometry.every > 1).then(|| self.at_outputs(geometry, &self.normal_1));
        let asking = at_outputs.as_deref().unwrap_or(&self.normal_1);
        for (columns, normal, gradient) in [(0..d, asking, of_queries), (d..3 * d, &self.normal_1, of_keys_values)] {
            let weight = MatrixMut::new(weight, 3 * d).columns(columns);
            weight.add_product(Matrix::new(normal, d).transposed(), gradient);
        }

        let weight = Matrix::new(&folded.query_key_value.weight, 3 * d).transposed();
        let mut of_asking = Buffer::new(m * d);
        MatrixMut::new(&mut of_asking, d).set_product(of_queries, weight.rows(0..d));
        let (mut of_h, mut of_normal) = match geometry.every {
            1 => (middle, of_asking),
            _ => (self.among_all(geometry, &middle), self.among_all(geometry, &of_asking)),
        };
        MatrixMut::new(&mut of_normal, d).add_product(of_keys_values, weight.rows(d..3 * d));
        add_normalise_gradient(simd, &mut of_h, &of_normal, &self.normal_1, &self.inverse_std_1);
        of_h
    }

    /// The gradients of `queries` and `keys_values` from that of `mixed`.
    #[inline(always)]
    fn head_gradients<S: Simd>(&self, Pass { simd, geometry, .. }: Pass<'_, S>, of_mixed: &[f32]) -> (Buffer, Buffer) {
        let attention = geometry.attention(self.sequences);
        let (mut of_queries, mut of_keys_values) =
            (Buffer::new(self.queries.len()), Buffer::new(self.keys_values.len()));
        let mut scratch = Buffer::new(attention.n_weights());
        let half = self.keys_values.len() / 2;
        let (keys, values) = self.keys_values.split_at(half);
        let (of_keys, of_values) = of_keys_values.split_at_mut(half);
        let mut room = self.room_for_weights(attention);
        for i in 0..geometry.n_heads {
            let head = HeadAt::new(geometry, i, [self.outputs(), self.inputs()]);
            let weights = match &self.weights {
                Some(kept) => Weights::Kept(&kept[i * attention.n_weights()..][..attention.n_weights()]),
                None => Weights::Anew(&mut room),
            };
            let heads = [head.query(&self.queries), head.key(keys), head.key(values)];
            let gradients = [head.query_mut(&mut of_queries), head.key_mut(of_keys), head.key_mut(of_values)];
            attention.attend_gradient(simd, heads, weights, head.query(of_mixed), gradients, &mut scratch);
        }
        (of_queries, of_keys_values)
    }
}

/// Every row filled with its bias.
fn fill_rows(rows: &mut [f32], bias: &[f32]) {
    let columns = rows.len() / bias.len();
    for (row, bias) in rows.chunks_exact_mut(columns).zip(bias) {
        row.fill(*bias);
    }
}

/// Where a head lies in the matrices of queries and of keys.
#[derive(Clone, Copy)]
struct HeadAt {
    first_feature: usize,
    /// Of the queries and of the keys.
    strides: [usize; 2],
}

impl HeadAt {
    fn new(geometry: Geometry, head: usize, columns: [usize; 2]) -> Self {
        Self { first_feature: head * geometry.d_head(), strides: columns.map(stride) }
    }

    fn query(self, data: &[f32]) -> Head<'_> {
        Head { data: &data[self.first_feature * self.strides[0]..], stride: self.strides[0] }
    }

    fn key(self, data: &[f32]) -> Head<'_> {
        Head { data: &data[self.first_feature * self.strides[1]..], stride: self.strides[1] }
    }

    fn query_mut(self, data: &mut [f32]) -> HeadMut<'_> {
        HeadMut { data: &mut data[self.first_feature * self.strides[0]..], stride: self.strides[0] }
    }

    fn key_mut(self, data: &mut [f32]) -> HeadMut<'_> {
        HeadMut { data: &mut data[self.first_feature * self.strides[1]..], stride: self.strides[1] }
    }
}
