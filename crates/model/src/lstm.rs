//! A model without attention: an LSTM of some layers, whose states stand where a transformer has its residual stream.

use burn::module::Module;
use burn::nn::{self, Linear, LinearConfig, LstmConfig};
use burn::tensor::{Tensor, activation, backend::Backend};
use kernels::{Kernels, linear, product};

use crate::config::out_of_range;
use crate::ends::{at_x, number, tokens};
use crate::model::{Layers, Plan};
use crate::parameters::{Role, Spec};
use crate::{Architecture, Layer, ModelError};

/// An LSTM over the interleaved sequence x1 y1 x2 y2 … that predicts each y at its x.
///
/// Layer 0 is the read-in of the tokens, layer l the hidden state h of the l-th LSTM at every token. There is no stream
/// that layers add to: each reads the states of the layer before, and its own are all that is known above it. Where the
/// state at a layer and a token is replaced, the layers above read the other one there; the recurrence of the layer itself
/// goes on from the state that it had.
///
/// # Source
/// Hochreiter and Schmidhuber (1997), with the forget gate of Gers et al. (2000). Read-in and read-out: Garg et al. (2022),
/// arXiv 2208.01066.
#[derive(Module, Debug)]
pub struct Lstm<B: Backend> {
    read_in: Linear<B>,
    blocks: Vec<nn::Lstm<B>>,
    read_out: Linear<B>,
}

pub(crate) const PLAN: Plan = Plan { check, specs, forward_flops };

const GATES: [&str; 4] = ["input_gate", "forget_gate", "output_gate", "cell_gate"];

fn check(architecture: &Architecture) -> Result<(), ModelError> {
    let Architecture { n_heads, latent, .. } = *architecture;
    if n_heads != 0 {
        return Err(out_of_range("model.n_heads", "0 where model.kind is lstm, which has no attention", n_heads));
    }
    match latent {
        None => Ok(()),
        Some(latent) => {
            let value = format!("of width {}", latent.width);
            Err(out_of_range("model.latent", "absent where model.kind is lstm", value))
        }
    }
}

/// A gate has a map of the token and one of the state before it, each with a bias, as in PyTorch. A forget gate is open at
/// the start: nearly closed ones forget the first pairs before anything is learned of them.
///
/// # Source
/// The bias of 1: Jozefowicz et al. (2015), *An empirical exploration of recurrent network architectures*.
fn specs(architecture: &Architecture) -> Vec<Spec> {
    let Architecture { d_x, d_model: d, n_layers, .. } = *architecture;
    let gate = |(layer, gate): (usize, &str)| {
        let name = |field: &str| format!("blocks.{layer}.{gate}.{field}");
        let of_token = if gate == "forget_gate" { Role::OpenGate } else { Role::Bias };
        [
            Spec::new(name("input_transform.weight"), &[d, d], Role::Linear { fan_in: d }),
            Spec::new(name("input_transform.bias"), &[d], of_token),
            Spec::new(name("hidden_transform.weight"), &[d, d], Role::Linear { fan_in: d }),
            Spec::new(name("hidden_transform.bias"), &[d], Role::Bias),
        ]
    };
    let mut specs = vec![
        Spec::new("read_in.weight", &[d_x, d], Role::ReadIn { fan_in: d_x }),
        Spec::new("read_in.bias", &[d], Role::Boundary { fan_in: d_x, bias: true }),
    ];
    specs.extend((0..n_layers).flat_map(|layer| GATES.map(|gate| (layer, gate))).flat_map(gate));
    specs.extend([
        Spec::new("read_out.weight", &[d, 1], Role::Boundary { fan_in: d, bias: false }),
        Spec::new("read_out.bias", &[1], Role::Boundary { fan_in: d, bias: true }),
    ]);
    specs
}

/// No last y token; two maps a gate at every other.
fn forward_flops(architecture: &Architecture) -> u64 {
    let Architecture { d_x, n_points, d_model, n_layers, .. } = *architecture;
    let [d_x, n_points, d, layers] = [d_x, n_points, d_model, n_layers].map(|n| n as u64);
    let of_token = d_x * d + layers * GATES.len() as u64 * 2 * d * d;
    2 * ((2 * n_points - 1) * of_token + n_points * d)
}

impl<B: Kernels> Lstm<B> {
    /// One whose parameters are still to be loaded.
    pub(crate) fn empty(architecture: &Architecture, device: &B::Device) -> Self {
        let Architecture { d_x, d_model, n_layers, .. } = *architecture;
        Self {
            read_in: LinearConfig::new(d_x, d_model).init(device),
            blocks: (0..n_layers).map(|_| LstmConfig::new(d_model, d_model, true).init(device)).collect(),
            read_out: LinearConfig::new(d_model, 1).init(device),
        }
    }
}

impl<B: Kernels> Layers<B> for Lstm<B> {
    fn n_layers(&self) -> usize {
        self.blocks.len()
    }

    fn embed(&self, xs: Tensor<B, 3>, ys: Tensor<B, 2>) -> Tensor<B, 3> {
        linear(&self.read_in, tokens(xs, ys))
    }

    fn block(&self, layer: Layer, _: &Tensor<B, 3>, h: Tensor<B, 3>) -> Tensor<B, 3> {
        let below = (0..h.dims()[1]).map(|token| h.clone().narrow(1, token, 1).squeeze_dim(1)).collect();
        Tensor::stack(states(&self.blocks[layer.0 - 1], below), 1)
    }

