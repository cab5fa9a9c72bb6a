"""Compares the memory that the program expects to take with the most it takes, over a grid of shapes.

    python benches/memory.py target/debug/emergence

Each shape is made of one thing before all: parameters, states, weights of attention, prompts, shards. A row of the first
table is four steps of training (`bench --json`), and one of the second is `cd RUN` on a run of one step. Peaks are those
that Linux notes for the process. Exits with 1 if an expectation is not within a factor of 1.3, or a peak is below 256 MiB,
where the program itself would count for too much.
"""

import json
import sys
import tempfile
from pathlib import Path

from measure import measure

FACTOR = 1.3

# Without heads it is an LSTM.
# device, d_model, n_layers, n_heads, n_points, d_x, batch_size, shards, threads
STEPS = [
    ("flex", 64, 1, 1, 20, 4, 8192, 4, 2),
    ("flex", 64, 1, 1, 20, 4, 8192, 1, 2),
    ("flex", 64, 2, 4, 20, 4, 4096, 4, 2),
    ("flex", 256, 4, 8, 20, 16, 128, 4, 2),
    ("flex", 256, 12, 8, 20, 16, 128, 4, 2),
    ("flex", 256, 12, 8, 20, 16, 128, 1, 2),
    ("flex", 1024, 1, 8, 4, 4, 32, 4, 2),
    ("flex", 1024, 2, 8, 4, 4, 32, 4, 2),
    ("flex", 1024, 2, 8, 4, 4, 32, 16, 2),
    ("flex", 1024, 2, 8, 4, 4, 32, 1, 2),
    ("flex", 64, 4, 8, 128, 8, 128, 4, 2),
    ("flex", 32, 4, 8, 256, 4, 128, 2, 2),
    ("flex", 16, 2, 1, 512, 4, 256, 2, 2),
    ("flex", 16, 2, 16, 64, 4, 256, 2, 2),
    ("flex", 16, 2, 16, 128, 4, 512, 2, 2),
    ("flex", 16, 1, 1, 128, 64, 4096, 4, 2),
    ("flex", 16, 1, 1, 1024, 4, 512, 4, 2),
    ("flex", 48, 3, 3, 24, 5, 2048, 4, 2),
    ("flex", 128, 6, 8, 20, 16, 512, 4, 2),
    ("flex", 128, 6, 8, 20, 16, 512, 4, 1),
    ("flex", 512, 8, 8, 8, 8, 64, 4, 2),
    ("flex", 96, 5, 6, 60, 4, 256, 4, 2),
    ("flex", 64, 8, 4, 12, 6, 1024, 8, 2),
    ("flex", 32, 6, 2, 40, 4, 1024, 4, 2),
    ("flex", 64, 2, 0, 20, 4, 4096, 4, 2),
    ("flex", 256, 4, 0, 20, 4, 512, 4, 2),
    ("flex", 1024, 2, 0, 4, 4, 32, 4, 2),
    ("flex", 1024, 2, 0, 4, 4, 32, 16, 2),
    ("flex", 1024, 2, 0, 4, 4, 32, 1, 2),
    ("flex", 16, 2, 0, 60, 4, 2048, 4, 2),
    ("ndarray", 64, 1, 1, 20, 4, 1024, 4, 2),
    ("ndarray", 64, 2, 4, 20, 4, 1024, 4, 2),
    ("ndarray", 64, 2, 4, 20, 4, 1024, 1, 2),
    ("ndarray", 256, 4, 8, 20, 16, 64, 4, 2),
    ("ndarray", 1024, 2, 8, 4, 4, 16, 4, 2),
    ("ndarray", 32, 4, 8, 128, 4, 16, 2, 2),
    ("ndarray", 16, 2, 16, 64, 4, 64, 2, 2),
    ("ndarray", 16, 1, 1, 256, 4, 64, 4, 2),
    ("ndarray", 128, 6, 8, 20, 16, 64, 4, 2),
    ("ndarray", 64, 1, 4, 64, 4, 256, 4, 2),
    ("ndarray", 64, 3, 1, 32, 4, 512, 4, 2),
    ("ndarray", 512, 2, 8, 8, 8, 64, 4, 2),
    ("ndarray", 512, 4, 8, 8, 8, 32, 8, 2),
    ("ndarray", 256, 1, 2, 40, 4, 128, 2, 2),
    ("ndarray", 32, 8, 4, 20, 4, 512, 4, 2),
    ("ndarray", 16, 4, 2, 200, 4, 16, 4, 2),
]

# d_model, n_layers, concepts, prompts of each, threads
MEASURING = [
    (1024, 2, 2, 200, 2),
    (1024, 2, 2, 500, 2),
    (1024, 1, 2, 500, 1),
    (512, 6, 2, 300, 2),
    (256, 8, 4, 500, 2),
    (32, 4, 8, 500, 2),
]


def sets(fields: dict) -> list:
    return [word for name, value in fields.items() for word in ("--set", f"{name}={value}")]


def row(shape: tuple, expected: float, peak: float) -> bool:
    """Prints a row of a table, and says whether the expectation holds."""
    print(f"| {' | '.join(map(str, shape))} | {expected:.0f} | {peak:.0f} | {expected / peak:.2f} |", flush=True)
    return 1 / FACTOR <= expected / peak <= FACTOR and peak > 256


def head(names: str) -> None:
    columns = [*names.split(), "expected, MiB", "peak, MiB", "ratio"]
    print(f"\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")


def main() -> int:
    program, hold = sys.argv[1], True
    head("device d_model n_layers n_heads n_points d_x batch_size shards threads")
    for shape in STEPS:
        device, d_model, n_layers, n_heads, n_points, d_x, batch_size, shards, threads = shape
        fields = {"model.d_model": d_model, "model.n_layers": n_layers, "model.n_heads": n_heads}
        if n_heads == 0:
            fields |= {"model.kind": "lstm", "model.position_std": 0.0}
        fields |= {"task.n_points": n_points, "task.d_x": d_x, "train.batch_size": batch_size, "train.shards": shards}
        command = ["bench", "smoke", "--device", device, "--steps", 4, "--warm-up", 0, "--threads", threads, "--json"]
        found = json.loads(measure([program, *command, *sets(fields)]).printed)
        hold &= row(shape, found["expected_memory_mib"], found["peak_memory_mib"])
    head("d_model n_layers concepts prompts_per_concept threads")
    for shape in MEASURING:
        d_model, n_layers, concepts, prompts, threads = shape
        fields = {"model.d_model": d_model, "model.n_layers": n_layers, "task.d_x": max(4, concepts)}
        fields |= {"task.bases": f"{{blocks={{count={concepts},rank=1}}}}", "train.steps": 1}
        fields |= {"probe.prompts_per_concept": prompts, "probe.resamples": 2}
        options = ["--threads", threads, *sets(fields)]
        found = json.loads(measure([program, "bench", "smoke", "--steps", 1, "--warm-up", 0, "--json", *options]).printed)
        with tempfile.TemporaryDirectory() as out:
            measure([program, "train", "smoke", "--quiet", "--out", out, *options])
            peak = measure([program, "cd", *Path(out).iterdir(), "--threads", threads]).memory
        hold &= row(shape, found["expected_to_measure_mib"], peak)
    return int(not hold)


if __name__ == "__main__":
    sys.exit(main())
