"""Loads adapters that this program wrote with PEFT, and compares the states of the tuned model.

    python tests/pretrained/check_adapter.py --model FOLDER --adapter FOLDER

The adapter's folder has adapter_config.json, adapter_model.safetensors and, for the comparison, states.safetensors:

    tokens      i64 [prompts, T]                            padded on the right with -1
    hidden      f32 [prompts, T, layers + 1, d_model]       the embeddings, and what is behind every block, before the
                                                            last norm

`cargo test -p pretrained --lib writes_for_peft -- --ignored` writes such a folder to EMERGENCE_ADAPTER.
"""

import argparse
import sys
from pathlib import Path

from peft import PeftModel
from safetensors.torch import load_file

from make import difference, load, run

# Largest difference of a prompt's states at a layer, over the largest value there: both sides are in f32.
TOLERANCE = 1e-5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    options = parser.parse_args()
    states = load_file(options.adapter / "states.safetensors")
    tokens = states["tokens"]
    before, _ = run(load(options.model), tokens)
    tuned = PeftModel.from_pretrained(load(options.model), options.adapter).eval()
    stored = load_file(options.adapter / "adapter_model.safetensors")
    read = {at: parameter for at, parameter in tuned.named_parameters() if "lora_" in at}
    if {at.replace(".default.weight", ".weight") for at in read} != set(stored):
        print("PEFT has other adapters than the file")
        return 1
    hidden, _ = run(tuned.get_base_model(), tokens)
    off, moved = difference(states["hidden"], hidden), difference(before, hidden)
    print(f"{len(stored)} tensors; states are {off:.1e} off, and the adapter moves them by {moved:.1e}")
    return 0 if off <= TOLERANCE < moved else 1


if __name__ == "__main__":
    sys.exit(main())
