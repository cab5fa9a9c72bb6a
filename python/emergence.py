"""Runs of `emergence` in Python: tables as frames, states as arrays, models for transformers and TransformerLens.

    import emergence
    cd = emergence.table("runs/main", "cd", settings=["seed", "model.n_layers"])

This is one file without a build: copy it beside your notebook, or put its folder on PYTHONPATH. It reads what lies in
the folders of runs, also of those that are still training, and never writes into them. For `runs`, Python 3.11 is
enough. Each other function imports what it needs when it is called: `table` pandas or polars, `states` numpy,
`to_transformers` transformers, torch and safetensors, and `to_transformer_lens` also TransformerLens below version 4.

The columns of every table, and the names and axes of the arrays, are in docs/run-folder.md.
"""

import csv
import io
import json
import subprocess
import tempfile
import tomllib
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

# What a column holds follows from its name, so that it has the same type in every run, whatever stands in the cells.
TEXT = {"concept", "kind", "method", "other", "predictor", "probe", "reader", "selection", "site", "source", "split"}
TEXT |= {"donor", "places", "statistic", "subspace", "target", "token"}
WHOLE = {"early_step", "head", "late_step", "layer", "mean_n", "mean_shots", "n", "neighbours", "position", "prompt"}
WHOLE |= {"prompts_per_concept", "rank", "shots", "step"}
TRUTH = {"exact"}

# The same types in pandas. There a missing float is NaN, and every other missing value is `pandas.NA`.
PANDAS = {str: "string", int: "Int64", float: "float64", bool: "boolean"}

# A column's type and its cells, of which those that are empty are None.
Column = tuple[type, list]


@dataclass(frozen=True)
class Run:
    """One run: the training of a model, or the measurements of a language model."""

    path: Path
    # What config.toml says, by dotted names as `--set` takes them: `train.learning_rate`.
    settings: dict = field(repr=False, hash=False)

    @property
    def steps(self) -> list[int]:
        """The steps at which there is a checkpoint."""
        return sorted(int(place.name) for place in self.path.glob("checkpoints/*") if place.name.isdecimal())

    @property
    def state(self) -> str:
        """`finished`, `trained` but not all measured, `unfinished`, `failed`, or `language model`, which has no steps.

        Whether a process works on a run that is not finished is what `emergence runs list` says.
        """
        if "train.steps" not in self.settings:
            return "language model"
        if (self.path / "failure.txt").exists():
            return "failed"
        ended = self.path / "ended.toml"
        end = tomllib.loads(ended.read_text("utf-8"))["step"] if ended.exists() else self.settings["train.steps"]
        if end not in self.steps:
            return "unfinished"
        noted = self.path / "made.toml"
        tables = tomllib.loads(noted.read_text("utf-8")) if noted.exists() else {}
        # The map is what is measured last. Of runs that an older program trained nothing is noted.
        return "finished" if "map.csv" in tables or "training.csv" not in tables else "trained"


def runs(*folders: str | Path) -> list[Run]:
    """The runs at the folders, in them, and in the folders in them, as `emergence runs list` finds them.

    A run whose config.toml is damaged is left out, with a warning that names the file.
    """
    found = {}
    for folder in map(Path, folders):
        for place in [folder, *sorted(folder.glob("*")), *sorted(folder.glob("*/*"))]:
            # Nothing inside a run is a run.
            if (place / "config.toml").is_file() and not any(around in found for around in place.parents):
                found[place] = _run(place)
        if not any(place == folder or folder in place.parents for place in found):
            raise ValueError(f"{folder} must be a run or hold runs, but there is none")
    return [run for run in found.values() if run]


def differing(among: Iterable[Run]) -> list[str]:
    """The names of the settings in which runs differ; a setting that only some have is one."""
    among = list(among)
    names = dict.fromkeys(name for run in among for name in run.settings)
    return [name for name in names if len({_text(run.settings.get(name)) for run in among}) > 1]


