"""Effective rank and CKA of hidden states over training, beside Concept Decodability.

    for step in 0 500 1000 ...; do emergence export RUN --step $step --out states/$step.npz; done
    python experiments/representations.py states --layer 6 [--token 0]

`states` holds the states of one resample at every checkpoint, named after its step, as `emergence export` writes them. Printed is a
line a checkpoint:

- knn: Concept Decodability of that resample,
- rank: the effective rank of the centred states, exp of the entropy of their singular values over their sum (Roy and
  Vetterli 2007), between 1 and the model's width,
- between: the part of the states' variance that lies between the concepts' means,
- before, last: linear CKA (Kornblith et al. 2019, arXiv 1905.00414) with the checkpoint before and with the last, from 0 to 1.

Needs numpy.
"""

import argparse
from pathlib import Path

import numpy as np


def effective_rank(states: np.ndarray) -> float:
    share = np.linalg.svd(states, compute_uv=False)
    share = share[share > 0] / share.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def cka(a: np.ndarray, b: np.ndarray) -> float:
    """Of centred states, rows the same prompts."""
    norm = lambda x, y: np.linalg.norm(x.T @ y) ** 2
    return norm(a, b) / np.sqrt(norm(a, a) * norm(b, b))


def between(states: np.ndarray, concepts: np.ndarray) -> float:
    means = np.stack([states[concepts == concept].mean(0) for concept in np.unique(concepts)])
    return float((means[np.searchsorted(np.unique(concepts), concepts)] ** 2).sum() / (states**2).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("states", type=Path, help="folder of the exported states")
    parser.add_argument("--layer", type=int, required=True)
    parser.add_argument("--token", type=int, default=0, help="index into the probed tokens")
    options = parser.parse_args()
    files = sorted(options.states.glob("*.npz"), key=lambda file: int(file.stem))
    checkpoints = [(int(file.stem), dict(np.load(file))) for file in files]
    states = [arrays["hidden"][:, options.layer, options.token].astype(np.float64) for _, arrays in checkpoints]
    states = [these - these.mean(0) for these in states]
    print("  step    knn   rank  between  before   last")
    for i, (step, arrays) in enumerate(checkpoints):
        decodable = arrays["knn_credit"][:, options.layer, options.token].mean()
        rank, apart = effective_rank(states[i]), between(states[i], arrays["concept"])
        before, last = cka(states[i], states[max(i - 1, 0)]), cka(states[i], states[-1])
        print(f"{step:6}  {decodable:5.2f}  {rank:5.1f}    {apart:5.3f}   {before:5.3f}  {last:5.3f}")


if __name__ == "__main__":
    main()
