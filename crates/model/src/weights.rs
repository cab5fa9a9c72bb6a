use std::collections::BTreeMap;

/// A tensor on the host, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Length of every axis.
    pub shape: Vec<usize>,
    /// The product of `shape` many values.
    pub values: Vec<f32>,
}

/// A model's parameters (or one number for each of them: gradients, moments) on the host, by name.
///
/// Names are the paths of the fields in [`Transformer`](crate::Transformer): `blocks.0.attention_norm.gamma`.
pub type Weights = BTreeMap<String, HostTensor>;
