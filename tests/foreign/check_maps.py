"""Checks maps by UMAP and t-SNE against umap-learn and scikit-learn, by trustworthiness.

    emergence map RUN --method umap
    emergence export RUN --step STEP
    python tests/foreign/check_maps.py RUN/map.csv RUN/export/STEP.npz

Maps by t-SNE are in `map.csv` of runs that an older program mapped. `map.csv` has our maps, `STEP.npz` the hidden states of one of their checkpoints. Here the same states are mapped again
with the same settings, five times each: UMAP with 15 neighbours and a min_dist of 0.1, everything else at its default;
t-SNE exact, with a perplexity of 30, from the principal components and a little noise, for without it every seed would
give the same map. Two maps of the same states never agree point by point, so what is compared is their trustworthiness
with 15 neighbours, as scikit-learn computes it.

Prints it for every layer of the map, and the principal components' for comparison. Exits with 1 if ours is more than 2%
away from the mean of theirs: at any layer by UMAP, in the mean over layers by t-SNE, whose maps of structureless states
differ by more than that from seed to seed.

Needs numpy, scikit-learn and umap-learn; tried with 2.4.6, 1.9.1 and 0.5.12.
"""

import argparse
import csv
import sys
import warnings
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, trustworthiness
from umap import UMAP

NEIGHBOURS = 15
SEEDS = range(5)
BOUND = 0.02


def read_maps(path: Path, step: int) -> dict[tuple[str, int], np.ndarray]:
    """The points of every method and layer at `step`, in the order of the states."""
    points = {}
    with path.open(newline="") as table:
        for row in csv.DictReader(table):
            if int(row["step"]) == step:
                points.setdefault((row["method"], int(row["layer"])), []).append([float(row["x"]), float(row["y"])])
    return {place: np.array(rows) for place, rows in points.items()}


def map_again(method: str, states: np.ndarray, seed: int) -> np.ndarray:
    match method:
        case "umap":
            return UMAP(n_neighbors=NEIGHBOURS, min_dist=0.1, random_state=seed).fit_transform(states)
        case "tsne":
            start = PCA(2).fit_transform(states)
            start = 1e-4 * start / start[:, 0].std() + np.random.default_rng(seed).normal(scale=1e-6, size=start.shape)
            return TSNE(perplexity=30, method="exact", init=start).fit_transform(states)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("maps", type=Path, help="table written by `emergence map`")
    parser.add_argument("states", type=Path, help="file written by `emergence export`, named after its step")
    options = parser.parse_args()
    # umap-learn says at every fit that a seed costs it its threads.
    warnings.filterwarnings("ignore", module="umap")
    # The map is of the first probed token.
    hidden = np.load(options.states)["hidden"][:, :, 0].astype(np.float64)
    maps = read_maps(options.maps, int(options.states.stem))
    compared = [(method, layer) for method, layer in maps if method != "pca"]
    if not compared:
        print(f"{options.maps} has no map by umap or tsne at step {int(options.states.stem)}")
        return 1
    away = {}
    print("method layer   ours   theirs  (lowest, highest)     off     pca")
    for method, layer in compared:
        states = hidden[:, layer]

        def trust(points: np.ndarray) -> float:
            return trustworthiness(states, points, n_neighbors=NEIGHBOURS)

        ours = trust(maps[method, layer])
        theirs = np.array([trust(map_again(method, states, seed)) for seed in SEEDS])
        off = ours / theirs.mean() - 1
        pca = f"{trust(maps['pca', layer]):.4f}" if ("pca", layer) in maps else "–"
        print(
            f"{method:<6} {layer:5}   {ours:.4f} {theirs.mean():.4f}  ({theirs.min():.4f}, {theirs.max():.4f})"
            f"  {off:+.2%}  {pca}"
        )
        away.setdefault(method, []).append(off)
    far = {"umap": lambda offs: np.abs(offs).max(), "tsne": lambda offs: abs(np.mean(offs))}
    failed = [method for method, offs in away.items() if far[method](offs) > BOUND]
    print(f"more than {BOUND:.0%} away:", *failed or ["none"])
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
