"""Checks interchange of heads and the scores of heads against a model written by hand in PyTorch, row by row.

    emergence interchange-heads RUN
    emergence heads RUN --mean-prompts 250
    emergence export RUN --what prompts --mean-prompts 250
    emergence export RUN --format hf
    python tests/foreign/check_heads.py RUN RUN/export/STEP.hf

`RUN/export/prompts.npz` has the prompts, their twins, those with permuted ys and those behind the means, `STEP.hf` the weights
of a checkpoint in GPT-2's names. Every row of that checkpoint in `interchange_heads.csv` and `heads.csv` is measured again in
f64: the attention and the output of every head, the edited answers, and what is computed from them. Left out are intervals,
random directions and other prompts that were drawn (`permuted`). Prints the largest difference of every donor and score; exits
with 1 if one is above 1e-5 or there was nothing to compare. The task is sparse regression, read from RUN/config.toml.

Needs numpy, safetensors and torch; tried with 2.4.6, 0.8.0 and 2.15.0.
"""

import argparse
import csv
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from check_interchange import Data, tokens
from check_patching import Model, place

# Our arithmetic is f32, with a precision of 6e-8. A slope and a weight are of order 1, and what they are taken from are
# differences of answers through a few blocks.
TOLERANCE = 1e-5


class Heads(Model):
    """The model with its heads told apart."""

    def heads(self, layer: int, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The attention [n, n_heads, tokens, tokens] of a block and what each head adds [n, n_heads, tokens, d_model]."""
        name, (n, length, d_model) = f"h.{layer - 1}", h.shape
        qkv = self.linear(f"{name}.attn.c_attn", self.norm(f"{name}.ln_1", h))
        q, k, v = qkv.view(n, length, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        scores = torch.einsum("nhqd,nhkd->nhqk", q, k) / (d_model // self.n_heads) ** 0.5
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        weights = scores.masked_fill(future, -torch.inf).softmax(-1)
        out = self.weights[f"{name}.attn.c_proj.weight"].view(self.n_heads, -1, d_model)
        return weights, torch.einsum("nhqk,nhkd,hdm->nhqm", weights, v, out)

    def block_with(self, layer: int, h: torch.Tensor, changed: torch.Tensor) -> torch.Tensor:
        """The residual stream at `layer` where the heads add `changed` instead."""
        name = f"h.{layer - 1}"
        h = h + changed.sum(1) + self.weights[f"{name}.attn.c_proj.bias"]
        inner = F.gelu(self.linear(f"{name}.mlp.c_fc", self.norm(f"{name}.ln_2", h)), approximate="tanh")
        return h + self.linear(f"{name}.mlp.c_proj", inner)

    def answer(self, layer: int, h: torch.Tensor, changed: torch.Tensor) -> np.ndarray:
        """The predictions of the last y from the stream before `layer`, where the heads add `changed`."""
        return self.go_on(layer, self.block_with(layer, h, changed)).numpy()


def read(path: Path, step: int) -> list[dict]:
    """The rows of a table at a step."""
    with path.open() as file:
        return [row for row in csv.DictReader(file) if int(row["step"]) == step]


def check_interchange(model: Heads, data: Data, rows: list[dict], worst: dict) -> None:
    """Adds to `worst` how far every row of `interchange_heads.csv` is off."""
    streams = [model.stream(xs, ys) for xs, ys in [
        (data.own.xs, data.own.ys), (data.own.xs, data.twin_ys), (data.others.xs, data.others.ys)]]
    plain = model.go_on(0, streams[0][0]).numpy()
    for layer in range(1, model.n_layers + 1):
        own, twin, others = (model.heads(layer, stream[layer - 1])[1] for stream in streams)
        edited = {}
        for row in (row for row in rows if int(row["layer"]) == layer):
            head, places, donor = row["head"], row["places"], row["donor"]
            if (head, places, donor) not in edited:
                changed = own.clone()
                for one in [int(head) - 1] if head else range(model.n_heads):
                    for at in map(place, tokens(places, data.own.ys.shape[1])):
                        here = (own[:, one, at], twin[:, one, at], others[:, one, at])
                        changed[:, one, at] = data.states(donor, *here)
                edited[head, places, donor] = model.answer(layer, streams[0][layer - 1], changed)
            answer, target = edited[head, places, donor], data.target[row["target"]]
            way = target - data.optimal
            weights, *_ = np.linalg.lstsq(np.stack([data.optimal, target], axis=1), answer, rcond=None)
            found = {"slope": (answer - plain) @ way / (way @ way), "own_weight": weights[0], "target_weight": weights[1]}
            for name, value in found.items():
                worst[donor] = max(worst[donor], abs(float(row[name]) - value))


def check_scores(model: Heads, data: Data, arrays: np.lib.npyio.NpzFile, rows: list[dict], worst: dict) -> None:
    """Adds to `worst` how far every row of `heads.csv` is off."""
    xs, ys, concept = data.own.xs, data.own.ys, data.own.concept
    shares, half = arrays["weights"], ys.shape[1] // 2
    over_concepts = lambda values: sum(s * float(values[concept == c].mean()) for c, s in enumerate(shares))
    scale = over_concepts(ys.square())
    repeated = model.stream(xs[:, :half].repeat(1, 2, 1), ys[:, :half].repeat(1, 2))
    permuted = model.stream(xs, torch.from_numpy(arrays["permuted_ys"]).double())
    others = model.stream(data.others.xs, data.others.ys)
    error = lambda answer: (ys[:, -1] - torch.as_tensor(answer)).square() / scale
    plain = error(model.go_on(0, permuted[0]))
    of_block = lambda layer: [model.heads(layer, stream[layer - 1]) for stream in [repeated, others, permuted]]
    blocks = {layer: of_block(layer) for layer in range(1, model.n_layers + 1)}
    for row in rows:
        layer, head = int(row["layer"]), int(row["head"]) - 1
        (weights, _), (_, outputs), (_, own) = blocks[layer]
        looks = torch.stack([weights[:, head, 2 * (half + i), 2 * i + 1] for i in range(half)]).mean(0)
        means = torch.stack([outputs[data.others.concept == c, head, -2].mean(0) for c in range(len(shares))])

        def replaced(by: torch.Tensor) -> torch.Tensor:
            changed = own.clone()
            changed[:, head, -2] = by[concept]
            return error(model.answer(layer, permuted[layer - 1], changed))

        with_own, with_other = replaced(means), replaced((means.sum(0) - means) / (len(shares) - 1))
        found = {
            "induction": over_concepts(looks),
            "chance": np.mean([1 / (2 * (half + i) + 1) for i in range(half)]),
            "function_vector": over_concepts(plain - with_own),
            "concept_part": over_concepts(with_other - with_own),
        }
        for name, value in found.items():
            worst[name] = max(worst[name], abs(float(row[name]) - value))


@torch.no_grad()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("folder", type=Path, help="folder of `emergence export --format hf`")
    options = parser.parse_args()
    task = tomllib.loads((options.run / "config.toml").read_text())["task"]
    step, model, worst = int(options.folder.stem), Heads(options.folder), defaultdict(float)
    interchanged = read(options.run / "interchange_heads.csv", step)
    interchanged = [row for row in interchanged if row["donor"] not in ["random", "permuted"]]
    scores = read(options.run / "heads.csv", step)
    with np.load(options.run / "export/prompts.npz") as arrays:
        data = Data(task, arrays)
        check_interchange(model, data, interchanged, worst)
        check_scores(model, data, arrays, scores, worst)
    for name, difference in sorted(worst.items()):
        print(f"{name:16} {difference:.1e}")
    print(f"{len(interchanged)} and {len(scores)} rows of step {step} compared")
    # Not `difference > TOLERANCE`, which a difference that is not a number would pass.
    return int(not (interchanged and scores and all(difference <= TOLERANCE for difference in worst.values())))


if __name__ == "__main__":
    sys.exit(main())
