"""Writes golden.safetensors, lstm.safetensors and muon.safetensors: what PyTorch makes of a small transformer, of a small
LSTM, and of the transformer trained by Muon, for tests/golden.rs to compare ours with.

    python tests/golden/make.py

Made with Python 3.11, torch 2.15.0 (CPU), numpy 2.4.6 and safetensors 0.8.0. Nothing here reads our program: the models
are written down a second time, from GPT-2 and the conventions of crates/model, with PyTorch's own layer norm, GELU,
attention, LSTM, autograd and Adam. Muon is written down as well, since PyTorch's iterates in bfloat16; three of its steps are
held to PyTorch's before anything is written.

Everything is computed in f64 and stored in f32, so that the tolerances of the test measure our f32 arithmetic and not
PyTorch's. The weights, prompts and targets are rounded to f32 first: both programs start from the same numbers.

Contents of each (K pairs, L blocks, B prompts):
    weights.NAME     the parameters, by our names; linear maps are [in, out]
    xs, ys           [B, K, d_x], [B, K]
    hidden.0 … L     [B, 2K, d_model], the residual stream after the embedding and after every block; of the LSTM the
                     read-in and the hidden states of every layer
    predictions      [B, K]
    loss             [1], the mean squared error over all prompts and positions
    gradients.NAME   of that loss
    losses           [10], before each of ten steps of the optimizer on the same prompts
    trained.NAME     the parameters after those steps
"""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional

D_X, N_POINTS, D_MODEL, N_LAYERS, N_HEADS, BATCH = 3, 4, 8, 2, 2, 5
NORM_EPSILON = 1e-5
STEPS, LEARNING_RATE, BETAS, EPSILON = 10, 1e-2, (0.9, 0.9999), 1e-8
MOMENTUM = 0.95

# In the order in which PyTorch stacks their maps.
GATES = ("input_gate", "forget_gate", "cell_gate", "output_gate")

Parameters = dict[str, torch.Tensor]
Shapes = dict[str, tuple[int, ...]]


def norm_shapes(name: str) -> Shapes:
    return {f"{name}.gamma": (D_MODEL,), f"{name}.beta": (D_MODEL,)}


def linear_shapes(name: str, fan_in: int, fan_out: int) -> Shapes:
    return {f"{name}.weight": (fan_in, fan_out), f"{name}.bias": (fan_out,)}


def in_every_block(block: Shapes) -> Shapes:
    return {f"blocks.{layer}.{name}": shape for layer in range(N_LAYERS) for name, shape in block.items()}


def transformer_shapes() -> Shapes:
    """The shape of every parameter."""
    block = (
        norm_shapes("attention_norm")
        | linear_shapes("query_key_value", D_MODEL, 3 * D_MODEL)
        | linear_shapes("attention_out", D_MODEL, D_MODEL)
        | norm_shapes("feed_forward_norm")
        | linear_shapes("feed_forward_in", D_MODEL, 4 * D_MODEL)
        | linear_shapes("feed_forward_out", 4 * D_MODEL, D_MODEL)
    )
    ends = linear_shapes("read_in", D_X, D_MODEL) | norm_shapes("final_norm") | linear_shapes("read_out", D_MODEL, 1)
    return ends | in_every_block(block) | {"positions": (2 * N_POINTS, D_MODEL)}


def lstm_shapes() -> Shapes:
    """The same of the LSTM, in which every gate has a map of the token and one of the state before it."""
    maps = [f"{gate}.{of}" for gate in GATES for of in ("input_transform", "hidden_transform")]
    block = {name: shape for of in maps for name, shape in linear_shapes(of, D_MODEL, D_MODEL).items()}
    return linear_shapes("read_in", D_X, D_MODEL) | linear_shapes("read_out", D_MODEL, 1) | in_every_block(block)


