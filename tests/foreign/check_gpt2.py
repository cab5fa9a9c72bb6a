"""Checks a trained model against Hugging Face's GPT-2, layer by layer.

    emergence export RUN
    emergence export RUN --format hf
    python tests/foreign/check_gpt2.py RUN/export/STEP.npz RUN/export/STEP.hf [TOKEN ...]

`STEP.hf` is the model as transformers loads it, `STEP.npz` what our own forward pass gave: prompts, hidden states and
predictions. Here GPT2Model runs on the same prompts. The tokens are the positions that the states were exported at,
the query's x and the last y unless given. Prints the largest error of every layer and of the predictions, relative to
the largest absolute value there; exits with 1 if one is above 1e-5.

GPT2Model runs in f64, so that the errors are our f32 arithmetic's alone. It shows its last hidden state only after the
final norm; hooks on the blocks see the residual stream as it is.

Needs numpy, safetensors, torch and transformers; tried with 2.4.6, 0.8.0, 2.15.0 and 5.23.0.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import GPT2Model
from transformers.utils.logging import disable_progress_bar

# A f32 has a precision of 6e-8; this leaves room for sums over the width and a residual stream of some depth.
TOLERANCE = 1e-5

# The weights of read-in and read-out, by name; linear maps are [in, out].
Ends = dict[str, torch.Tensor]


def load(folder: Path) -> tuple[GPT2Model, Ends]:
    """The blocks, and the read-in and read-out around them, all in f64."""
    model, report = GPT2Model.from_pretrained(folder, output_loading_info=True)
    # from_pretrained draws at random what it does not find, and ignores what it does not know.
    for problem in ["missing_keys", "unexpected_keys", "mismatched_keys"]:
        assert not report[problem], f"{problem}: {report[problem]}"
    ends = load_file(folder / "read_in_out.safetensors")
    return model.double().eval(), {name: tensor.double() for name, tensor in ends.items()}


def interleave(xs: torch.Tensor, ys: torch.Tensor) -> torch.Tensor:
    """[n, K, d_x] and [n, K] to the tokens x1 y1 x2 y2 …, [n, 2K, d_x], where y is (y, 0, …, 0)."""
    n, n_points, d_x = xs.shape
    tokens = xs.new_zeros(n, 2 * n_points, d_x)
    tokens[:, 0::2] = xs
    tokens[:, 1::2, 0] = ys
    return tokens


@torch.no_grad()
def run(model: GPT2Model, ends: Ends, tokens: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The residual stream of every layer, [n, 2K, d_model] each, and the predictions, [n, K]."""
    stream = []
    keep = lambda states: stream.append(states[0] if isinstance(states, tuple) else states)
    hooks = [model.h[0].register_forward_pre_hook(lambda block, inputs: keep(inputs))]
    hooks += [block.register_forward_hook(lambda block, inputs, output: keep(output)) for block in model.h]
    embedded = tokens @ ends["read_in.weight"] + ends["read_in.bias"]
    normed = model(inputs_embeds=embedded, use_cache=False).last_hidden_state
    for hook in hooks:
        hook.remove()
    predictions = normed[:, 0::2] @ ends["read_out.weight"] + ends["read_out.bias"]
    return stream, predictions.squeeze(-1)


def relative_error(ours: np.ndarray, theirs: torch.Tensor) -> float:
    """Largest absolute difference, over the largest absolute value."""
    expected = theirs.numpy()
    assert ours.shape == expected.shape, f"{ours.shape} is not {expected.shape}"
    return float(np.abs(ours - expected).max() / np.abs(expected).max())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("states", type=Path, help="file written by `emergence export`")
    parser.add_argument("folder", type=Path, help="folder of `emergence export --format hf`")
    parser.add_argument("tokens", type=int, nargs="*", help="positions of the exported states (2K-2 2K-1)")
    options = parser.parse_args()
    disable_progress_bar()
    with np.load(options.states) as arrays:
        xs, ys = (torch.from_numpy(arrays[name]).double() for name in ["xs", "ys"])
        hidden, predictions = arrays["hidden"], arrays["predictions"]
    n_points = ys.shape[1]
    tokens = options.tokens or [2 * n_points - 2, 2 * n_points - 1]

    stream, expected = run(*load(options.folder), interleave(xs, ys))
    assert len(stream) == hidden.shape[1], f"{hidden.shape[1]} layers exported, {len(stream)} in the model"
    layers = enumerate(stream)
    errors = {f"layer {l}": relative_error(hidden[:, l], states[:, tokens]) for l, states in layers}
    errors["predictions"] = relative_error(predictions, expected)
    for name, error in errors.items():
        print(f"{name:12} {error:.1e}")
    # Not `error > TOLERANCE`, which an error that is not a number would pass.
    return int(not all(error <= TOLERANCE for error in errors.values()))


if __name__ == "__main__":
    sys.exit(main())