    fn read_out(&self, h: Tensor<B, 3>) -> Tensor<B, 2> {
        number(&self.read_out, at_x(h))
    }

    /// Token by token, since the gradient of a part of a sequence is as large as the sequence.
    fn forward(&self, xs: Tensor<B, 3>, ys: Tensor<B, 2>) -> Tensor<B, 2> {
        let seen = 2 * ys.dims()[1] - 1;
        let tokens = tokens(xs, ys);
        let embed = |token| linear(&self.read_in, tokens.clone().narrow(1, token, 1)).squeeze_dim(1);
        let embedded = (0..seen).map(embed).collect();
        let h = self.blocks.iter().fold(embedded, |h, layer| states(layer, h));
        number(&self.read_out, Tensor::stack(h.into_iter().step_by(2).collect(), 1))
    }
}

/// The hidden state of a layer at every token, from what it reads there, each `[batch, d_model]`: with σ for the sigmoid,
/// c ← σ(forget) c + σ(input) tanh(cell) and h = σ(output) tanh(c), both 0 before the first token.
///
/// It is `nn::Lstm::forward` with one product at a token where that has eight: of both maps of all gates.
fn states<B: Kernels>(layer: &nn::Lstm<B>, below: Vec<Tensor<B, 2>>) -> Vec<Tensor<B, 2>> {
    let gates = [&layer.input_gate, &layer.forget_gate, &layer.output_gate, &layer.cell_gate];
    let side_by_side = |weights: [Tensor<B, 2>; 4]| Tensor::cat(weights.to_vec(), 1);
    let of_token = side_by_side(gates.map(|gate| gate.input_transform.weight.val()));
    let of_state = side_by_side(gates.map(|gate| gate.hidden_transform.weight.val()));
    let weight = Tensor::cat(vec![of_token, of_state], 0);
    let bias = |map: &Linear<B>| map.bias.as_ref().expect("the maps of a gate have a bias").val().unsqueeze();
    let bias = side_by_side(gates.map(|gate| bias(&gate.input_transform) + bias(&gate.hidden_transform)));
    let d = layer.d_hidden;
    let (mut hidden, mut cell) = (below[0].zeros_like(), below[0].zeros_like());
    let at_token = |read: Tensor<B, 2>| {
        let sums = product(Tensor::cat(vec![read, hidden.clone()], 1), weight.clone()) + bias.clone();
        let open = activation::sigmoid(sums.clone().narrow(1, 0, 3 * d));
        let [input, forget, output] = [0, 1, 2].map(|gate| open.clone().narrow(1, gate * d, d));
        cell = forget * cell.clone() + input * sums.narrow(1, 3 * d, d).tanh();
        hidden = output * cell.clone().tanh();
        hidden.clone()
    };
    below.into_iter().map(at_token).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use burn_flex::Flex;

    use super::*;
    use crate::weights::tests::random;
    use crate::{Kind, Latent, Model};

    const ARCHITECTURE: Architecture =
        Architecture { kind: Kind::Lstm, d_x: 3, n_points: 4, d_model: 6, n_layers: 2, n_heads: 0, latent: None };

    fn model() -> Model<Flex> {
        Model::new(&ARCHITECTURE, &random(&ARCHITECTURE, 0), &Default::default()).unwrap()
    }

    /// Two prompts, in which one y may be another.
    fn batch(changed: Option<usize>) -> (Tensor<Flex, 3>, Tensor<Flex, 2>) {
        let ramp = |len: usize| (0..len).map(|i| (0.7 * i as f32).sin()).collect::<Vec<_>>();
        let mut ys = ramp(8);
        changed.into_iter().for_each(|point| ys[point] += 1.0);
        let xs = Tensor::from_data(TensorData::new(ramp(24), [2, 4, 3]), &Default::default());
        (xs, Tensor::from_data(TensorData::new(ys, [2, 4]), &Default::default()))
    }

    fn host<const D: usize>(tensor: Tensor<Flex, D>) -> Vec<f32> {
        tensor.into_data().to_vec().unwrap()
    }

    #[test]
    fn all_of_the_states_lead_to_the_predictions_of_training() {
        let ((xs, ys), model) = (batch(None), model());
        let stream = model.residual_stream(xs.clone(), ys.clone());
        assert_eq!(stream.layers.len(), 3);
        assert_eq!(host(model.forward(xs, ys)), host(stream.predictions));
    }

    #[test]
    fn a_y_reaches_the_predictions_behind_it_in_its_own_prompt_alone() {
        let before = host(model().forward(batch(None).0, batch(None).1));
        for changed in 0..4 {
            let (xs, ys) = batch(Some(changed));
            for (i, (before, after)) in before.iter().zip(host(model().forward(xs, ys))).enumerate() {
                assert_eq!(*before != after, i < 4 && i > changed, "y{} and prediction {i}", changed + 1);
            }
        }
    }

    #[test]
    fn what_it_does_not_have_is_refused() {
        let latent = Some(Latent { width: 2, decoder_layers: 1 });
        let cases = [
            (Architecture { n_heads: 1, ..ARCHITECTURE }, "model.n_heads must be 0 where model.kind is lstm"),
            (Architecture { latent, ..ARCHITECTURE }, "model.latent must be absent where model.kind is lstm"),
        ];
        for (architecture, expected) in cases {
            let message = architecture.check().unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
