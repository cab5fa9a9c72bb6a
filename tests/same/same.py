"""Lets two versions of the program do the same work on this machine and compares what they write, byte by byte.

    just same BASE                                       # BASE is a commit; it is built in a worktree of its own
    OLD=/path/to/emergence python3 tests/same/same.py    # with a program that is there already
    NEW=/path/to/emergence OLD=... python3 tests/same/same.py [--only WORD]

Everything lies under target/same: the worktree and build of BASE, its program by commit, and what both have written.
A line a piece of work is printed. Exits with 1 if anything differs that is not listed in INTENDED, or if a piece of
work fails. Hashes of what is written are never committed, because processors with other instructions sum in another
order.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path

sys.dont_write_bytecode = True

from contents import DRAWN, TABLES, check_that_damage_is_found, contents, differences

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "target" / "same"

# What may differ from BASE: a pattern of its name, and why.
INTENDED = [
    ("*report.html:words", "captions and headings are written anew; figures and tables of the report are compared"),
    *(
        (f"{folder}/*{drawn}", "concepts stand in the task's order, not the alphabet's")
        for folder in ("ten", "families")
        for drawn in (".svg", ".png", "report.html:figures", "report.html:tables")
    ),
]

# A task on which little is symmetrical: overlapping bases, unequal weights, three probed tokens.
UNEVEN = [
    "task.bases={blocks={count=3,rank=2,shared=1}}",
    "task.weights=[1.0,2.0,1.5]",
    "model.n_layers=3",
    "model.n_heads=4",
    "probe.tokens=['query_x','last_y','x3']",
    "probe.prompts_per_concept=14",
]
FAMILIES = (
    "task={kind='function_families',d_x=4,n_points=8,noise_variance=0.01,signal_std=1.0,"
    "families=['linear',{sparse_linear={rank=2}},{leaky_relu={width=8,slope=0.1}},'quadratic']}"
)
# No width is a multiple of a vector's, no shard as long as another; clipping and a schedule.
ODD = [
    "task.d_x=5",
    "task.n_points=7",
    "model.d_model=21",
    "model.n_heads=3",
    "model.init='gpt2'",
    "train.batch_size=13",
    "train.shards=3",
    "train.clip_norm=0.5",
    "train.schedule={kind='cosine',warm_up=5,until=30,floor=0.1}",
]
QUICK = ["train.steps=10", "train.log_every=2", "checkpoints.every=5", "probe.resamples=2"]
SHORT = ["train.steps=12", "checkpoints.every=6"]


class Failed(Exception):
    """A program did not end as it should."""


class Side:
    """One version of the program, and the folder that it works in."""

    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def __call__(self, *arguments):
        """Runs a command that must succeed and returns its standard output."""
        ended = subprocess.run([self.program, *map(str, arguments)], cwd=self.folder, capture_output=True, text=True)
        if ended.returncode != 0:
            raise Failed(f"{' '.join(map(str, arguments))} ended with {ended.returncode}: {ended.stderr.strip()}")
        return ended.stdout

    def train(self, piece, *more, preset="smoke", sets=()):
        self("train", preset, "--quiet", "--out", piece, *more, *(word for s in sets for word in ("--set", s)))

    def run(self, piece, name=None):
        """The one run of a piece of work, or the one whose name begins with `name`."""
        pattern = f"{name or ''}*/config.toml"
        runs = [path.parent for path in (self.folder / piece).glob(pattern)]
        if len(runs) != 1:
            raise Failed(f"{piece} must have one run {name or ''}, but has {len(runs)}")
        return runs[0].relative_to(self.folder)

    def write(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path.relative_to(self.folder)


def stop_and_resume(side):
    """A run that is stopped by SIGINT as soon as it has rows, and goes on."""
    sets = ["train.steps=1000", "checkpoints.every=250"]
    arguments = ["train", "smoke", "--quiet", "--out", "stopped", *(word for s in sets for word in ("--set", s))]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    child = subprocess.Popen([side.program, *arguments], cwd=side.folder, **pipes)
    tables = lambda: side.folder.glob("stopped/*/training.csv")
    while child.poll() is None and not any(path.read_bytes().count(b"\n") > 2 for path in tables()):
        time.sleep(0.002)
    child.send_signal(signal.SIGINT)
    _, error = child.communicate()
    if child.returncode != 130:
        raise Failed(f"the run that SIGINT should stop ended with {child.returncode}: {error.decode().strip()}")
    side("resume", side.run("stopped"), "--quiet")


def sweep(side):
    """Two seeds of one experiment; and two experiments whose runs have each a name, so that no hash orders them."""
    seeds = side.write("seeds.toml", 'extends = "smoke"\nname = "seeds"\nseeds = [0, 1]\n')
    side("sweep", seeds, "--quiet", "--jobs", 2, "--out", "sweep/seeds")
    noises = [(f"{name}{seed}", seed, noise) for name, noise in [("a", 0.01), ("b", 0.5)] for seed in (0, 1)]
    runs = "".join(f'[[runs]]\nname = "{n}"\nseed = {s}\ntask.noise_variance = {v}\n' for n, s, v in noises)
    listed = side.write("noises.toml", f'extends = "smoke"\nname = "noises"\n{runs}')
    said = side("sweep", listed, "--quiet", "--json", "--out", "sweep/noises")
    side.write("sweep/said.json", said)


def compare(side):
    """`compare` on runs with every table that it reads."""
    for name in ("a0", "a1", "b0", "b1"):
        run = side.run("sweep/noises", name)
        side("patch", run, "--mean-prompts", 10, "--step", "0,40", "--strengths=-1,0,1")
        side("separation", run)
        side("algorithms", run)
        side("report", run)
    side.write("sweep/compared.json", side("compare", "sweep/noises", "--json", "--out", "sweep/compare"))
    side("compare", "sweep/noises", "--probe", "quadratic")


def tsne(side):
    """t-SNE, where the program still has it; on a copy, so that the other maps stay as they are."""
    run = side.run("measured")
    copy = side.folder / "tsne" / run.name
    shutil.copytree(side.folder / run, copy)
    side("map", copy, "--method", "tsne", "--layer", 1)
    side("report", copy)


def measuring(*arguments):
    """A command on the run of the piece `measured`."""
    command, *rest = arguments
    return lambda side: side(command, side.run("measured"), *rest)


def report(piece):
    def work(side):
        said = side("report", side.run(piece), "--json")
        side.write(f"{piece}/said.json", said)

    return work


def small(piece, sets, device, commands):
    """A short run of another kind with some commands, and its report."""

    def work(side):
        side.train(piece, "--device", device, sets=SHORT + sets)
        for command, *rest in commands:
            side(command, side.run(piece), "--device", device, *rest)
        report(piece)(side)

    return work


LATENT = [
    ("cd",), ("sites", "--step", "0,12"), ("patch", "--mean-prompts", 5), ("transplant",), ("prune",),
    ("positions", "--step", 12), ("separation",), ("sensitivity",), ("export",), ("export", "--what", "prompts"),
]
OF_FAMILIES = [("algorithms",), ("positions",), ("patch", "--mean-prompts", 5), ("separation",), ("export",)]
ON_NDARRAY = [("cd",), ("map", "--token", "last_y"), ("patch", "--token", "y"), ("sites",), ("prune",), ("export",)]
OF_TEN = [("separation",), ("algorithms",), ("prune",), ("patch", "--mean-prompts", 3, "--step", 12), ("sensitivity",)]
TEN = ["task.d_x=10", "task.bases={blocks={count=10,rank=1}}", "probe.prompts_per_concept=4", "probe.resamples=2"]

# Name, folder that is compared, whether figures are drawn by then, and the work.
PIECES = [
    ("train smoke, 1 thread", "one", True, lambda side: side.train("one", "--threads", 1)),
    ("train smoke, 2 threads", "two", True, lambda side: side.train("two", "--threads", 2)),
    ("train, odd widths", "odd", True, lambda side: side.train("odd", sets=ODD)),
    ("train, the size of two bases", "quick", True, lambda side: side.train("quick", preset=str(ROOT / "experiments" / "two-bases.toml"), sets=QUICK)),
    ("stop and resume", "stopped", True, stop_and_resume),
    ("train, uneven task", "measured", True, lambda side: side.train("measured", sets=UNEVEN)),
    ("cd", "measured", False, measuring("cd", "--threads", 1)),
    ("baselines", "measured", False, measuring("baselines")),
    ("algorithms", "measured", False, measuring("algorithms", "--threads", 2)),
    ("map, pca", "measured", False, measuring("map", "--layer", 3, "--layer", 0)),
    ("map, umap", "measured", False, measuring("map", "--method", "umap", "--token", "last_y", "--layer", 2)),
    ("patch, x", "measured", False, measuring("patch", "--mean-prompts", 20, "--steer", 2, "--threads", 1)),
    ("prune", "measured", False, measuring("prune", "--step", 20)),
    ("transplant", "measured", False, measuring("transplant", "--step", "0,8,40", "--layer", 2)),
    ("positions", "measured", False, measuring("positions", "--step", 40, "--step", 2)),
    ("separation", "measured", False, measuring("separation")),
    ("sensitivity", "measured", False, measuring("sensitivity", "--step", 20)),
    ("sites", "measured", False, measuring("sites", "--step", "40,8,0")),
    ("report", "measured", True, report("measured")),
    ("patch, y", "measured", False, measuring(
        "patch", "--points", 4, "--token", "y", "--layer", "0,2", "--step", "8,40", "--strengths=-1.5,2")),
    ("report after it", "measured", True, report("measured")),
    ("export states", "measured", False, measuring("export", "--step", 20, "--resample", 2)),
    ("export model", "measured", False, measuring("export", "--format", "hf")),
    ("export prompts", "measured", False, measuring("export", "--what", "prompts", "--mean-prompts", 7)),
    ("finetune", "finetune", True, lambda side: side(
        "finetune", side.run("measured"), "--free", "last=1", "--step", 20, "--quiet", "--out", "finetune",
        "--set", "task.bases={coordinates=[[0,2],[1,3],[0,3]]}")),
    ("sweep of two seeds", "sweep", True, sweep),
    ("compare", "sweep", True, compare),
    ("explicit latent", "latent", True, small("latent", ["model.latent={width=3,decoder_layers=1}"], "flex", LATENT)),
    ("function families", "families", True, small("families", [FAMILIES], "flex", OF_FAMILIES)),
    ("ndarray", "ndarray", True, small("ndarray", [], "ndarray", ON_NDARRAY)),
    ("ten concepts", "ten", True, small("ten", TEN, "flex", OF_TEN)),
    ("map, tsne", "tsne", True, tsne),
]
# Where a signal arrives is not the same twice; only the checkpoint that it leaves differs.
SCHEDULED = {"stopped": {0, *(2**i for i in range(8)), *range(0, 1001, 250)}}


def of_signals(sides, folder):
    """Patterns of the checkpoints that only a signal made."""
    if folder not in SCHEDULED:
        return ()
    found = (path for side in sides for path in (side.folder / folder).glob("*/checkpoints/*"))
    return {f"*/checkpoints/{path.name}/*" for path in found if int(path.name) not in SCHEDULED[folder]}


def program_of(commit):
    """The program of a commit, built once in a worktree of its own."""
    commit = git("rev-parse", f"{commit}^{{commit}}")
    program = WORK / "programs" / commit / "emergence"
    if program.exists():
        return program
    source = WORK / "base"
    if not source.exists():
        git("worktree", "add", "--force", "--detach", source, commit)
    git("-C", source, "checkout", "--quiet", "--detach", commit)
    build(source, WORK / "base-target")
    program.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(WORK / "base-target" / "debug" / "emergence", program)
    return program


def git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def build(source, target):
    environment = {**os.environ, "CARGO_TARGET_DIR": str(target)}
    command = ["cargo", "build", "--bin", "emergence"]
    subprocess.run(command, cwd=source, env=environment, check=True)
    return target / "debug" / "emergence"


def do(sides, work):
    """The same work on both sides at the same time; what failed, in words."""

    def attempt(side):
        try:
            work(side)
        except Failed as failure:
            return str(failure)

    with ThreadPoolExecutor(len(sides)) as pool:
        return list(pool.map(attempt, sides))


def judge(sides, folder, drawn):
    """What differs in `folder`: unintended with its place, and the reasons of what is intended."""
    dropped = of_signals(sides, folder)
    old, new = (contents(side.folder / folder, TABLES + (DRAWN if drawn else ()), dropped) for side in sides)
    wrong, intended = {}, set()
    for name, where in differences(old, new).items():
        name = f"{folder}/{name}"
        reason = next((reason for pattern, reason in INTENDED if fnmatch(name, pattern)), None)
        wrong.update({} if reason else {name: where})
        intended.update([reason] if reason else [])
    return len(old), wrong, intended


def main():
    parser = argparse.ArgumentParser(description="Compares what two versions of the program write.")
    parser.add_argument("base", nargs="?", default="HEAD", help="commit to compare with, unless OLD names its program")
    parser.add_argument("--only", default="", help="only pieces of work whose folder contains this word")
    options = parser.parse_args()
    old = Path(os.environ["OLD"]) if "OLD" in os.environ else program_of(options.base)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    new = Path(os.environ["NEW"]) if "NEW" in os.environ else build(ROOT, target)
    sides = [Side(program.resolve(), WORK / name) for program, name in [(old, "old"), (new, "new")]]
    for side in sides:
        shutil.rmtree(side.folder, ignore_errors=True)
        side.folder.mkdir(parents=True)
    wrong, started = {}, time.monotonic()
    for name, folder, drawn, work in PIECES:
        if options.only not in folder:
            continue
        began, failed = time.monotonic(), do(sides, work)
        if folder == "tsne" and any(failed):
            print(f"{name:<25} left out: only programs that both have it are compared", flush=True)
            continue
        failures = {f"{name}, {side.folder.name}": reason for side, reason in zip(sides, failed) if reason}
        count, found, intended = judge(sides, folder, drawn)
        # What differed before is named once.
        found = {file: where for file, where in found.items() if file not in wrong} | failures
        same = "same" + (f", but: {'; '.join(sorted(intended))}" if intended else "")
        verdict = f"{len(found)} differ" if found else same
        print(f"{name:<25} {time.monotonic() - began:5.1f} s  {count:4} parts  {verdict}", flush=True)
        wrong.update(found)
        if name == "export prompts" and not wrong:
            check_that_damage_is_found(sides[1].folder / "measured")
    print(f"{time.monotonic() - started:.0f} s", flush=True)
    for file, where in wrong.items():
        print(f"differs: {file}: {where}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
