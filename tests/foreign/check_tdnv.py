"""Checks task distance normalised variances against numpy.

    emergence tdnv RUN
    emergence export RUN --step STEP --resample 0 --out 0.npz
    emergence export RUN --step STEP --resample 1 --out 1.npz
    ... and so on: a file for every resample of the run
    python tests/foreign/check_tdnv.py RUN/tdnv.csv STEP 0.npz 1.npz ...

`tdnv.csv` has our means and intervals over the resamples, the other files the hidden states of each. Here they are
computed again from the formula in arXiv 2505.17322: (var_a + var_b) / (2 |mean_a - mean_b|^2), averaged over ordered pairs
of concepts a and b, where var is the mean squared distance of a concept's states from their mean.

Prints both at every layer and token; exits with 1 if a mean or an end of an interval differs by more than one part in a
billion: the states are the same to the last bit, and both sides compute in f64.

Needs numpy; tried with 2.4.6.
"""

import argparse
import csv
import sys
from itertools import permutations
from pathlib import Path

import numpy as np

BOUND = 1e-9


def tdnv(states: np.ndarray, concepts: np.ndarray) -> float:
    groups = [states[concepts == concept] for concept in np.unique(concepts)]
    means = [group.mean(axis=0) for group in groups]
    variances = [((group - mean) ** 2).sum(axis=1).mean() for group, mean in zip(groups, means)]
    pairs = permutations(range(len(groups)), 2)
    return np.mean([(variances[a] + variances[b]) / (2 * ((means[a] - means[b]) ** 2).sum()) for a, b in pairs])


def token_name(place: int) -> str:
    """The name of the token at a place in the sequence x1 y1 x2 y2 ..., which counts from 0."""
    return f"{'xy'[place % 2]}{place // 2 + 1}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path, help="table written by `emergence tdnv`")
    parser.add_argument("step", type=int, help="the checkpoint whose states are in the files")
    parser.add_argument("states", type=Path, nargs="+", help="files written by `emergence export`, one a resample")
    options = parser.parse_args()
    with options.table.open(newline="") as table:
        rows = [row for row in csv.DictReader(table) if int(row["step"]) == options.step]
    if not rows:
        parser.error(f"STEP must be one of the table's, but is {options.step}")
    if int(rows[0]["n"]) != len(options.states):
        parser.error(f"there must be a file for each of the {rows[0]['n']} resamples, but there are {len(options.states)}")
    resamples = [dict(np.load(path)) for path in options.states]
    tokens = [token_name(place) for place in resamples[0]["tokens"]]
    different = 0
    print("layer token      ours       numpy")
    for row in rows:
        layer, token = int(row["layer"]), tokens.index(row["token"])
        values = [tdnv(found["hidden"][:, layer, token].astype(np.float64), found["concept"]) for found in resamples]
        theirs = [np.mean(values), *np.quantile(values, [0.025, 0.975])]
        ours = [float(row[column]) for column in ["score", "lo", "hi"]]
        print(f"{layer:5} {row['token']:>5}   {ours[0]:.6g}   {theirs[0]:.6g}")
        different += not np.allclose(ours, theirs, rtol=BOUND, atol=0)
    print(f"{different} of {len(rows)} rows differ")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
