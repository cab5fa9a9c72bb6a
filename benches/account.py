"""Accounts for every millisecond of a training step, from samples of where the threads are.

    cargo build -p emergence
    python benches/account.py target/debug/emergence [SIZE ...]

SIZE is a preset or a configuration; without any: benches/sizes/small.toml, benches/sizes/medium.toml and quickstart. Needs Linux,
perf (Debian: linux-perf) and llvm-addr2line (llvm).

Every row is processor time a step, of all threads together, as it was sampled 997 times a second. *Waiting* is what the threads have left:
threads times the median step, less all rows above. Products also have their rate, over the rate that `bench` measures between
the steps for products of this width. The floor is the arithmetic at that rate and Adam's bytes at the rate of copying.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from multiprocessing import Pool
from pathlib import Path

SIZES = ["benches/sizes/small.toml", "benches/sizes/medium.toml", "quickstart"]
WARM_UP, STEPS, HERTZ = 20, 400, 997
# The functions of one's own code that say what a sample is for; of a sample's frames the innermost counts.
ROWS = {
    "norms": ["normalise", "add_normalise_gradient"],
    "GELU": ["gelu_all", "gelu_with_slope", "multiply"],
    "attention: softmax": ["softmax", "softmax_gradient"],
    "attention: products of heads": ["products", "mix_keys", "mix_queries"],
    "norms' scale and shift into maps and back": ["fold", "unfold"],
    "biases and their gradients": ["add_rows", "add_row_sums", "fill_rows"],
    "sequences side by side and back": ["by_token", "push_by_sequence", "at_outputs", "among_all"],
    "Adam, sums of gradients, their norm": ["adam", "add_parts", "squares"],
    "drawing prompts": ["draw"],
}
OF_FUNCTION = {function: row for row, functions in ROWS.items() for function in functions}
PRODUCTS = ["attend", "feed_forward", "attend_gradient", "feed_forward_gradient"]
OTHER = "read-in, read-out, loss, burn's graph and tensors"
FAULTS, LOOKING = "pages that the system clears", "threads looking for work"


def name(function: str) -> str:
    """Of `<a::B as c::D>::name<E>::{closure#0}` the name."""
    parts = [part for part in re.sub(r"<[^<>]*>", "", re.sub(r"<[^<>]*>", "", function)).split("::") if part and part[0] not in "{<"]
    return parts[-1] if parts else function


def samples(program: str, folder: str) -> list[list[str]]:
    """Of every sample the frames, innermost first: functions, with what was inlined."""
    script = subprocess.run(
        ["perf", "script", "-i", f"{folder}/samples", "--no-inline", "-F", "ip,sym,dso"], capture_output=True, text=True, check=True
    ).stdout
    stacks = [[line.strip() for line in stack.splitlines() if line.startswith("\t")] for stack in script.split("\n\n")]
    own = sorted({line.split()[0] for stack in stacks for line in stack if program in line})
    lines = subprocess.run(
        ["llvm-addr2line", "-e", program, "-a", "-f", "-i", "-C"], input="\n".join(f"0x{address}" for address in own), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    inlined, here = {}, []
    for first, second in zip(lines, [*lines[1:], ""]):
        if re.fullmatch("0x[0-9a-f]+", first):
            here = inlined.setdefault(int(first, 16), [])
        elif "/" in second or second.startswith("?"):
            here.append(first)
    frames = lambda line: [*inlined.get(int(line.split()[0], 16), []), line.split(None, 1)[1]]
    return [[frame for line in stack for frame in frames(line)] for stack in stacks if stack]


def row(frames: list[str]) -> str | None:
    """What a sample counts for; nothing if it is of no step."""
    if any("exc_page_fault" in frame for frame in frames):
        kind = FAULTS
    elif any(re.search("crossbeam|rayon_core::sleep|sched_yield|futex", frame) for frame in frames[:8]):
        kind = LOOKING
    else:
        kind = None
    names = [name(frame) for frame in frames]
    if "products_per_second" in names or not any(part in names for part in ["gradients", "step", "ahead", "block", "block_gradient"]):
        return kind if kind == LOOKING else None
    if kind:
        return kind
    product = "write_product" in names
    for function in names:
        if product and function in PRODUCTS:
            return f"products: {function}"
        if not product and function in OF_FUNCTION:
            return OF_FUNCTION[function]
    return OTHER


def flop(config: dict) -> dict[str, float]:
    """Of the products of a step, in 10⁹ operations; attention's own are not among them."""
    d, blocks, prompts, pairs = config["d_model"], config["n_layers"], config["batch_size"], config["n_points"]
    found = Counter()
    for block in range(blocks):
        # The last answer is no input, and behind the last block only the answers count.
        tokens = prompts * (2 * pairs - 1)
        outputs = prompts * pairs if block == blocks - 1 else tokens
        attend, feed_forward = 2 * d * d * (2 * outputs + 2 * tokens) / 1e9, 2 * d * 8 * d * outputs / 1e9
        for function, operations in [("attend", attend), ("feed_forward", feed_forward)]:
            found[f"products: {function}"] += operations
            found[f"products: {function}_gradient"] += 2 * operations
    return found


