"""Checks the states and logits of `emergence lm states` against `transformers`, on any model and prompts.

    python tests/pretrained/check_states.py --model FOLDER --prompts FILE --ours target/release/emergence
    python tests/pretrained/check_states.py --model FOLDER --prompts FILE --states states.npz

FILE has JSON lines, each with a `text`. Ours has, at the last token of each prompt:

    tokens  [prompts, T], padded on the right with -1
    hidden  [prompts, n_layers + 1, d_model], what enters the first block and leaves every block, before the final norm
    logits  [prompts, vocabulary]

`transformers` takes the prompts one by one, in f32 with eager attention, and the weights as they are stored. The measure
is the largest |ours - theirs| over the largest |theirs|, for every prompt and layer. Prints its largest value for every
layer. Exits with 1 if tokens differ, or if a measure is above 1e-5: f32 arithmetic in another order differs by 2e-6 on
tiny models with large weights.

Needs torch, transformers, tokenizers and numpy; tried with 2.15.0, 5.24.0, 0.23 and 2.4.6.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM

from theirs import encode, read_texts, watched

BOUND = 1e-5


def run_ours(command: str, model: Path, prompts: Path) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "states.npz"
        arguments = ["lm", "states", "--model", model, "--prompts", prompts, "--out", out]
        subprocess.run([*shlex.split(command), *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
        return dict(np.load(out))


@torch.inference_mode()
def run_theirs(folder: Path, tokens: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """States of every layer and logits, at the last token of each prompt."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    hidden, logits = [], []
    with watched(model, take=lambda states: states[0, -1]) as states:
        for prompt in tokens:
            logits.append(model(torch.tensor([prompt]), use_cache=False, logits_to_keep=1).logits[0, -1])
            hidden.append(torch.stack(states))
    return torch.stack(hidden).numpy(), torch.stack(logits).numpy()


def measure(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Largest difference over largest value, along the last axis; infinite where ours is not finite."""
    if ours.shape != theirs.shape:
        sys.exit(f"ours has shape {ours.shape}, theirs {theirs.shape}")
    found = np.abs(ours.astype(np.float64) - theirs).max(-1) / np.abs(theirs).max(-1)
    return np.where(np.isfinite(found), found, np.inf)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, required=True)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--ours", help="command to run our program")
    source.add_argument("--states", type=Path, help="what it wrote already")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    tokens = encode(options.model, read_texts(options.prompts))
    ours = dict(np.load(options.states)) if options.states else run_ours(options.ours, options.model, options.prompts)
    padded = [[int(token) for token in row if token >= 0] for row in ours["tokens"]]
    wrong = [row for row, (a, b) in enumerate(zip(padded, tokens)) if a != b]
    if len(padded) != len(tokens) or wrong:
        print(f"tokens differ: {len(padded)} prompts against {len(tokens)}, unlike in {wrong[:10]}")
        return 1
    hidden, logits = run_theirs(options.model, tokens)

    by_layer = measure(ours["hidden"], hidden)
    for layer, found in enumerate(by_layer.max(0)):
        print(f"layer {layer}: {found:.1e}, at prompt {by_layer[:, layer].argmax()}")
    of_logits = measure(ours["logits"], logits)
    print(f"logits: {of_logits.max():.1e}, at prompt {of_logits.argmax()}")
    worst = max(by_layer.max(), of_logits.max())
    agreed = worst <= BOUND
    print(f"{len(tokens)} prompts: {worst:.1e}, {'within' if agreed else 'above'} {BOUND:.0e}")
    return 0 if agreed else 1


if __name__ == "__main__":
    sys.exit(main())