def draw(name: str, shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Large enough that softmax, GELU, norms and gates are far from linear, and no parameter is at a trivial value."""
    centre = 1.0 if name.endswith("gamma") else 0.0
    std = shape[0] ** -0.5 if name.endswith("weight") else 0.4
    std *= 3.0 if "_gate." in name else 1.0
    return rounded(centre + std * torch.randn(shape, generator=generator, dtype=torch.float64))


def rounded(values: torch.Tensor) -> torch.Tensor:
    """The nearest f32, as f64."""
    return values.float().double()


def read_in(p: Parameters, xs: torch.Tensor, ys: torch.Tensor) -> torch.Tensor:
    """Tokens x1 y1 x2 y2 …, where y is (y, 0, …, 0), read in."""
    tokens = torch.zeros(BATCH, 2 * N_POINTS, D_X, dtype=torch.float64)
    tokens[:, 0::2] = xs
    tokens[:, 1::2, 0] = ys
    return linear(p, "read_in", tokens)


def block(p: Parameters, layer: int, h: torch.Tensor) -> torch.Tensor:
    """GPT-2's pre-norm block."""
    at = f"blocks.{layer}"
    heads = lambda part: part.unflatten(-1, (N_HEADS, D_MODEL // N_HEADS)).transpose(1, 2)
    query_key_value = linear(p, f"{at}.query_key_value", norm(p, f"{at}.attention_norm", h))
    query, key, value = (heads(part) for part in query_key_value.split(D_MODEL, dim=-1))
    mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    h = h + linear(p, f"{at}.attention_out", mixed.transpose(1, 2).flatten(2))
    wide = linear(p, f"{at}.feed_forward_in", norm(p, f"{at}.feed_forward_norm", h))
    return h + linear(p, f"{at}.feed_forward_out", functional.gelu(wide, approximate="tanh"))


def linear(p: Parameters, name: str, h: torch.Tensor) -> torch.Tensor:
    return functional.linear(h, p[f"{name}.weight"].T, p[f"{name}.bias"])


def norm(p: Parameters, name: str, h: torch.Tensor) -> torch.Tensor:
    return functional.layer_norm(h, (D_MODEL,), p[f"{name}.gamma"], p[f"{name}.beta"], NORM_EPSILON)


def transformer(p: Parameters, xs: torch.Tensor, ys: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The residual stream of every layer, and the predictions at the x tokens."""
    hidden = [read_in(p, xs, ys) + p["positions"]]
    for layer in range(N_LAYERS):
        hidden.append(block(p, layer, hidden[-1]))
    predictions = linear(p, "read_out", norm(p, "final_norm", hidden[-1])).squeeze(-1)
    return hidden, predictions[:, 0::2]


def lstm(p: Parameters, xs: torch.Tensor, ys: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The same, by a torch.nn.LSTM of one layer for each of ours, whose weights are put together from p."""
    hidden = [read_in(p, xs, ys)]
    for layer in range(N_LAYERS):
        of_gates = lambda name: [p[f"blocks.{layer}.{gate}.{name}"] for gate in GATES]
        weights = {
            "weight_ih_l0": torch.cat([weight.T for weight in of_gates("input_transform.weight")]),
            "weight_hh_l0": torch.cat([weight.T for weight in of_gates("hidden_transform.weight")]),
            "bias_ih_l0": torch.cat(of_gates("input_transform.bias")),
            "bias_hh_l0": torch.cat(of_gates("hidden_transform.bias")),
        }
        module = torch.nn.LSTM(D_MODEL, D_MODEL, batch_first=True, dtype=torch.float64)
        hidden.append(torch.func.functional_call(module, weights, (hidden[-1],))[0])
    return hidden, linear(p, "read_out", hidden[-1]).squeeze(-1)[:, 0::2]


def orthogonal(matrix: torch.Tensor) -> torch.Tensor:
    """The iteration of torch.optim.Muon, in the precision of the matrix."""
    if matrix.size(0) > matrix.size(1):
        return orthogonal(matrix.T).T
    x = matrix / matrix.norm().clamp(min=1e-7)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x


class Muon:
    """Of the maps inside the blocks, those of query, key and value by themselves."""

    def __init__(self, parameters: Parameters):
        self.means = {name: torch.zeros_like(p) for name, p in parameters.items()}
        self.parameters = parameters

    @staticmethod
    def takes(name: str) -> bool:
        return name.startswith("blocks.") and name.endswith(".weight")

    @torch.no_grad()
    def step(self) -> None:
        for name, p in self.parameters.items():
            self.means[name].lerp_(p.grad, 1 - MOMENTUM)
            ahead = p.grad.lerp(self.means[name], MOMENTUM)
            maps = ahead.split(D_MODEL, 1) if "query_key_value" in name else [ahead]
            moves = [0.2 * max(part.shape) ** 0.5 * orthogonal(part) for part in maps]
            p -= LEARNING_RATE * torch.cat(moves, 1)


def hold_to_pytorchs(parameter: torch.Tensor) -> None:
    """That three steps of ours are those of torch.optim.Muon, as far as bfloat16 goes."""
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (parameter.detach().clone().requires_grad_() for _ in range(2))
    muon = torch.optim.Muon(
        [theirs], lr=LEARNING_RATE, weight_decay=0, momentum=MOMENTUM, adjust_lr_fn="match_rms_adamw"
    )
    optimizers = [muon, Muon({"blocks.weight": ours})]
    for _ in range(3):
        ours.grad = theirs.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        for optimizer in optimizers:
            optimizer.step()
    moved, error = (theirs - parameter).norm(), (ours - theirs).norm()
    assert error < 0.02 * moved, f"Muon moves by {moved}, ours differs by {error}"


def write(file: str, shapes: Shapes, forward, seed: int, muon: bool = False) -> None:
    generator = torch.Generator().manual_seed(seed)
    parameters = {name: draw(name, shape, generator).requires_grad_() for name, shape in shapes.items()}
    xs = rounded(torch.randn(BATCH, N_POINTS, D_X, generator=generator, dtype=torch.float64))
    ys = rounded(torch.randn(BATCH, N_POINTS, generator=generator, dtype=torch.float64))
    loss_now = lambda: functional.mse_loss(forward(parameters, xs, ys)[1], ys)
    named = lambda prefix, of: {f"{prefix}.{name}": of(p).detach().clone() for name, p in parameters.items()}

    hidden, predictions = forward(parameters, xs, ys)
    golden = {"xs": xs, "ys": ys, "predictions": predictions}
    golden |= {f"hidden.{layer}": states for layer, states in enumerate(hidden)}
    golden |= named("weights", lambda p: p)
    by_muon = {name: p for name, p in parameters.items() if muon and Muon.takes(name)}
    by_adam = [p for name, p in parameters.items() if name not in by_muon]
    optimizers = [torch.optim.Adam(by_adam, lr=LEARNING_RATE, betas=BETAS, eps=EPSILON), Muon(by_muon)]
    for p in by_muon.values():
        hold_to_pytorchs(p)
    losses = []
    for step in range(STEPS):
        for p in parameters.values():
            p.grad = None
        loss = loss_now()
        loss.backward()
        if step == 0:
            golden |= named("gradients", lambda p: p.grad) | {"loss": loss.reshape(1)}
        losses.append(loss.item())
        for optimizer in optimizers:
            optimizer.step()
    golden |= named("trained", lambda p: p) | {"losses": torch.tensor(losses, dtype=torch.float64)}

    path = Path(__file__).with_name(file)
    save_file({name: tensor.detach().float().contiguous() for name, tensor in golden.items()}, path)
    print(f"{path}: {path.stat().st_size} bytes, losses {losses[0]:.4f} to {losses[-1]:.4f}")


if __name__ == "__main__":
    write("golden.safetensors", transformer_shapes(), transformer, seed=0)
    write("muon.safetensors", transformer_shapes(), transformer, seed=0, muon=True)
    # With seed 0 one gradient goes through zero while Adam divides it by its own size, and what PyTorch trains in f32 is
    # 2e-5 away from what it trains in f64.
    write("lstm.safetensors", lstm_shapes(), lstm, seed=7)
