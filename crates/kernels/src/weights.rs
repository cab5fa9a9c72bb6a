//! A block's parameters by name.

/// The parameters of a transformer block: one thing for each of them, such as its values, a tensor or its gradient.
///
/// # Shapes
/// Weights are `[inputs, outputs]` and biases `[outputs]`; scale and shift of a norm are `[d_model]`. From the first map
/// come queries, keys and values side by side, `3 d_model`; the feed-forward part is `4 d_model` wide inside.
#[derive(Clone, Copy, Debug)]
pub struct BlockWeights<T> {
    /// Before attention.
    pub attention_norm: Norm<T>,
    /// To queries, keys and values.
    pub query_key_value: Linear<T>,
    /// From what the heads put together back to the residual stream.
    pub attention_out: Linear<T>,
    /// Before the feed-forward part.
    pub feed_forward_norm: Norm<T>,
    /// The first map of the feed-forward part.
    pub feed_forward_in: Linear<T>,
    /// The second one, back to the residual stream.
    pub feed_forward_out: Linear<T>,
}

/// The parameters of a layer norm.
#[derive(Clone, Copy, Debug)]
pub struct Norm<T> {
    /// The scale.
    pub gamma: T,
    /// The shift.
    pub beta: T,
}

/// The parameters of a linear map.
#[derive(Clone, Copy, Debug)]
pub struct Linear<T> {
    /// `[inputs, outputs]`
    pub weight: T,
    /// `[outputs]`
    pub bias: T,
}

impl<T> BlockWeights<T> {
    /// In the order of the fields.
    pub(crate) fn into_array(self) -> [T; 12] {
        let Norm { gamma: a, beta: b } = self.attention_norm;
        let Linear { weight: c, bias: d } = self.query_key_value;
        let Linear { weight: e, bias: f } = self.attention_out;
        let Norm { gamma: g, beta: h } = self.feed_forward_norm;
        let Linear { weight: i, bias: j } = self.feed_forward_in;
        let Linear { weight: k, bias: l } = self.feed_forward_out;
        [a, b, c, d, e, f, g, h, i, j, k, l]
    }

    /// The inverse of [`into_array`](Self::into_array).
    pub(crate) fn from_array([a, b, c, d, e, f, g, h, i, j, k, l]: [T; 12]) -> Self {
        Self {
            attention_norm: Norm { gamma: a, beta: b },
            query_key_value: Linear { weight: c, bias: d },
            attention_out: Linear { weight: e, bias: f },
            feed_forward_norm: Norm { gamma: g, beta: h },
            feed_forward_in: Linear { weight: i, bias: j },
            feed_forward_out: Linear { weight: k, bias: l },
        }
    }
}
