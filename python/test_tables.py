"""Finding runs, and their tables as frames."""

import json
import math
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import warnings
from collections import Counter
from pathlib import Path

import emergence
import pandas
import polars
import pytest
from conftest import PROGRAM, ROOT, cells


def value_of(cell: str) -> object:
    """What a cell says, without a look at its column: the program writes a number with a point unless it is whole."""
    if cell in ["", "true", "false"]:
        return {"": None, "true": True, "false": False}[cell]
    for kind in [int, float]:
        try:
            return kind(cell)
        except ValueError:
            pass
    return cell


def plain(frame) -> list[list]:
    """The rows of a frame as Python's own values, with None for what is missing."""
    if isinstance(frame, polars.DataFrame):
        return [list(row) for row in frame.rows()]
    columns = [[None if pandas.isna(value) else value for value in frame[name].tolist()] for name in frame]
    return [list(row) for row in zip(*columns)]


def test_importing_needs_nothing_but_the_standard_library():
    code = "import sys; sys.path.insert(0, sys.argv[1]); import emergence; print(len(emergence.runs(sys.argv[2])))"
    fixture = ROOT / "tests/fixtures/run-a1da5a0"
    # -I and -S: neither the packages of this environment nor those of the user are to be found.
    command = [sys.executable, "-B", "-I", "-S", "-c", code, Path(__file__).parent, fixture]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1\n"


def test_runs_are_those_that_the_program_lists(study, run, language_model):
    listed = subprocess.run([PROGRAM, "runs", "list", "--json", study], capture_output=True, text=True, check=True)
    found = emergence.runs(study)
    assert [str(one.path) for one in found] == [one["run"] for one in json.loads(listed.stdout)]
    assert len(found) == 3
    assert [one.state for one in found] == [one["state"] for one in json.loads(listed.stdout)] == ["finished"] * 3
    assert emergence.runs(run) == [found[0]]
    assert emergence.runs(study, run, study / "sweep") == found
    assert found[0].steps == [0, 1, 2, 4, 8, 10, 20, 30, 40]
    assert emergence.runs(language_model)[0].state == "language model"
    assert repr(found[0]) == f"Run(path={run!r})" and len(set(found)) == 3
    with pytest.raises(ValueError, match="must be a run or hold runs"):
        emergence.runs(run / "plots")


def test_states_of_runs(copy):
    one, other, third = emergence.runs(copy)
    (one.path / "failure.txt").write_text("the loss is not finite")
    shutil.rmtree(other.path / "checkpoints/00000040")
    assert [one.state, other.state, third.state] == ["failed", "unfinished", "finished"]
    for unfit in ["damaged", "unmeasured"]:
        (other.path / f"checkpoints/00000050.{unfit}").mkdir()
    assert other.steps == [0, 1, 2, 4, 8, 10, 20, 30]
    (other.path / "ended.toml").write_text('step = 30\nerror_over_bayes = 1.05\nverdict = "reached"\n')
    assert other.state == "finished"
    made = third.path / "made.toml"
    made.write_text(made.read_text("utf-8").replace('"map.csv"', '"other.csv"'))
    assert third.state == "trained"


def test_nothing_inside_a_run_is_a_run(copy):
    before = emergence.runs(copy)
    for place in [copy / "sweep" / before[1].path.name / "plots", before[0].path / "plots"]:
        (place / "config.toml").write_text("seed = 1")
    assert emergence.runs(copy) == before
    assert emergence.runs(copy / "sweep") == before[1:]
    assert emergence.runs(before[0].path) == before[:1]


def test_every_table_has_the_numbers_of_its_file(run, language_model):
    """Every cell, parsed here by Python's own float and int, in both kinds of frame."""
    tables = [path for folder in (run, language_model) for path in sorted(folder.glob("*.csv"))]
    assert len({path.name for path in tables}) >= 19, [path.name for path in tables]
    for path in tables:
        header, rows = cells(path)
        for library in ["pandas", "polars"]:
            frame = emergence.table(path.parent, path.stem, settings=[], frame=library)
            assert list(frame.columns) == ["run", *header]
            got = plain(frame)
            assert len(got) == len(rows)
            for mine, row in zip(got, rows):
                assert mine[0] == path.parent.name
                for name, value, text in zip(header, mine[1:], row):
                    expected = value_of(text)
                    assert type(value) is type(expected) and value == expected, f"{path.name}: {name} {text}"


def test_columns_with_a_type_of_their_own_are_documented():
    """A name in two sets, or one that no table has, would be a mistake."""
    sets = [emergence.TEXT, emergence.WHOLE, emergence.TRUTH]
    assert sum(map(len, sets)) == len(set.union(*sets))
    page = (ROOT / "docs/run-folder.md").read_text("utf-8")
    named = set(re.findall(r"`(\w+)`", page))
    assert set.union(*sets) <= named


