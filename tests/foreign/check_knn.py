"""Checks Concept Decodability against scikit-learn, vote by vote.

    emergence export RUN
    python tests/foreign/check_knn.py RUN/export/STEP.npz [k]

`STEP.npz` has the hidden states of one resample and, in `knn`, what our probe guessed for each of them. Here
scikit-learn guesses again: k nearest neighbours (10 unless given; it must be the run's `probe.neighbours`) by brute
force in f64, every state left out of its own neighbourhood, ties going to the lowest label. Prints the decodability of
every layer and token; exits with 1 if a single vote differs.

Needs numpy and scikit-learn; tried with 2.4.6 and 1.9.1 (`predict(None)`, the leave-one-out form, needs 1.6).
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from sklearn.neighbors import KNeighborsClassifier


def leave_one_out(states: np.ndarray, concepts: np.ndarray, k: int, distance: str) -> np.ndarray:
    """scikit-learn's guess for every state, from all others."""
    classifier = KNeighborsClassifier(n_neighbors=k, algorithm="brute", metric=distance)
    # No query means the fitted states themselves, none of them its own neighbour.
    return classifier.fit(states, concepts).predict(None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("states", type=Path, help="file written by `emergence export`")
    parser.add_argument("k", type=int, nargs="?", default=10, help="neighbours that vote (10)")
    parser.add_argument("--distance", choices=["euclidean", "cosine"], default="euclidean", help="probe.distance")
    options = parser.parse_args()
    with np.load(options.states) as arrays:
        hidden, concepts, ours = (arrays[name] for name in ["hidden", "concept", "knn"])
    n, n_layers, n_tokens, _ = hidden.shape
    different = 0
    print("layer token   CD      different votes, the first of them")
    for layer in range(n_layers):
        for token in range(n_tokens):
            states = hidden[:, layer, token].astype(np.float64)
            theirs = leave_one_out(states, concepts, options.k, options.distance)
            wrong = np.flatnonzero(theirs != ours[:, layer, token])
            print(f"{layer:5} {token:5}   {np.mean(theirs == concepts):.4f}  {wrong.size}", *wrong[:10])
            different += wrong.size
    print(f"{different} of {n * n_layers * n_tokens} votes differ")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
