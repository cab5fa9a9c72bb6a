"""Times Concept Decodability beside scikit-learn and UMAP beside umap-learn, on the same states, one thread each.

    cargo test --no-run
    python benches/beside.py target/debug/examples/states

Four concepts of 200 states each, Gaussian clouds around means of their own. Decodability is the accuracy of all five probes at
their default settings: leave-one-out nearest neighbours by distance and by angle, leave-one-out nearest centroid, and ridge and
quadratic discriminant analysis in five folds. Each program is started three times, in turn; what a row shows is the median of
the seconds inside, without starting and reading, and the peak memory of the process. Scores are printed for comparison.

Needs numpy, scikit-learn and umap-learn; tried with 2.4.6, 1.9.1 and 0.5.12.
"""

import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from measure import measure

CONCEPTS, PER_CONCEPT, ROUNDS = 4, 200, 3
ONE_THREAD = {name: "1" for name in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"]}


def scores(states: np.ndarray) -> dict[str, float]:
    """The accuracies of the five probes by scikit-learn."""
    from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
    from sklearn.linear_model import RidgeClassifier
    from sklearn.model_selection import LeaveOneOut, PredefinedSplit, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    concepts = np.repeat(np.arange(CONCEPTS), PER_CONCEPT)
    folds = PredefinedSplit(np.arange(len(concepts)) % 5)

    def neighbours(metric: str) -> float:
        classifier = KNeighborsClassifier(n_neighbors=10, algorithm="brute", metric=metric).fit(states, concepts)
        # No query means the fitted states themselves, none of them its own neighbour.
        return float(np.mean(classifier.predict(None) == concepts))

    def cross_validated(classifier, split) -> float:
        return float(np.mean(cross_val_score(classifier, states, concepts, cv=split)))

    quadratic = QuadraticDiscriminantAnalysis(priors=[1 / CONCEPTS] * CONCEPTS, reg_param=0.1)
    found = {
        "knn": neighbours("euclidean"),
        "knn_cosine": neighbours("cosine"),
        "centroid": cross_validated(NearestCentroid(), LeaveOneOut()),
        "linear": cross_validated(make_pipeline(StandardScaler(), RidgeClassifier(alpha=1.0)), folds),
    }
    # It takes no more features than a concept has states.
    if states.shape[1] < PER_CONCEPT * 4 // 5:
        found["quadratic"] = cross_validated(make_pipeline(StandardScaler(), quadratic), folds)
    return found


def theirs(file: str, width: str, what: str) -> None:
    """As the example `states` does and prints."""
    warnings.filterwarnings("ignore")
    states = np.fromfile(file, "<f4").reshape(-1, int(width)).astype(np.float64)
    if what == "umap":
        from umap import UMAP

        # What numba compiles at the first call counts for nobody.
        UMAP(n_neighbors=15, min_dist=0.1, random_state=0).fit(states[:100])
        began = time.perf_counter()
        found = {"points": len(UMAP(n_neighbors=15, min_dist=0.1, random_state=0).fit_transform(states))}
    else:
        began = time.perf_counter()
        found = scores(states)
    print(json.dumps({"seconds": time.perf_counter() - began, "scores": found}))


def on_one_thread(command: list) -> dict:
    """What a command prints as JSON, and its memory."""
    measured = measure(command, env={**os.environ, **ONE_THREAD})
    return {**json.loads(measured.printed), "memory": measured.memory}


def main() -> None:
    program = sys.argv[1]
    print("| what | width | ours, s | theirs, s | theirs / ours | memory, MiB, ours and theirs |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for what, width in [("probes", 64), ("probes", 4096), ("umap", 64), ("umap", 4096)]:
            rng = np.random.default_rng(0)
            means = np.repeat(rng.normal(size=(CONCEPTS, width)), PER_CONCEPT, axis=0)
            file = Path(folder) / "states"
            (means + 4 * rng.normal(size=means.shape)).astype("<f4").tofile(file)
            arguments = [file, width, CONCEPTS, *(["umap"] if what == "umap" else [])]
            found = {"ours": [], "theirs": []}
            for _ in range(ROUNDS):
                found["ours"].append(on_one_thread([program, *arguments]))
                found["theirs"].append(on_one_thread([sys.executable, __file__, "--theirs", file, width, what]))
            median = lambda whose, field: statistics.median(run[field] for run in found[whose])
            times, memory = ([median(whose, field) for whose in found] for field in ("seconds", "memory"))
            ratio = times[1] / times[0]
            print(f"| {what} | {width} | {times[0]:.3f} | {times[1]:.3f} | {ratio:.1f} | {memory[0]:.0f} and {memory[1]:.0f} |")
            for whose in found:
                print(f"{whose}: {found[whose][0]['scores']}", file=sys.stderr)


if __name__ == "__main__":
    if sys.argv[1] == "--theirs":
        theirs(*sys.argv[2:])
    else:
        main()