def table(of: str | Path | Run | Iterable, name: str, settings: Sequence[str] | None = None, frame="pandas"):
    """One table of all runs, such as `cd` for their cd.csv, every row of it, as a frame of `pandas` or `polars`.

    `of` is a run, a folder for `runs`, or several of these. The first column is `run`, the name of the run's folder, or
    its path where several have that name. The table's own columns follow, and then the settings, all of them unless
    names are given. A setting that a run lacks is missing there. A list is JSON text. A setting that has the name of a
    column stands in `config.NAME`.

    A table that is missing or damaged is a warning that names the file, and the rows of the other runs are given. A
    last line that is not yet complete is left out. It is an error if no run is left.
    """
    make, stack = _library(frame)
    several = [of] if isinstance(of, (str, Path, Run)) else of
    among = [run for one in several for run in ([one] if isinstance(one, Run) else runs(one))]
    known = dict.fromkeys(name for run in among for name in run.settings)
    chosen = list(known) if settings is None else settings
    if unknown := [name for name in chosen if name not in known]:
        raise KeyError(f"no run has the setting {unknown[0]}")
    kinds = {name: _kind(run.settings.get(name) for run in among) for name in chosen}
    names = Counter(run.path.name for run in among)
    file, frames = f"{name.removesuffix('.csv')}.csv", []
    for run in among:
        try:
            n_rows, columns = _read(run.path / file)
        except (OSError, ValueError, csv.Error) as error:
            warnings.warn(f"{run.path / file} is left out: {error}", stacklevel=2)
            continue
        columns = {"run": (str, [run.path.name if names[run.path.name] == 1 else str(run.path)] * n_rows), **columns}
        for setting, kind in kinds.items():
            value = run.settings.get(setting)
            value = _text(value) if kind is str else value
            columns[f"config.{setting}" if setting in columns else setting] = (kind, [value] * n_rows)
        frames.append(make(columns))
    if not frames:
        raise ValueError(f"of {len(among)} runs none has a {file} that can be read")
    return stack(frames)


def states(of: str | Path | Run, step: int | None = None, resample: int | None = None, program=None) -> dict:
    """Prompts, hidden states, predictions and the probes' guesses at a checkpoint, as numpy arrays by name.

    `of` is a run, or a file that `emergence export RUN` wrote. With the path of the program, such as
    `target/debug/emergence`, the run is exported now; without, what lies in RUN/export is read. The step is the last
    unless given, and the resample the first.
    """
    import numpy

    options = [] if resample is None else ["--resample", resample]
    if options and not program:
        raise ValueError("resample needs program: a file does not say of which resample it is")
    with _exported(of, step, "npz", program, options) as file, numpy.load(file) as arrays:
        return dict(arrays)


def to_transformers(of: str | Path | Run, step: int | None = None, program=None):
    """The model at a checkpoint as transformers' `GPT2Model`, with two linear layers more, `read_in` and `read_out`.

    `of` is a run, or a folder that `emergence export RUN --format hf` wrote; step and program are as in `states`. A
    model with a latent is refused, since GPT-2 has none.

        hidden = model(inputs_embeds=model.read_in(emergence.tokens(xs, ys))).last_hidden_state
        predictions = model.read_out(hidden[:, 0::2]).squeeze(-1)
    """
    from safetensors.torch import load_file
    from torch import nn
    from transformers import GPT2Model

    with _exported(of, step, "hf", program, []) as folder:
        model, report = GPT2Model.from_pretrained(folder, output_loading_info=True)
        ends = load_file(folder / "read_in_out.safetensors")
    # from_pretrained draws at random what it does not find, and ignores what it does not know.
    for problem in ["missing_keys", "unexpected_keys", "mismatched_keys"]:
        if report[problem]:
            raise ValueError(f"{folder} is no GPT-2: {problem} {report[problem]}")
    for end in ["read_in", "read_out"]:
        weight = ends[f"{end}.weight"]
        linear = nn.Linear(*weight.shape)
        # PyTorch keeps the transpose.
        linear.load_state_dict({"weight": weight.T, "bias": ends[f"{end}.bias"]})
        setattr(model, end, linear)
    return model.eval()


def to_transformer_lens(of: str | Path | Run, step: int | None = None, program=None):
    """The model at a checkpoint as TransformerLens' `HookedTransformer`, with the linear layer `read_in` more.

    The arguments are those of `to_transformers`. No weight is folded or centred, so every activation is that of the
    run: `blocks.0.hook_resid_pre` is layer 0 of its tables, and `blocks.L.hook_resid_post` layer L + 1. A prompt is
    numbers and not words, so the model is entered at its first block, and what it returns at an x token is the
    prediction of y:

        stream = model.read_in(emergence.tokens(xs, ys)) + model.W_pos
        predictions, cache = model.run_with_cache(stream, start_at_layer=0)

    The rows of `W_E` are what each coordinate of x adds to the stream, and `unembed` is the read-out.
    """
    try:
        from transformer_lens import HookedTransformer, HookedTransformerConfig
        from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
    except ImportError as error:
        raise ImportError("to_transformer_lens needs HookedTransformer: pip install 'transformer_lens<4'") from error

    gpt2 = to_transformers(of, step, program)
    config = HookedTransformerConfig(
        n_layers=gpt2.config.n_layer,
        n_heads=gpt2.config.n_head,
        d_model=gpt2.config.n_embd,
        d_head=gpt2.config.n_embd // gpt2.config.n_head,
        d_mlp=gpt2.h[0].mlp.c_fc.weight.shape[1],
        n_ctx=gpt2.config.n_positions,
        d_vocab=gpt2.read_in.in_features,
        d_vocab_out=gpt2.read_out.out_features,
        act_fn=gpt2.config.activation_function,
        eps=gpt2.config.layer_norm_epsilon,
        normalization_type="LN",
        default_prepend_bos=False,
        init_weights=False,
        device="cpu",
    )
    weights = convert_gpt2_weights(SimpleNamespace(transformer=gpt2, lm_head=gpt2.read_out), config)
    weights |= {"embed.W_E": gpt2.read_in.weight.T, "unembed.b_U": gpt2.read_out.bias}
    model = HookedTransformer(config)
    # What attention hides is no weight, but stands among them.
    masks = {name: mask for name, mask in model.state_dict().items() if name.endswith((".mask", ".IGNORE"))}
    model.load_state_dict(weights | masks)
    model.read_in = gpt2.read_in
    return model.eval()


