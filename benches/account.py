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
OF_MAPS = ["attend", "feed_forward", "attend_gradient", "feed_forward_gradient"]
MUON = "orthogonal"
PRODUCTS = [*OF_MAPS, MUON]
# The functions of this workspace that say what a sample is for; of a sample's frames the innermost counts.
ROWS = {
    "norms": ["normalise", "add_normalise_gradient"],
    "GELU": ["gelu_rows", "gelu_rows_with_slope", "multiply_and_sum"],
    "attention: softmax": ["softmax", "softmax_gradient"],
    "attention: products of heads": ["products", "mix_keys", "mix_queries"],
    "norms' scale and shift into maps and back": ["fold", "unfold"],
    "biases, and room between the products": ["add_rows", "add_row_sums", "fill_rows", *OF_MAPS],
    "sequences side by side and back": ["by_token", "push_by_sequence", "at_outputs", "among_all"],
    "Muon": [MUON],
    "Adam, sums of gradients, their norm": ["adam", "add_parts", "squares"],
    "read-in, read-out, loss": ["embed", "embed_gradient", "read_out", "read_out_gradient", "squared_error"],
    "drawing prompts": ["draw"],
}
OF_FUNCTION = {function: row for row, functions in ROWS.items() for function in functions}
GRAPH, OTHER = "burn's graph", "other"
FAULTS, LOOKING = "pages that the system clears", "threads looking for work"


def name(function: str) -> str:
    """Of `<a::B as c::D>::name::<E>::{closure#0}` the name."""
    bare = re.sub(r"::h[0-9a-f]{16}$", "", function)
    while bare != (bare := re.sub(r"<[^<>]*>", "", bare)):
        pass
    parts = [part for part in bare.split("::") if part and part[0] != "{"]
    return parts[-1] if parts else function


def ran(*command: str, **more) -> str:
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, **more).stdout


def samples(program: str, file: str) -> list[list[str]]:
    """Of every sample the frames, innermost first, with those that were inlined."""
    stacks = []
    for stack in ran("perf", "script", "-i", file, "--no-inline", "-F", "ip,sym,dso").split("\n\n"):
        lines = [line.split(None, 1) for line in stack.splitlines() if line.startswith("\t")]
        # A caller's address is that behind its call.
        stacks.append([(int(address, 16) - (depth > 0), symbol) for depth, (address, symbol) in enumerate(lines)])
    own = {address for stack in stacks for address, symbol in stack if program in symbol}
    inlined = functions(program, sorted(own))
    frames = lambda address, symbol: [*inlined.get(address, []), symbol.rsplit(" (", 1)[0]]
    return [[frame for found in stack for frame in frames(*found)] for stack in stacks if stack]


def functions(program: str, places: list[int]) -> dict[int, list[str]]:
    """The functions at places of the program's file, innermost first: of this workspace by name, others by path."""
    # A debugger goes by addresses in memory.
    offset, address = re.search(r"LOAD +(0x\w+) (0x\w+) .* R E ", ran("readelf", "-lW", program)).groups()
    shift = int(address, 16) - int(offset, 16)
    asked = "\n".join(hex(place + shift) for place in places)
    lines = iter(ran("llvm-addr2line", "-e", program, "-a", "-f", "-i", "-C", input=asked).splitlines())
    found = {}
    for line in lines:
        if line.startswith("0x"):
            here = found.setdefault(int(line, 16) - shift, [])
        else:
            file = next(lines)
            here.append(name(line) if "/crates/" in file and "/registry/" not in file else f"::{line}")
    return found


def row(frames: list[str]) -> str | None:
    """What a sample counts for; nothing if it is of the products that `bench` compares with."""
    if "products_per_second" in frames:
        return None
    if "exc_page_fault" in frames:
        return FAULTS
    if any(re.search("crossbeam|rayon_core::sleep|sched_yield|futex", frame) for frame in frames[:8]):
        return LOOKING
    if any(frame.startswith("gemm") for frame in frames):
        return next((f"products: {function}" for function in frames if function in PRODUCTS), "products: elsewhere")
    if found := next((OF_FUNCTION[frame] for frame in frames if frame in OF_FUNCTION), None):
        return found
    return GRAPH if any("burn_autodiff" in frame for frame in frames) else OTHER


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


def copying(seconds: float) -> float:
    """Bytes a second of one core that copies arrays larger than its caches, read and written."""
    import numpy as np

    a, b = np.ones(1 << 25), np.ones(1 << 25)
    began, times = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        np.copyto(b, a)
        times += 1
    return 2 * times * a.nbytes / (time.perf_counter() - began)


def account(program: str, size: str, threads: int, bandwidth: float) -> None:
    bench = [program, "bench", size, "--json", "--threads", str(threads), "--steps", str(STEPS), "--warm-up", str(WARM_UP)]
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/samples"
        record = ["perf", "record", "-q", "-F", str(HERTZ), "-e", "cpu-clock", "--call-graph", "dwarf,16384", "-o", file]
        timed = json.loads(ran(*record, "--", *bench))
        counts = Counter(filter(None, map(row, samples(program, file))))
    step, rate = timed["median_ms"], timed["gflop_per_second"] / timed["share_of_products"]
    config = fields(program, size)
    of_products = flop(config)
    rows = [(what, count * 1e3 / HERTZ / (WARM_UP + STEPS)) for what, count in counts.most_common()]
    rows.append(("waiting", threads * step - sum(ms for _, ms in rows)))
    print(f"\n**{timed['name']}**, {step:.1f} ms a step; products at {rate:.0f} GFLOP/s\n")
    print("| what | ms of processor time | share | share of the products' rate |\n|---|---|---|---|")
    for what, ms in rows:
        share = f"{of_products[what] / ms * 1e3 / (rate / threads):.0%}" if what in of_products else ""
        print(f"| {what} | {ms:.2f} | {ms / threads / step:.1%} | {share} |")
    arithmetic = timed["gflop_per_step"] / rate * 1e3
    # Gradients are written and read, values and two moments read and written; blocks hold nearly all of them.
    bytes_ms = 12 * config["d_model"] ** 2 * config["n_layers"] * 4 * 8 / bandwidth * 1e3
    over = step / (arithmetic + bytes_ms)
    print(f"\nFloor: {arithmetic:.1f} ms of products and {bytes_ms:.2f} ms of Adam's bytes; the step takes {over:.2f} times that.")


def fields(program: str, size: str) -> dict:
    """The numbers of a configuration, whatever it extends."""
    text = ran(program, "show", size)
    return {key: int(value) for key, value in re.findall(r"^(\w+) = ([0-9_]+)\b", text, re.MULTILINE)}


def main() -> None:
    program, threads = str(Path(sys.argv[1]).resolve()), os.cpu_count()
    with Pool(threads) as pool:
        bandwidth = sum(pool.map(copying, [0.5] * threads))
    print(f"{threads} threads; copying at {bandwidth / 1e9:.0f} GB/s")
    for size in sys.argv[2:] or SIZES:
        account(program, size, threads, bandwidth)


if __name__ == "__main__":
    main()
