"""Checks patching and steering against a model written by hand in PyTorch, row by row.

    emergence patch RUN
    emergence export RUN --what prompts
    emergence export RUN --format hf
    python tests/foreign/check_patching.py RUN/patching.csv RUN/export/prompts.npz RUN/export/STEP.hf

`patching.csv` has our errors, `prompts.npz` the prompts they were measured with, `STEP.hf` the weights of a checkpoint
in GPT-2's names. Here every state is replaced or steered again, in f64, and every error of that checkpoint's rows is
compared: its own, and what the change adds to it. Prints the largest relative difference of every kind of intervention;
exits with 1 if one is above 1e-5 or there was nothing to compare. The step is read from the folder's name.

Needs numpy, safetensors and torch; tried with 2.4.6, 0.8.0 and 2.15.0.
"""

import argparse
import csv
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

# Our arithmetic is f32, with a precision of 6e-8; this leaves room for the sums of some blocks, and for an error that is
# the square of a small difference.
TOLERANCE = 1e-5


class Model:
    """The transformer from the layout of GPT-2's weights, in f64; linear maps are [in, out]."""

    def __init__(self, folder: Path):
        config = json.loads((folder / "config.json").read_text())
        self.n_layers, self.n_heads = config["n_layer"], config["n_head"]
        self.epsilon = config["layer_norm_epsilon"]
        files = [load_file(folder / name) for name in ["model.safetensors", "read_in_out.safetensors"]]
        self.weights = {name: tensor.double() for file in files for name, tensor in file.items()}

    def linear(self, name: str, h: torch.Tensor) -> torch.Tensor:
        return h @ self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def norm(self, name: str, h: torch.Tensor) -> torch.Tensor:
        scale, shift = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return F.layer_norm(h, h.shape[-1:], scale, shift, self.epsilon)

    def embed(self, xs: torch.Tensor, ys: torch.Tensor) -> torch.Tensor:
        """[n, K, d_x] and [n, K] to the residual stream of x1 y1 x2 y2 …, where y is (y, 0, …, 0)."""
        n, n_points, d_x = xs.shape
        tokens = xs.new_zeros(n, 2 * n_points, d_x)
        tokens[:, 0::2] = xs
        tokens[:, 1::2, 0] = ys
        return self.linear("read_in", tokens) + self.weights["wpe.weight"][: 2 * n_points]

    def block(self, layer: int, h: torch.Tensor) -> torch.Tensor:
        """The residual stream at `layer`, from the one at the layer before."""
        name, (n, tokens, d_model) = f"h.{layer - 1}", h.shape
        qkv = self.linear(f"{name}.attn.c_attn", self.norm(f"{name}.ln_1", h))
        # [n, tokens, 3 d_model] -> three of [n, n_heads, tokens, d_head]
        q, k, v = qkv.view(n, tokens, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        h = h + self.linear(f"{name}.attn.c_proj", mixed.transpose(1, 2).reshape(n, tokens, d_model))
        inner = F.gelu(self.linear(f"{name}.mlp.c_fc", self.norm(f"{name}.ln_2", h)), approximate="tanh")
        return h + self.linear(f"{name}.mlp.c_proj", inner)

    def stream(self, xs: torch.Tensor, ys: torch.Tensor) -> list[torch.Tensor]:
        """The residual stream of every layer."""
        layers = [self.embed(xs, ys)]
        for layer in range(1, self.n_layers + 1):
            layers.append(self.block(layer, layers[-1]))
        return layers

    def go_on(self, layer: int, h: torch.Tensor) -> torch.Tensor:
        """From the residual stream at `layer` to the predictions of the last y."""
        for behind in range(layer + 1, self.n_layers + 1):
            h = self.block(behind, h)
        return self.linear("read_out", self.norm("ln_f", h))[:, -2, 0]


class Prompts:
    """Prompts cut to the first `n_points` pairs."""

    def __init__(self, arrays: np.lib.npyio.NpzFile, prefix: str, n_points: int):
        self.xs = torch.from_numpy(arrays[f"{prefix}_xs"][:, :n_points]).double()
        self.ys = torch.from_numpy(arrays[f"{prefix}_ys"][:, :n_points]).double()
        self.concept = torch.from_numpy(arrays[f"{prefix}_concept"])


def place(token: str) -> int:
    """The token's place in the sequence."""
    return 2 * (int(token[1:]) - 1) + (token[0] == "y")


def changed(row: dict, h: torch.Tensor, means: torch.Tensor, own: torch.Tensor, target: int | None, directions):
    """What takes the place of the states `h`, [n, d_model], whose own concepts' means are `own`."""
    if row["kind"] == "itself":
        return h
    steered, overall = bool(row["strength"]), means.mean(0)
    origin = overall if steered else torch.zeros_like(overall)
    match row["kind"]:
        case "concept":
            vectors = (means[target] - origin).expand_as(h)
        case "overall":
            vectors = (overall - origin).expand_as(h)
        case "random":
            vectors = (own - origin).norm(dim=-1, keepdim=True) * directions
        case kind:
            raise ValueError(f"unknown kind {kind}")
    return h + float(row["strength"]) * vectors if steered else vectors


@torch.no_grad()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="patching.csv")
    parser.add_argument("prompts", type=Path, help="file written by `emergence export --what prompts`")
    parser.add_argument("folder", type=Path, help="folder of `emergence export --format hf`")
    options = parser.parse_args()
    with options.table.open() as file:
        table = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["source"] for row in table))
    rows = [row for row in table if int(row["step"]) == int(options.folder.stem)]

    model, worst = Model(options.folder), defaultdict(float)
    with np.load(options.prompts) as arrays:
        whole = Prompts(arrays, "eval", arrays["eval_ys"].shape[1])
        shares = torch.from_numpy(arrays["weights"])
        of_concept = lambda values, concept: values[whole.concept == concept]
        squares = [of_concept(whole.ys, concept).square().mean() for concept in range(len(names))]
        scale = float(sum(share * square for share, square in zip(shares, squares)))
        directions = torch.from_numpy(arrays["directions"])
        cut = {n: [Prompts(arrays, prefix, n) for prefix in ["eval", "mean"]] for n in {int(r["position"]) for r in rows}}
    streams = {n: [model.stream(prompts.xs, prompts.ys) for prompts in both] for n, both in cut.items()}

    for row in rows:
        layer, at, n_points = int(row["layer"]), place(row["token"]), int(row["position"])
        (prompts, mean_prompts), (stream, mean_stream) = cut[n_points], streams[n_points]
        concepts = range(len(names))
        means = torch.stack([mean_stream[layer][mean_prompts.concept == concept, at].mean(0) for concept in concepts])
        source = prompts.concept == names.index(row["source"])
        target = names.index(row["target"]) if row["target"] else None
        h = stream[layer][source].clone()
        own = means[names.index(row["source"])].expand(len(h), -1)
        h[:, at] = changed(row, h[:, at], means, own, target, directions[source])
        ys = prompts.ys[source, -1]
        error = float((model.go_on(layer, h) - ys).square().mean()) / scale
        plain = float((model.go_on(layer, stream[layer][source]) - ys).square().mean()) / scale
        for name, ours, theirs in [("error", row["error"], error), ("change", row["change"], error - plain)]:
            # A change that is all but nothing has no relative size; it is compared with the error it is a change of.
            difference = abs(float(ours) - theirs) / error
            kind = f"{row['kind']} {'added' if row['strength'] else 'in place'}: {name}"
            worst[kind] = max(worst[kind], difference)
    for name, difference in sorted(worst.items()):
        print(f"{name:26} {difference:.1e}")
    print(f"{len(rows)} rows of step {int(options.folder.stem)} compared")
    # Not `difference > TOLERANCE`, which a difference that is not a number would pass.
    return int(not (rows and all(difference <= TOLERANCE for difference in worst.values())))


if __name__ == "__main__":
    sys.exit(main())
