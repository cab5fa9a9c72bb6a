"""Effective rank and CKA of hidden states over training, beside Concept Decodability.

    for step in 0 500 1000 ...; do emergence export RUN --step $step --out states/$step.npz; done
    python experiments/representations.py states

`states` holds the states of one resample at every checkpoint, named after its step, as `emergence export` writes them. For every
token and layer, a line a checkpoint:

- knn: Concept Decodability of that resample,
- rank: the effective rank of the centred states, exp of the entropy of their singular values over their sum (Roy and
  Vetterli 2007), between 1 and the model's width,
- between: the part of the states' variance that lies between the concepts' means,
- before, last: linear CKA (Kornblith et al. 2019, arXiv 1905.00414) with the checkpoint before and with the last, from 0 to 1.

Needs numpy.
"""

import sys
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
    files = sorted(Path(sys.argv[1]).glob("*.npz"), key=lambda file: int(file.stem))
    checkpoints = [(int(file.stem), dict(np.load(file))) for file in files]
    _, n_layers, n_tokens, _ = checkpoints[0][1]["hidden"].shape
    for token in range(n_tokens):
        for layer in range(n_layers):
            print(f"\ntoken {token}, layer {layer}\n  step    knn   rank  between  before   last")
            centred = []
            for _, arrays in checkpoints:
                states = arrays["hidden"][:, layer, token].astype(np.float64)
                centred.append(states - states.mean(0))
            for i, (step, arrays) in enumerate(checkpoints):
                decodable = arrays["knn_credit"][:, layer, token].mean()
                with_before = cka(centred[i], centred[i - 1]) if i else float("nan")
                numbers = [between(centred[i], arrays["concept"]), with_before, cka(centred[i], centred[-1])]
                rank = effective_rank(centred[i])
                print(f"{step:6}  {decodable:5.2f}  {rank:5.1f}    {numbers[0]:5.3f}   {numbers[1]:5.3f}  {numbers[2]:5.3f}")


if __name__ == "__main__":
    main()