def test_pandas_and_polars_give_the_same(study, language_model):
    among = emergence.runs(study, language_model)
    for name in ["cd", "cd_best"]:
        pandas_frame, polars_frame = (emergence.table(among, name, frame=library) for library in ["pandas", "polars"])
        assert list(pandas_frame.columns) == polars_frame.columns
        kinds = {"string": polars.String, "Int64": polars.Int64, "float64": polars.Float64, "boolean": polars.Boolean}
        assert [kinds[str(kind)] for kind in pandas_frame.dtypes] == polars_frame.dtypes
        assert plain(pandas_frame) == plain(polars_frame)
        assert pandas_frame.index.equals(pandas.RangeIndex(len(pandas_frame)))
    with pytest.raises(ValueError, match="frame must be pandas or polars, but is arrow"):
        emergence.table(study, "cd", frame="arrow")


def test_several_runs_with_their_settings(study, language_model):
    among = emergence.runs(study, language_model)
    frame = emergence.table(among, "cd")
    # One row for each line of each file, in the order of the runs.
    assert list(Counter(frame["run"]).items()) == [(one.path.name, len(cells(one.path / "cd.csv")[1])) for one in among]
    header, _ = cells(among[0].path / "cd.csv")
    assert list(frame.columns[: len(header) + 1]) == ["run", *header]
    for one in among:
        row = frame[frame["run"] == one.path.name].iloc[0]
        config = tomllib.loads((one.path / "config.toml").read_text())
        assert row["seed"] == config["seed"] and row["name"] == config["name"]
        assert json.loads(row["probe.probes"]) == config["probe"]["probes"]
        if "train" in config:
            assert row["train.learning_rate"] == config["train"]["learning_rate"]
            assert row["train.clip_norm"] == math.inf
            assert row["train.schedule.kind"] == config["train"]["schedule"]["kind"]
            floor = config["train"]["schedule"].get("floor")
            assert row["train.schedule.floor"] == floor if floor else math.isnan(row["train.schedule.floor"])
            assert row["task.named"] is pandas.NA
        else:
            assert row["train.steps"] is pandas.NA and row["train.schedule.kind"] is pandas.NA
            assert row["task.named"] == False  # noqa: E712, a numpy bool
    types = dict(frame.dtypes.astype(str))
    assert (types["train.steps"], types["task.named"], types["train.epsilon"]) == ("Int64", "boolean", "float64")

    chosen = emergence.table(study, "training.csv", settings=["model.n_layers", "seed"])
    assert list(chosen.columns) == ["run", "step", "loss", "gradient_norm", "learning_rate", "model.n_layers", "seed"]
    assert dict(zip(chosen["seed"], chosen["model.n_layers"])) == {0: 2, 1: 2, 2: 3}
    differing = ["seed", "model.n_layers", "train.schedule.kind", "train.schedule.warm_up"]
    differing += ["train.schedule.until", "train.schedule.floor"]
    assert set(emergence.differing(emergence.runs(study))) == set(differing)
    with pytest.raises(KeyError, match="no run has the setting train.step$|no run has the setting train.step'"):
        emergence.table(study, "cd", settings=["train.step"])


def test_settings_of_several_kinds(tmp_path):
    """Whole and other numbers are floats, and everything that is not a number is text, whatever the other runs have."""
    configs = ["a=1\nb=1\nc=true\nstep=7\nd=[1]", "a=0.5\nb='x'\nc=false\nd='[2]'", "e=1"]
    for number, config in enumerate(configs):
        place = tmp_path / f"run-{number}"
        place.mkdir()
        (place / "config.toml").write_text(config)
        (place / "cd.csv").write_text("step,score\n3,0.1\n")
    for library in ["pandas", "polars"]:
        frame = emergence.table(tmp_path, "cd", frame=library)
        assert list(frame.columns) == ["run", "step", "score", "a", "b", "c", "config.step", "d", "e"]
        assert plain(frame) == [
            ["run-0", 3, 0.1, 1.0, "1", True, 7, "[1]", None],
            ["run-1", 3, 0.1, 0.5, "x", False, None, "[2]", None],
            ["run-2", 3, 0.1, None, None, None, None, None, 1],
        ]
        assert [type(value) for value in plain(frame)[0][:6]] == [str, int, float, float, str, bool]


def test_a_table_in_a_folder_of_the_run(tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "config.toml").write_text("seed=5")
    (tmp_path / "adapter/tuning_loss.csv").write_text("step,loss\n1,0.5\n")
    assert plain(emergence.table(tmp_path, "adapter/tuning_loss")) == [[tmp_path.name, 1, 0.5, 5]]


