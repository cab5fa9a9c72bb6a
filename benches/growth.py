"""Measures how time and memory grow with the work, and fits an exponent to each curve.

    cargo test --no-run
    python benches/growth.py target/debug [--only steps,decodability,umap,report,runs]

Prints one table a part. Every row is one curve: what was varied, the values, time and peak memory at each of them, and the
exponents of time and memory, fitted to the larger half of the values on logarithmic axes. Peaks are those that Linux notes
for the process. Needs numpy. Programs run on two threads, probes and UMAP on one.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from measure import Measured, measure

# What is varied in a step of two-bases, and the settings that a value stands for.
STEPS = {
    "batch": ([16, 64, 256, 1024], lambda n: [f"train.batch_size={n}"]),
    "pairs": ([10, 30, 100, 250, 500], lambda n: [f"task.n_points={n}", "train.batch_size=16"]),
    "width": ([32, 64, 128, 256, 512], lambda n: [f"model.d_model={n}"]),
    "blocks": ([2, 6, 12, 24], lambda n: [f"model.n_layers={n}"]),
}
# States a concept, concepts, width; what is varied is a list.
STATES = {
    "states a concept": [(n, 4, 64) for n in [50, 200, 500, 1000, 2000]],
    "concepts": [(100, n, 64) for n in [2, 4, 16, 64]],
    "width": [(200, 4, n) for n in [64, 256, 1024, 4096]],
}
CHECKPOINTS = [10, 100, 1000]
RUNS = [10, 100, 500, 2000]


def run(command: list) -> Measured:
    return measure(command, stderr=subprocess.DEVNULL)


def exponent(values: list, measured: list) -> float:
    half = len(values) // 2
    return np.polyfit(np.log(values[half:]), np.log(measured[half:]), 1)[0]


def row(name: str, values: list, times: list, memory: list, unit: str) -> None:
    cells = [" ".join(f"{number:,.3g}" if number < 1000 else f"{number:,.0f}" for number in numbers) for numbers in (values, times, memory)]
    exponents = f"{exponent(values, times):.2f} | {exponent(values, memory):.2f}"
    print(f"| {name} | {cells[0]} | {cells[1]} {unit} | {cells[2]} MiB | {exponents} |", flush=True)


def head(part: str) -> None:
    print(f"\n**{part}**\n\n| varied | values | time | peak memory | exponent of time | of memory |\n|---|---|---|---|---|---|")


def steps(programs: Path, _: Path) -> None:
    head("A step of `two-bases`")
    for name, (values, sets) in STEPS.items():
        found = []
        for value in values:
            settings = [word for setting in sets(value) for word in ("--set", setting)]
            _, memory, printed = run([programs / "emergence", "bench", "two-bases", *settings, "--json", "--threads", 2, "--steps", 5, "--warm-up", 2])
            found.append((json.loads(printed)["median_ms"], memory))
        row(name, values, *zip(*found), "ms")


def states(programs: Path, folder: Path, what: str) -> None:
    head("UMAP of states" if what else "Decodability by five probes, one layer and token")
    for name, shapes in STATES.items():
        found = []
        for per_concept, concepts, width in shapes:
            rng = np.random.default_rng(0)
            means = np.repeat(rng.normal(size=(concepts, width)), per_concept, axis=0)
            file = folder / "states"
            (means + 2 * rng.normal(size=means.shape)).astype("<f4").tofile(file)
            _, memory, printed = run([programs / "examples/states", file, width, concepts, *([what] if what else [])])
            found.append((json.loads(printed)["seconds"], memory))
        varied = [next(shape[i] for i in range(3) if len({other[i] for other in shapes}) > 1) for shape in shapes]
        row(name, varied, *zip(*found), "s")


def report(programs: Path, folder: Path) -> None:
    head("`report` over checkpoints of the preset `smoke`")
    found, sizes = [], []
    for count in CHECKPOINTS:
        out = folder / f"checkpoints-{count}"
        sets = ["--set", f"train.steps={count}", "--set", "checkpoints.every=1", "--set", "probe.resamples=2"]
        run([programs / "emergence", "train", "smoke", "--quiet", *sets, "--out", out])
        (path,) = out.iterdir()
        shutil.rmtree(path / "plots")
        found.append(run([programs / "emergence", "report", path])[:2])
        files = [file for file in path.rglob("*") if file.is_file()]
        sizes.append(((path / "report.html").stat().st_size / 1e6, sum(file.stat().st_size for file in files) / 1e6))
    row("checkpoints", CHECKPOINTS, *zip(*found), "s")
    for name, column in [("report.html", 0), ("the run's folder", 1)]:
        numbers = [size[column] for size in sizes]
        print(f"\n{name}: {', '.join(f'{number:.2f}' for number in numbers)} MB, exponent {exponent(CHECKPOINTS, numbers):.2f}")


def runs(programs: Path, folder: Path) -> None:
    """Copies of a run by hard links, with another seed each; without a seal nothing says that it was changed."""
    out = folder / "runs"
    run([programs / "emergence", "train", "smoke", "--quiet", "--out", out])
    (first,) = out.iterdir()
    shutil.rmtree(first / "plots")
    text, made = (first / "config.toml").read_text(), 1
    found = {"compare": [], "runs list": []}
    for count in RUNS:
        for number in range(made, count):
            copy = out / f"copy-{number:05}"
            shutil.copytree(first, copy, copy_function=os.link)
            for name in ("config.toml", "seal.toml"):
                (copy / name).unlink()
            (copy / "config.toml").write_text(text.replace("seed = 0", f"seed = {number}"))
        made = count
        for command, measured in found.items():
            measured.append(run([programs / "emergence", *command.split(), out])[:2])
        shutil.rmtree(out / "compare", ignore_errors=True)
    head("Runs in a folder")
    for command, measured in found.items():
        row(f"`{command}`", RUNS, *zip(*measured), "s")


PARTS = {
    "steps": steps,
    "decodability": lambda programs, folder: states(programs, folder, ""),
    "umap": lambda programs, folder: states(programs, folder, "umap"),
    "report": report,
    "runs": runs,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("programs", type=Path, help="folder of the built programs")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by comma")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for part in options.only.split(","):
            PARTS[part](options.programs, Path(folder))


if __name__ == "__main__":
    main()