def tokens(xs, ys):
    """Inputs [n, K, D] and targets [n, K] as the tokens x1 y1 x2 y2 … that `read_in` takes, [n, 2K, D], for PyTorch.

    The token of a y has it as its first coordinate, and zeros behind it.
    """
    import torch

    xs, ys = torch.as_tensor(xs), torch.as_tensor(ys)
    n, n_points, d_x = xs.shape
    both = xs.new_zeros(n, 2 * n_points, d_x)
    both[:, 0::2] = xs
    both[:, 1::2, 0] = ys
    return both


def _run(path: Path) -> Run | None:
    try:
        return Run(path, dict(_flat(tomllib.loads((path / "config.toml").read_text("utf-8")))))
    except (OSError, ValueError) as error:
        warnings.warn(f"{path / 'config.toml'} is left out: {error}", stacklevel=3)
        return None


def _flat(nested: dict, prefix: str = "") -> Iterator[tuple]:
    for name, value in nested.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _text(value) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _kind(values: Iterable) -> type:
    """What a column of these settings holds: numbers or truth values if all of them are, and otherwise text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return float
    return kinds.pop() if len(kinds) == 1 and kinds <= {int, float, bool} else str


def _read(path: Path) -> tuple[int, dict[str, Column]]:
    """The number of rows of a table, up to its last complete line, and its columns."""
    complete = path.read_bytes().rpartition(b"\n")[0].decode("utf-8")
    header, *rows = csv.reader(io.StringIO(complete, newline=""), strict=True) if complete else [[]]
    if not rows:
        raise ValueError("it has no complete row yet")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise ValueError(f"row {number} has {len(row)} cells, and there are {len(header)} columns")
    return len(rows), {name: _column(name, cells) for name, cells in zip(header, zip(*rows))}


def _column(name: str, cells: Sequence[str]) -> Column:
    kind = str if name in TEXT else int if name in WHOLE else bool if name in TRUTH else float
    parse = {"true": True, "false": False}.__getitem__ if kind is bool else kind
    try:
        return kind, [parse(cell) if cell else None for cell in cells]
    except (KeyError, ValueError) as error:
        raise ValueError(f"column {name}: {error}") from None


def _library(name: str) -> tuple[Callable, Callable]:
    """How a frame is made of columns, and how frames are put one below the other.

    A column that only some frames have, because tables of older programs lack it, is missing in the others' rows.
    """
    if name == "pandas":
        import pandas

        array = lambda kind, cells: pandas.array(cells, PANDAS[kind])
        make = lambda columns: pandas.DataFrame({name: array(*column) for name, column in columns.items()})
        return make, lambda frames: pandas.concat(frames, ignore_index=True)
    if name == "polars":
        import polars

        series = lambda name, kind, cells: polars.Series(name, cells, kind)
        make = lambda columns: polars.DataFrame([series(name, *column) for name, column in columns.items()])
        return make, lambda frames: polars.concat(frames, how="diagonal")
    raise ValueError(f"frame must be pandas or polars, but is {name}")


@contextmanager
def _exported(of: str | Path | Run, step: int | None, kind: str, program, options: list) -> Iterator[Path]:
    """The file or folder that `emergence export` writes, made now if there is a program to do it."""
    path = of.path if isinstance(of, Run) else Path(of)
    if not (path / "config.toml").is_file():
        if step is not None or program or not path.exists():
            raise ValueError(f"{path} must be a run{'' if step is not None or program else ' or an export'}")
        yield path
    elif program:
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch) / f"exported.{kind}"
            options = [*options, *([] if step is None else ["--step", step]), "--format", kind, "--out", out]
            done = subprocess.run([program, "export", path, *map(str, options)], capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(done.stderr.strip())
            yield out
    else:
        step = max(Run(path, {}).steps, default=0) if step is None else step
        place = path / "export" / f"{step:08}.{kind}"
        if not place.exists():
            command = f"emergence export {path} --format {kind} --step {step}"
            raise FileNotFoundError(f"{place} is not there; this command writes it: {command}")
        yield place
