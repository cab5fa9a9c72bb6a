"""Runs that the program trains for the tests of emergence.py, which takes it seconds.

    EMERGENCE=target/debug/emergence python -m pytest python

EMERGENCE is the program, target/debug/emergence of this repository unless given. The tests need pytest, numpy, pandas,
polars, torch, transformers, safetensors, transformer_lens and tensorboard; tried with 9.2, 2.4.6, 3.1.1, 2.1.0, 2.15.0,
5.24.0, 0.8.0, 3.9.0 and 2.21.0.
"""

import csv
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = Path(os.environ.get("EMERGENCE", ROOT / "target/debug/emergence")).resolve()

# What measures a trained run, each with what keeps it short.
MEASURES = ["positions", "sites", "separation", "tdnv", "algorithms", "prune", "transplant", "sensitivity"]
MEASURES += ["patch --steer 1", "map --method umap", "interchange --step 40", "interchange-heads", "heads"]


def program(*arguments: object) -> None:
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"


def train(folder: Path, *sets: str) -> Path:
    before = set(folder.glob("*"))
    program("train", "smoke", "--quiet", "--out", folder, *(part for value in sets for part in ("--set", value)))
    (run,) = set(folder.glob("*")) - before
    return run


def cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a table as they stand in the file."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return header, rows


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Path:
    """A folder with a run on which everything is measured, and a sweep's folder with two more."""
    folder = tmp_path_factory.mktemp("runs")
    run = train(folder)
    for measure in MEASURES:
        command, *options = measure.split()
        program(command, run, *options)
    train(folder / "sweep", "seed=1", "train.schedule={kind='cosine',warm_up=4,until=40,floor=0.1}")
    train(folder / "sweep", "seed=2", "model.n_layers=3")
    return folder


@pytest.fixture(scope="session")
def run(study) -> Path:
    return next(study.glob("smoke-*"))


@pytest.fixture(scope="session")
def language_model(tmp_path_factory) -> Path:
    """Measurements of a tiny language model."""
    folder = tmp_path_factory.mktemp("language-model")
    sets = ["task.bits=2", "task.shots=[0,1,2]", "eval.prompts_per_concept=4", "probe.prompts_per_concept=6"]
    sets += ["probe.neighbours=3", "probe.folds=3"]
    options = [part for value in sets for part in ("--set", value)]
    model = ROOT / "tests/pretrained/golden/smollm2"
    program("lm", "measure", "bitwise", "--model", model, "--out", folder, *options)
    (run,) = folder.glob("bitwise-*")
    program("lm", "intervene", run)
    return run


@pytest.fixture
def copy(study, tmp_path) -> Path:
    """The runs once more, for a test that damages them."""
    return Path(shutil.copytree(study, tmp_path / "copy"))