def copying(seconds: float = 0.5) -> float:
    """Bytes a second of one core that copies arrays larger than its caches, read and written."""
    import numpy as np

    a, b = np.ones(1 << 25), np.empty(1 << 25)
    began, times = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        np.copyto(b, a)
        times += 1
    return 2 * times * a.nbytes / (time.perf_counter() - began)


def account(program: str, size: str, threads: int) -> None:
    bench = [program, "bench", size, "--json", "--threads", str(threads), "--steps", str(STEPS), "--warm-up", str(WARM_UP)]
    quiet = json.loads(subprocess.run(bench, capture_output=True, check=True).stdout)
    with tempfile.TemporaryDirectory() as folder:
        record = ["perf", "record", "-q", "-F", str(HERTZ), "-e", "cpu-clock", "--call-graph", "dwarf,16384", "-o", f"{folder}/samples"]
        sampled = json.loads(subprocess.run([*record, "--", *bench], stdout=subprocess.PIPE, check=True).stdout)
        found = Counter(filter(None, map(row, samples(program, folder))))
    per_step = 1e3 / HERTZ / (WARM_UP + STEPS)
    print(f"\n**{quiet['name']}**: {quiet['median_ms']:.1f} ms a step ({sampled['median_ms']:.1f} while it was sampled)\n")
    rate = quiet["gflop_per_second"] / quiet["share_of_products"]
    of_products = flop(fields(program, size))
    print("| what | ms of processor time | share | share of the products' rate |\n|---|---|---|---|")
    total = threads * sampled["median_ms"]
    for what, count in found.most_common():
        ms = count * per_step
        share = of_products.get(what, 0) / ms * 1e3 / (rate / threads)
        print(f"| {what} | {ms:.2f} | {ms / total:.1%} | {f'{share:.0%}' if share else ''} |")
    waiting = total - sum(found.values()) * per_step
    print(f"| waiting | {waiting:.2f} | {waiting / total:.1%} | |")


def fields(program: str, size: str) -> dict:
    """The numbers of a configuration, whatever it extends."""
    with tempfile.TemporaryDirectory() as folder:
        text = subprocess.run([program, "show", size], capture_output=True, text=True, check=True, cwd=folder).stdout
    return {key: int(value) for key, value in re.findall(r"^(\w+) = ([0-9_]+)\b", text, re.MULTILINE)}


def main() -> None:
    program, threads = str(Path(sys.argv[1]).resolve()), os.cpu_count()
    with Pool(threads) as pool:
        print(f"copying: {sum(pool.map(copying, [0.5] * threads)) / 1e9:.1f} GB/s on {threads} cores")
    for size in sys.argv[2:] or SIZES:
        account(program, size, threads)


if __name__ == "__main__":
    main()
