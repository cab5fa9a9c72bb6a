"""Checks the lasso, ridge and least squares against scikit-learn, prediction by prediction.

    emergence export RUN
    python tests/foreign/check_lasso.py RUN/export/STEP.npz [--config RUN/config.toml]

`STEP.npz` has the prompts of one resample and, in `predictor_lasso` and its like, what our closed-form predictors
answered at every pair from the pairs before it. Here scikit-learn fits every prefix of every prompt again, with the
strengths that follow from the run's configuration. Prints the largest difference of every predictor, relative to the
root of the mean of y²; exits with 1 if one is above 1e-6.

The prompts of many pairs can take scikit-learn minutes; `--prompts` takes fewer of them.

Needs Python 3.11, numpy and scikit-learn; tried with 2.4.6 and 1.9.1.
"""

import argparse
import sys
import tomllib
from pathlib import Path

import numpy as np
from sklearn.linear_model import Lasso, LinearRegression, Ridge

# Both sides stop their descent at about 1e-8 of the penalty; nearly dependent coordinates make more of it.
TOLERANCE = 1e-6
# The least noise that our lasso's penalty is made for, in units of E[y²].
LEAST_NOISE = 1e-3


def weight_variance(task: dict) -> float:
    """Mean variance of the true weights over all coordinates."""
    if task["kind"] == "function_families":
        return task["signal_std"] ** 2 / task["d_x"]
    bases = task["bases"]
    ranks = [len(basis) for basis in bases.get("coordinates", [])] or [bases["blocks"]["rank"]]
    weights = task.get("weights", [1.0] * len(ranks)) if len(ranks) > 1 else None
    return task["w_std"] ** 2 * float(np.average(ranks, weights=weights)) / task["d_x"]


def predictors(task: dict) -> dict:
    """By name: the estimator to fit to n pairs."""
    v, noise = weight_variance(task), task["noise_variance"]
    penalty = max(noise, LEAST_NOISE * v * task["d_x"]) / np.sqrt(v / 2)
    exact = {"fit_intercept": False, "tol": 1e-13, "max_iter": 1_000_000}
    return {
        "lasso": lambda n: Lasso(alpha=penalty / n, **exact),
        "ridge": lambda n: Ridge(alpha=noise / v, fit_intercept=False, solver="svd"),
        # Of many exact fits, scikit-learn's too is the one of smallest norm.
        "least_squares": lambda n: LinearRegression(fit_intercept=False),
    }


def refit(estimator, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """Predictions at every pair from the pairs before it; nothing is known at the first."""
    after = [estimator(n).fit(xs[:n], ys[:n]).predict(xs[n : n + 1])[0] for n in range(1, len(ys))]
    return np.array([0.0, *after])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("states", type=Path, help="file written by `emergence export`")
    parser.add_argument("--config", type=Path, help="the run's config.toml (beside the folder of the states)")
    parser.add_argument("--prompts", type=int, help="how many prompts, spread evenly (all)")
    options = parser.parse_args()
    config = options.config or options.states.parent.parent / "config.toml"
    with np.load(options.states) as arrays:
        xs, ys = (arrays[name].astype(np.float64) for name in ["xs", "ys"])
        ours = {name.removeprefix("predictor_"): arrays[name] for name in arrays if name.startswith("predictor_")}
    chosen = np.linspace(0, len(ys) - 1, options.prompts or len(ys)).astype(int)
    scale = np.sqrt(np.mean(ys**2))
    errors = {}
    for name, estimator in predictors(tomllib.loads(config.read_text())["task"]).items():
        theirs = np.array([refit(estimator, xs[i], ys[i]) for i in chosen])
        errors[name] = np.max(np.abs(theirs - ours[name][chosen])) / scale
        print(f"{name:14} {theirs.size} predictions  largest difference {errors[name]:.1e}")
    # Not `error > TOLERANCE`, which an error that is not a number would pass.
    return int(not all(error <= TOLERANCE for error in errors.values()))


if __name__ == "__main__":
    sys.exit(main())