def test_runs_of_one_name_are_told_apart_by_their_paths(run, copy):
    frame = emergence.table([*emergence.runs(run), *emergence.runs(copy)], "cd", settings=[])
    assert frame.equals(emergence.table([run, copy], "cd", settings=[]))
    assert frame.equals(emergence.table([str(run), *emergence.runs(copy)], "cd", settings=[]))
    twin = copy / run.name
    assert set(frame["run"]) == {str(run), str(twin), *(one.path.name for one in emergence.runs(copy / "sweep"))}


# What becomes of a table's bytes, and what the warning says of it.
DAMAGES = [
    (lambda table: None, "No such file"),
    (lambda table: b"", "no complete row"),
    (lambda table: table.partition(b"\n")[0] + b"\n", "no complete row"),
    (lambda table: table.replace(b"\n0,0,x6,knn,,", b"\n0,0,x6,knn,", 1), "row 1 has 9"),
    (lambda table: table.replace(b"step,", b"", 1), "row 1 has 10 cells"),
    (lambda table: table.replace(b"\n0,", b"\nzero,", 1), "column step: .*'zero'"),
    (lambda table: table.replace(b",0.", b",O.", 1), "column (score|chance|lo|hi): .*O"),
    (lambda table: table[:-9] + b"\xff\xfe\n", "utf-8"),
    (lambda table: b"\0" * 4096 + b"\n" + b"\0" * 99 + b"\n", ""),
]


@pytest.mark.parametrize(("damage", "reason"), DAMAGES)
def test_a_table_that_is_missing_or_damaged_is_named_and_the_others_are_given(copy, damage, reason):
    one, other, third = emergence.runs(copy)
    table = other.path / "cd.csv"
    damaged = damage(table.read_bytes())
    table.unlink() if damaged is None else table.write_bytes(damaged)
    for library in ["pandas", "polars"]:
        with pytest.warns(UserWarning, match=reason) as said:
            frame = emergence.table(copy, "cd", settings=["seed"], frame=library)
        assert len(said) == 1 and str(other.path / "cd.csv") in str(said[0].message)
        # The warning points at the line that asked for the table.
        assert said[0].filename == __file__
        expected = emergence.table([one, third], "cd", settings=["seed"], frame=library)
        assert expected.equals(frame)
    for left in [one, third]:
        (left.path / "cd.csv").unlink()
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="of 3 runs none has a cd.csv that can be read"):
        emergence.table(copy, "cd")


def test_a_damaged_configuration_is_named_and_the_other_runs_are_given(copy):
    one, other, third = emergence.runs(copy)
    with (other.path / "config.toml").open("a") as file:
        file.write("[[[")
    with pytest.warns(UserWarning, match=re.escape(str(other.path / "config.toml"))) as said:
        assert emergence.runs(copy) == [one, third]
    assert said[0].filename == __file__


def test_a_run_that_is_still_training(tmp_path):
    """Rows appear while the program trains, a line that is cut short is left out, and states can be exported."""
    options = ["--set", "train.steps=1000000", "--set", "checkpoints.every=1000"]
    training = subprocess.Popen([PROGRAM, "train", "smoke", "--quiet", "--out", tmp_path, *options])
    try:
        found, until = 0, time.monotonic() + 60
        while found < 20 and time.monotonic() < until and training.poll() is None:
            time.sleep(0.1)
            with warnings.catch_warnings():
                # Before there is a table.
                warnings.simplefilter("ignore")
                try:
                    (run,) = emergence.runs(tmp_path)
                    found = len(emergence.table(run, "training", frame="polars"))
                except ValueError:
                    continue
        assert training.poll() is None and found >= 20
        assert run.state == "unfinished"
        assert emergence.states(run, step=1, program=PROGRAM)["hidden"].ndim == 4
    finally:
        training.send_signal(signal.SIGINT)
        training.wait()
    whole = emergence.table(run, "training")
    table = run.path / "training.csv"
    table.write_bytes(table.read_bytes()[:-2])
    pandas.testing.assert_frame_equal(emergence.table(run, "training"), whole[:-1])


def test_columns_that_an_older_table_lacks_are_missing(copy):
    run = emergence.runs(copy)[1]
    header, rows = cells(run.path / "training.csv")
    older = [header[:-1], *(row[:-1] for row in rows)]
    (run.path / "training.csv").write_text("".join(f"{','.join(row)}\n" for row in older))
    frames = [emergence.table(copy, "training", frame=library) for library in ["pandas", "polars"]]
    assert plain(frames[0]) == plain(frames[1])
    missing = frames[1].filter(polars.col("learning_rate").is_null())
    assert missing["run"].to_list() == [run.path.name] * len(rows)
    # The fixture was made by the program of an older commit.
    old = emergence.table(ROOT / "tests/fixtures/run-a1da5a0", "cd")
    assert len(old) == len(cells(next(ROOT.glob("tests/fixtures/run-a1da5a0/*/cd.csv")))[1])
