"""Times the states of all layers at the last token of every prompt: this program and `transformers`, in turn.

    pip install torch transformers
    python benches/pretrained/compare.py --model FOLDER --prompts FILE --ours target/release/emergence [--rounds 3]

FILE has JSON lines, each with a `text`. `transformers` computes in f32, without a head, in batches of prompts of like
length, padded on the right. It gets the fastest of eager and fused attention and of several sizes of batches, found on
some of the prompts first. Needing no mask for padding on the right, it gets none.

Every measurement is a process of its own, and the programs take turns, so that a machine that slows down slows both.
Prints JSON. For each program: `process_s`, the time from start to end, `load_s`, `forward_s` and the largest resident
memory, as medians over rounds; and `ratio`, theirs over ours. Without `--ours`, `transformers` alone.

Our program is asked with `--json`, and must print one object that has load_s, forward_s and tokens.
"""

import argparse
import json
import os
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benches"))
from measure import measure  # noqa: E402

ATTENTIONS = ["eager", "sdpa"]
BATCHES = [1, 2, 4, 8, 16, 32]
PILOT = 32  # Prompts on which the fastest way is found.


class Theirs:
    """A model of `transformers`, and prompts in tokens."""

    def __init__(self, options):
        start = time.perf_counter()
        sys.path.insert(0, str(ROOT / "tests/pretrained"))
        import torch
        import theirs
        from transformers import AutoModel

        self.torch, self.watched = torch, theirs.watched
        torch.set_num_threads(options.threads)
        self.import_s = time.perf_counter() - start
        start = time.perf_counter()
        self.model = AutoModel.from_pretrained(options.model, dtype=torch.float32, attn_implementation="eager").eval()
        self.load_s = time.perf_counter() - start
        tokens = theirs.encode(options.model, theirs.read_texts(options.prompts))
        self.tokens = sorted(tokens, key=len, reverse=True)

    def forward_s(self, tokens: list[list[int]], attention: str, batch: int) -> float:
        """Seconds for the states of every layer at the last token."""
        torch = self.torch
        self.model.set_attn_implementation(attention)
        start = time.perf_counter()
        last = None
        take = lambda hidden: hidden[torch.arange(len(hidden)), last]
        with torch.inference_mode(), self.watched(self.model, take) as states:
            found = []
            for first in range(0, len(tokens), batch):
                prompts = tokens[first : first + batch]
                padded = torch.zeros(len(prompts), len(prompts[0]), dtype=torch.long)
                for row, prompt in enumerate(prompts):
                    padded[row, : len(prompt)] = torch.tensor(prompt)
                last = torch.tensor([len(prompt) - 1 for prompt in prompts])
                self.model(padded, use_cache=False)
                found.append(torch.stack(states, dim=1))
            torch.cat(found).numpy()
        return time.perf_counter() - start

    def fastest(self) -> dict:
        """The fastest way on some of the prompts, by tokens a second."""
        pilot = self.tokens[:: max(1, len(self.tokens) // PILOT)]
        self.forward_s(pilot[:1], "eager", 1)
        times = {}
        for attention in ATTENTIONS:
            for batch in [size for size in BATCHES if size <= len(pilot)]:
                try:
                    times[attention, batch] = self.forward_s(pilot, attention, batch)
                except ValueError as error:  # Gemma-2 has no fused attention.
                    print(error, file=sys.stderr)
                    break
        attention, batch = min(times, key=times.get)
        tried = [{"attention": a, "batch": b, "forward_s": round(seconds, 4)} for (a, b), seconds in times.items()]
        return {"attention": attention, "batch": batch, "pilot_prompts": len(pilot), "tried": tried}

    def once(self, attention: str, batch: int) -> dict:
        seconds = self.forward_s(self.tokens, attention, batch)
        count = sum(map(len, self.tokens))
        return {"import_s": self.import_s, "load_s": self.load_s, "forward_s": seconds, "tokens": count}


def found_by(command: list, threads: int) -> dict:
    """What a command prints as JSON, its time from start to end, and its largest resident memory in MiB."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)}
    seconds, memory, printed = measure(command, env=environment)
    return {**json.loads(printed), "process_s": seconds, "memory_mib": memory}


def medians(rounds: list[dict]) -> dict:
    fields = [field for field in ["process_s", "import_s", "load_s", "forward_s", "memory_mib"] if field in rounds[0]]
    found = {field: round(statistics.median(one[field] for one in rounds), 4) for field in fields}
    return found | {"tokens": rounds[0]["tokens"], "forward_s_rounds": [round(one["forward_s"], 4) for one in rounds]}


def main(options) -> None:
    given = ["--model", options.model, "--prompts", options.prompts]
    worker = [sys.executable, __file__, *given, "--threads", options.threads, "--worker"]
    if options.way:
        attention, batch = options.way.split()
        way = {"attention": attention, "batch": int(batch), "tried": []}
    else:
        way = found_by([*worker, "pilot"], options.threads)
    print(f"transformers: {way['attention']} attention, batches of {way['batch']}", file=sys.stderr)
    found = {"theirs": [], "ours": []}
    with tempfile.TemporaryDirectory() as scratch:
        ours = [*shlex.split(options.ours or ""), "lm", "states", *given, "--out", Path(scratch) / "states.npz", "--json"]
        for _ in range(options.rounds):
            found["theirs"].append(found_by([*worker, f"{way['attention']} {way['batch']}"], options.threads))
            if options.ours:
                found["ours"].append(found_by([*ours, *shlex.split(options.options)], options.threads))
    result = {"threads": options.threads, "rounds": options.rounds}
    result["theirs"] = {"attention": way["attention"], "batch": way["batch"], **medians(found["theirs"])}
    result["theirs"]["tried"] = way["tried"]
    if options.ours:
        result["ours"] = medians(found["ours"])
        if result["ours"]["tokens"] != result["theirs"]["tokens"]:
            sys.exit(f"ours has {result['ours']['tokens']} tokens, theirs {result['theirs']['tokens']}")
        fields = ["process_s", "forward_s", "memory_mib"]
        result["ratio"] = {field: round(result["theirs"][field] / result["ours"][field], 3) for field in fields}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--ours", help="command to run our program")
    parser.add_argument("--options", default="", help="more options of `lm states`")
    parser.add_argument("--way", help='attention and size of batches, such as "sdpa 16", instead of finding the fastest')
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if not arguments.worker:
        main(arguments)
    elif arguments.worker == "pilot":
        print(json.dumps(Theirs(arguments).fastest()))
    else:
        chosen, size = arguments.worker.split()
        print(json.dumps(Theirs(arguments).once(chosen, int(size))))
