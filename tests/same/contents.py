"""What two folders must have in common for two programs to count as the same, and where they differ.

Compared are tables, weights, what a checkpoint says of itself, arrays, figures and the report. The configuration, the
note of where a run was made, the lock, and files that only one version of the program writes (seal, legend,
provenance) are not: they say how a number was made, not what it is.
"""

import re
import zipfile
from pathlib import Path

TABLES = ("*.csv", "*.safetensors", "meta.toml", "*.npz", "*.json")
DRAWN = ("*.svg", "*.png", "report.html")
# A run's folder and name: that of its configuration, and a hash whose rule may change.
HASH = re.compile(r"-[0-9a-f]{8}$")
# What of a report says how it was made: two sections and two facts.
PROVENANCE = re.compile(
    r"<section><h2>(?:Configuration|How to reproduce)</h2>.*?</section>|<dt>(?:Version|Made on)</dt><dd>.*?</dd>", re.S
)
FIGURE = re.compile(r"<svg.*?</svg>", re.S)
TABLE = re.compile(r"<table>.*?</table>", re.S)


def run_names(root):
    """The folders of runs under `root`, by the name that each has here: its own without the hash, its seed instead."""
    names = {}
    for config in sorted(root.rglob("config.toml")):
        folder = config.parent.name
        seed = re.search(r"^seed = (\d+)", config.read_text(), re.M)
        names[folder] = f"{HASH.sub('', folder)}@{seed[1] if seed else '?'}"
    return names


def report_parts(text):
    """A report without its provenance, as its figures, its tables and the words around them."""
    text = PROVENANCE.sub("", text)
    words = TABLE.sub("", FIGURE.sub("", text))
    return {"figures": "\n".join(FIGURE.findall(text)), "tables": "\n".join(TABLE.findall(text)), "words": words}


def file_contents(path):
    """What counts of a file, by the part that it is in; most files are one part."""
    if path.suffix == ".npz":
        try:
            with zipfile.ZipFile(path) as archive:
                return {name: archive.read(name) for name in archive.namelist()}
        except zipfile.BadZipFile:
            return {"": path.read_bytes()}
    if path.name == "report.html":
        return {part: text.encode() for part, text in report_parts(path.read_text(errors="replace")).items()}
    return {"": path.read_bytes()}


def contents(root, patterns, dropped=()):
    """Everything under `root` that is compared, by a name that is the same for both programs.

    `dropped` has patterns of paths, as `*/checkpoints/00000017/*`, that are left out.
    """
    names = run_names(root)
    found = {}
    for pattern in patterns:
        for path in root.rglob(pattern):
            place = Path(*(names.get(part, part) for part in path.relative_to(root).parts))
            if not path.is_file() or any(place.match(drop) for drop in dropped):
                continue
            for part, content in file_contents(path).items():
                if path.suffix in (".csv", ".json"):
                    for folder in filter(HASH.search, names):
                        content = content.replace(folder.encode(), HASH.sub("", folder).encode())
                found[f"{place}:{part}" if part else str(place)] = content
    return found


def differences(old, new):
    """The names whose contents are not the same bytes, or which only one side has."""
    missing = {name: "only old has it" for name in old.keys() - new.keys()}
    added = {name: "only new has it" for name in new.keys() - old.keys()}
    both = old.keys() & new.keys()
    changed = {name: first_difference(old[name], new[name]) for name in both if old[name] != new[name]}
    return dict(sorted({**missing, **added, **changed}.items()))


def first_difference(old, new):
    """Where two contents part, in words."""
    place = next((i for i, (a, b) in enumerate(zip(old, new)) if a != b), min(len(old), len(new)))
    line = old[:place].count(b"\n") + 1
    return f"byte {place} (line {line}) of {len(old)} and {len(new)}"


def check_that_damage_is_found(root):
    """Exits if a changed byte in a file of any kind under `root` would be missed."""
    for pattern in TABLES + DRAWN:
        path = next(iter(sorted(path for path in root.rglob(pattern) if path.is_file())), None)
        if path is None:
            raise SystemExit(f"no {pattern} under {root}: the comparison cannot be tried on it")
        good, before = path.read_bytes(), contents(root, (pattern,))
        middle = len(good) // 2
        try:
            path.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
            found = differences(before, contents(root, (pattern,)))
        finally:
            path.write_bytes(good)
        if not found:
            raise SystemExit(f"a changed byte in {path} was not found")
