"""Checks interchange with twins against a model written by hand in PyTorch and predictors in numpy, row by row.

    emergence interchange RUN --subspace linear,quadratic
    emergence export RUN --what prompts --mean-prompts 250
    emergence export RUN --format hf
    python tests/foreign/check_interchange.py RUN/interchange.csv RUN/export/prompts.npz RUN/export/STEP.hf

`prompts.npz` has the prompts, their twins and those behind the means, `STEP.hf` the weights of a checkpoint in GPT-2's
names. Every row of that checkpoint whose states are whole is measured again in f64: the optimal answers, the answers that
the twin's concept makes of the own pairs, the edited answers of the model, the slope and both weights. Left out are random
directions, other prompts that were drawn (`permuted`), and the subspaces, which a test of the measurement checks on a model
made by hand. Prints the largest difference of every donor; exits with 1 if one is above 1e-5 or there was nothing to
compare. The task is sparse regression, read from RUN/config.toml; the bases have equal weights.

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

from check_patching import Model, Prompts, place

# Our arithmetic is f32, with a precision of 6e-8. A slope and a weight are of order 1, and what they are taken from are
# differences of answers through a few blocks.
TOLERANCE = 1e-5


def bases(task: dict) -> list[list[int]]:
    """The coordinates of every basis."""
    if "coordinates" in task["bases"]:
        return task["bases"]["coordinates"]
    blocks = task["bases"]["blocks"]
    return [list(range(k * blocks["rank"], (k + 1) * blocks["rank"])) for k in range(blocks["count"])]


def answers(task: dict, xs: np.ndarray, ys: np.ndarray, concept: np.ndarray | None) -> np.ndarray:
    """The last answer to every prompt: that of the Bayes mixture over all bases, or with the basis of `concept`."""
    noise, spread = task["noise_variance"], task["w_std"] ** 2
    found = np.zeros(len(ys))
    for i, (x, y) in enumerate(zip(xs, ys)):
        known, seen, query = x[:-1], y[:-1], x[-1]
        log_evidence, means = [], []
        for basis in bases(task):
            part = known[:, basis]
            covariance = spread * part @ part.T + noise * np.eye(len(seen))
            _, log_determinant = np.linalg.slogdet(covariance)
            log_evidence.append(-0.5 * (log_determinant + seen @ np.linalg.solve(covariance, seen)))
            means.append(spread * query[basis] @ part.T @ np.linalg.solve(covariance, seen))
        if concept is None:
            posterior = np.exp(np.array(log_evidence) - max(log_evidence))
            found[i] = posterior @ means / posterior.sum()
        else:
            found[i] = means[concept[i]]
    return found


def next_alike(keys: list) -> list[int]:
    """For every element the place of the next equal one, going around."""
    n = len(keys)
    return [next(j % n for j in range(i + 1, i + n + 1) if keys[j % n] == keys[i]) for i in range(n)]


class Data:
    """Prompts, twins, and what the answers are held to."""

    def __init__(self, task: dict, arrays: np.lib.npyio.NpzFile):
        n_points = arrays["eval_ys"].shape[1]
        self.own, self.others = (Prompts(arrays, prefix, n_points) for prefix in ["eval", "mean"])
        self.twin_ys = torch.from_numpy(arrays["twin_ys"]).double()
        self.twin_concept = arrays["twin_concept"]
        xs, concept = self.own.xs.numpy(), self.own.concept.numpy()
        self.optimal = answers(task, xs, self.own.ys.numpy(), None)
        self.target = {
            "twin": answers(task, xs, self.twin_ys.numpy(), None),
            "concept": answers(task, xs, self.own.ys.numpy(), self.twin_concept),
        }
        self.order = {
            "same_concept": next_alike(list(concept)),
            "other_twin": next_alike(list(zip(concept, self.twin_concept))),
        }

    def states(self, donor: str, own: torch.Tensor, twin: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """What takes the place of `own`, [n, d_model], at one layer and token."""
        mean = lambda of: torch.stack([others[self.others.concept == int(k)].mean(0) for k in of])
        match donor:
            case "itself":
                return own
            case "twin":
                return twin
            case "other_twin":
                return twin[self.order[donor]]
            case "same_concept":
                return own[self.order[donor]]
            case "concept_mean":
                return mean(self.twin_concept)
            case "own_mean":
                return mean(self.own.concept)
            case "mean_difference":
                return own + mean(self.twin_concept) - mean(self.own.concept)
        raise ValueError(f"unknown donor {donor}")


def tokens(places: str, n_points: int) -> list[str]:
    """The tokens of a set of them."""
    ys = [f"y{pair}" for pair in range(1, n_points)]
    before = [f"{kind}{pair}" for pair in range(1, n_points) for kind in "xy"]
    return {"query_x": [f"x{n_points}"], "last_y": ys[-1:], "every_y": ys, "before_query": before}[places]


@torch.no_grad()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="interchange.csv")
    parser.add_argument("prompts", type=Path, help="file written by `emergence export --what prompts`")
    parser.add_argument("folder", type=Path, help="folder of `emergence export --format hf`")
    options = parser.parse_args()
    task = tomllib.loads((options.table.parent / "config.toml").read_text())["task"]
    with options.table.open() as file:
        rows = [row for row in csv.DictReader(file) if int(row["step"]) == int(options.folder.stem)]
    rows = [row for row in rows if not row["subspace"] and row["donor"] not in ["random", "permuted"]]

    model = Model(options.folder)
    with np.load(options.prompts) as arrays:
        data = Data(task, arrays)
    own, twin = model.stream(data.own.xs, data.own.ys), model.stream(data.own.xs, data.twin_ys)
    others = model.stream(data.others.xs, data.others.ys)
    plain = model.go_on(0, own[0]).numpy()
    edited, worst = {}, defaultdict(float)
    for row in rows:
        layer, places, donor = int(row["layer"]), row["places"], row["donor"]
        if (layer, places, donor) not in edited:
            h = twin[layer] if places == "everywhere" else own[layer].clone()
            for token in [] if places == "everywhere" else tokens(places, data.own.ys.shape[1]):
                at = place(token)
                h[:, at] = data.states(donor, own[layer][:, at], twin[layer][:, at], others[layer][:, at])
            edited[layer, places, donor] = model.go_on(layer, h).numpy()
        answer, target = edited[layer, places, donor], data.target[row["target"]]
        way = target - data.optimal
        weights, *_ = np.linalg.lstsq(np.stack([data.optimal, target], axis=1), answer, rcond=None)
        found = {"slope": (answer - plain) @ way / (way @ way), "own_weight": weights[0], "target_weight": weights[1]}
        for name, value in found.items():
            worst[donor] = max(worst[donor], abs(float(row[name]) - value))
    for name, difference in sorted(worst.items()):
        print(f"{name:16} {difference:.1e}")
    print(f"{len(rows)} rows of step {int(options.folder.stem)} compared")
    # Not `difference > TOLERANCE`, which a difference that is not a number would pass.
    return int(not (rows and all(difference <= TOLERANCE for difference in worst.values())))


if __name__ == "__main__":
    sys.exit(main())
