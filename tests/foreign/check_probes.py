"""Checks Concept Decodability and the other probes against scikit-learn, guess by guess.

    emergence export RUN
    python tests/foreign/check_probes.py RUN/export/STEP.npz

`STEP.npz` has the hidden states of one resample, the run's probe settings, and under the name of every probe what it
guessed for each state. Here scikit-learn guesses again, in f64:

- knn, knn_cosine: nearest neighbours by brute force, every state left out of its own neighbourhood, of labels with as
  many votes the lowest; and, written out once more below, what the guess for every state counts when ties are shared.
  States with neighbours that tie at the k-th place are left out of the comparison of guesses, where scikit-learn takes
  any of them
- centroid: nearest centroid, fitted again for every state without it
- linear: ridge classifier behind a scaler, from the other folds; state i is in fold i mod `folds`
- quadratic: quadratic discriminant analysis behind a scaler, from the same folds (older versions divide a covariance by
  one less than the number of states, and then a few guesses differ)

Prints the accuracy of every probe at every layer and token; exits with 1 if a single guess or credit differs.

Needs numpy and scikit-learn; tried with 2.4.6 and 1.9.1 (`predict(None)`, the leave-one-out form, needs 1.6).
"""

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import LeaveOneOut, PredefinedSplit, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler


def neighbours(states, concepts, k: int, distance: str) -> np.ndarray:
    """The vote for every state of all others."""
    classifier = KNeighborsClassifier(n_neighbors=k, algorithm="brute", metric=distance)
    # No query means the fitted states themselves, none of them its own neighbour.
    return classifier.fit(states, concepts).predict(None)


def fair_vote(states, concepts, k: int, distance: str) -> tuple[np.ndarray, np.ndarray]:
    """What the guess for every state counts when ties are shared, and which states have a tie at the k-th place."""
    squares = (states**2).sum(1)
    if distance == "cosine":
        states, squares = states / np.sqrt(squares)[:, None], np.ones(len(states))
    distances = squares[:, None] + squares - 2 * states @ states.T
    members = np.bincount(concepts).astype(float)
    credits, tied_at_k = np.zeros(len(states)), np.zeros(len(states), dtype=bool)
    for i, own in enumerate(concepts):
        others = np.delete(np.arange(len(states)), i)
        kth = others[np.argsort(distances[i, others], kind="stable")[k - 1]]
        scale = np.maximum(np.maximum(squares[others], squares[kth]), squares[i])
        ties = np.abs(distances[i, others] - distances[i, kth]) < 1e-12 * scale
        nearer = others[~ties & (distances[i, others] < distances[i, kth])]
        votes = np.bincount(concepts[nearer], minlength=len(members)).astype(float)
        shares, left = np.bincount(concepts[others[ties]], minlength=len(members)).astype(float), k - len(nearer)
        if ties.sum() > left:
            tied_at_k[i] = True
            shares /= np.maximum(members - (np.arange(len(members)) == own), 1)
            shares *= left / shares.sum()
        winners = np.flatnonzero(votes + shares > (votes + shares).max() - 1e-9)
        credits[i] = (own in winners) / len(winners)
    return credits, tied_at_k


def out_of_fold(classifier, states, concepts, folds: int) -> np.ndarray:
    """The guess for every state from the states of the other folds, scaled by those alone."""
    splits = PredefinedSplit(np.arange(len(concepts)) % folds)
    return cross_val_predict(make_pipeline(StandardScaler(), classifier), states, concepts, cv=splits)


def guess(probe: str, states, concepts, settings) -> np.ndarray:
    folds, equal = int(settings["folds"]), np.full(len(np.unique(concepts)), 1 / len(np.unique(concepts)))
    match probe:
        case "knn":
            return neighbours(states, concepts, int(settings["neighbours"]), "euclidean")
        case "knn_cosine":
            return neighbours(states, concepts, int(settings["neighbours"]), "cosine")
        case "centroid":
            return cross_val_predict(NearestCentroid(), states, concepts, cv=LeaveOneOut())
        case "linear":
            return out_of_fold(RidgeClassifier(alpha=float(settings["ridge"])), states, concepts, folds)
        case "quadratic":
            classifier = QuadraticDiscriminantAnalysis(priors=equal, reg_param=float(settings["shrinkage"]))
            return out_of_fold(classifier, states, concepts, folds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("states", type=Path, help="file written by `emergence export`")
    options = parser.parse_args()
    # The embedding of a y token lies on a line, and scikit-learn says so at every fit.
    warnings.filterwarnings("ignore", module="sklearn")
    arrays = dict(np.load(options.states))
    hidden, concepts = arrays["hidden"], arrays["concept"]
    if concepts.min() == concepts.max():
        parser.error("there must be at least 2 concepts to tell apart, but there is 1")
    _, n_layers, n_tokens, _ = hidden.shape
    probes = [name for name in ["knn", "knn_cosine", "centroid", "linear", "quadratic"] if name in arrays]
    if "quadratic" in probes and np.bincount(concepts).min() * (1 - 1 / arrays["folds"]) <= hidden.shape[-1]:
        print("quadratic is left out: scikit-learn wants more states of every concept than there are features")
        probes.remove("quadratic")
    different = guesses = 0
    print("probe      layer token   score   different, the first of them")
    for probe in probes:
        for layer in range(n_layers):
            for token in range(n_tokens):
                states = hidden[:, layer, token].astype(np.float64)
                ours, credits = arrays[probe][:, layer, token], arrays[f"{probe}_credit"][:, layer, token]
                differ = guess(probe, states, concepts, arrays) != ours
                if probe.startswith("knn"):
                    distance = "cosine" if probe == "knn_cosine" else "euclidean"
                    fair, tied = fair_vote(states, concepts, int(arrays["neighbours"]), distance)
                    differ = (differ & ~tied) | (np.abs(fair - credits) > 1e-9)
                wrong = np.flatnonzero(differ)
                print(f"{probe:<10} {layer:5} {token:5}   {credits.mean():.4f}  {wrong.size}", *wrong[:10])
                different, guesses = different + wrong.size, guesses + credits.size
    print(f"{different} of {guesses} guesses differ")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
