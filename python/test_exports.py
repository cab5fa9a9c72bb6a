"""What the program exports: states for numpy, models for transformers and TransformerLens, curves for TensorBoard."""

import math
import sys
import types
from pathlib import Path

import emergence
import numpy as np
import pytest
import torch
from conftest import PROGRAM, cells, files, program, train
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

# A f32 has a precision of 6e-8; this leaves room for sums over the width and a residual stream of some depth.
TOLERANCE = 1e-5

# Tables that have no curves in TensorBoard, and the columns that tell curves from each other in the others.
WITHOUT_CURVES = {"baselines", "transplant", "map", "answers"}
NAMES = emergence.TEXT | (emergence.WHOLE - {"n", "mean_n", "step"}) | {"strength"}


@pytest.fixture(scope="session")
def exported(run) -> dict:
    return emergence.states(run, program=PROGRAM)


def test_states_are_what_the_program_exports(run, exported, tmp_path):
    before = files(run)
    out = tmp_path / "states.npz"
    program("export", run, "--out", out)
    with np.load(out) as arrays:
        assert set(arrays) == set(exported) == set(emergence.states(out))
        for name in arrays:
            for got in [exported[name], emergence.states(out)[name]]:
                assert got.dtype == arrays[name].dtype and np.array_equal(got, arrays[name])
    assert exported["hidden"].shape == (24, 3, 2, 16)
    early = emergence.states(run, step=8, program=PROGRAM)
    assert np.array_equal(early["xs"], exported["xs"]) and not np.array_equal(early["hidden"], exported["hidden"])
    assert files(run) == before

    with pytest.raises(FileNotFoundError, match="emergence export .* --format npz --step 40"):
        emergence.states(run)
    with pytest.raises(RuntimeError, match="step must be one of the checkpoints of"):
        emergence.states(run, step=7, program=PROGRAM)
    with pytest.raises(ValueError, match="must be a run$"):
        emergence.states(out, step=8)
    with pytest.raises(ValueError, match="must be a run or an export"):
        emergence.to_transformers(tmp_path / "nothing")


def test_states_of_a_run_are_read_where_the_program_wrote_them(copy):
    (run,) = copy.glob("smoke-*")
    program("export", run)
    program("export", run, "--step", 8)
    program("export", run, "--format", "hf")
    last, early = emergence.states(run), emergence.states(emergence.runs(run)[0], step=8)
    assert np.array_equal(last["hidden"], emergence.states(run, program=PROGRAM)["hidden"])
    assert np.array_equal(early["hidden"], emergence.states(run, step=8, program=PROGRAM)["hidden"])
    weights, again = (emergence.to_transformers(run, program=made).state_dict() for made in [None, PROGRAM])
    assert weights.keys() == again.keys() and all(torch.equal(weights[name], again[name]) for name in weights)


def credit(hidden: np.ndarray, concepts: np.ndarray, k: int) -> np.ndarray:
    """What the vote for each state of its k nearest others counts: one, shared by the concepts with the most votes."""
    hidden = hidden.astype(np.float64)
    distances = ((hidden[:, None] - hidden) ** 2).sum(-1)
    np.fill_diagonal(distances, np.inf)
    nearest = concepts[np.argsort(distances, axis=1)[:, :k]]
    votes = (nearest[:, :, None] == np.arange(concepts.max() + 1)).sum(1)
    winners = votes == votes.max(1, keepdims=True)
    return winners[np.arange(len(concepts)), concepts] / winners.sum(1)


def test_cd_by_numpy_is_that_of_the_table(run, exported):
    """The mean over the resamples of CD from the exported states is the row of cd.csv, at every layer and token."""
    (found,) = emergence.runs(run)
    resamples = range(found.settings["probe.resamples"])
    states = [emergence.states(found, resample=resample, program=PROGRAM) for resample in resamples]
    assert np.array_equal(states[0]["hidden"], exported["hidden"])
    assert not np.array_equal(states[1]["hidden"], exported["hidden"])
    cd = emergence.table(found, "cd", settings=[])
    cd = cd[(cd["step"] == 40) & (cd["probe"] == "knn") & cd["concept"].isna()]
    assert len(cd) == 6
    for row in cd.itertuples():
        token = ["x6", "y6"].index(row.token)
        at = [credit(s["hidden"][:, row.layer, token], s["concept"], int(s["neighbours"])).mean() for s in states]
        assert math.isclose(np.mean(at), row.score, abs_tol=1e-12), row
    with pytest.raises(ValueError, match="resample needs program"):
        emergence.states(found, resample=1)


def relative_error(theirs: torch.Tensor, ours: np.ndarray) -> float:
    """Largest absolute difference, over the largest absolute value."""
    theirs = theirs.numpy()
    assert theirs.shape == ours.shape, f"{theirs.shape} is not {ours.shape}"
    return float(np.abs(theirs - ours).max() / np.abs(ours).max())


@pytest.fixture(scope="session")
def deep(study) -> Path:
    """A run of three layers whose biases, norms and positions are far from where they begin."""
    return train(study.parent / "deep", "model.n_layers=3", "train.steps=300", "train.learning_rate=1e-2")


@pytest.mark.parametrize("step", [None, 1])
@torch.no_grad()
def test_transformers_gives_the_same_states_and_predictions(deep, step):
    exported = emergence.states(deep, step=step, program=PROGRAM)
    model = emergence.to_transformers(deep, step=step, program=PROGRAM).double()
    stream = []
    keep = lambda states: stream.append(states[0] if isinstance(states, tuple) else states)
    # transformers shows its last hidden state only after the final norm; hooks see the residual stream as it is.
    model.h[0].register_forward_pre_hook(lambda block, inputs: keep(inputs))
    for block in model.h:
        block.register_forward_hook(lambda block, inputs, output: keep(output))
    tokens = emergence.tokens(exported["xs"], exported["ys"]).double()
    hidden = model(inputs_embeds=model.read_in(tokens)).last_hidden_state
    predictions = model.read_out(hidden[:, 0::2]).squeeze(-1)
    assert len(stream) == exported["hidden"].shape[1] == 4
    for layer, states in enumerate(stream):
        assert relative_error(states[:, exported["tokens"]], exported["hidden"][:, layer]) <= TOLERANCE, layer
    assert relative_error(predictions, exported["predictions"]) <= TOLERANCE


@pytest.mark.parametrize("step", [None, 1])
@torch.no_grad()
def test_transformer_lens_gives_the_same_states_and_predictions(deep, step):
    exported = emergence.states(deep, step=step, program=PROGRAM)
    model = emergence.to_transformer_lens(deep, step=step, program=PROGRAM).to(torch.float64)
    stream = model.read_in(emergence.tokens(exported["xs"], exported["ys"]).double()) + model.W_pos
    predictions, cache = model.run_with_cache(stream, start_at_layer=0)
    layers = [cache["resid_pre", 0], *(cache["resid_post", layer] for layer in range(model.cfg.n_layers))]
    assert len(layers) == exported["hidden"].shape[1] == 4
    for layer, states in enumerate(layers):
        assert relative_error(states[:, exported["tokens"]], exported["hidden"][:, layer]) <= TOLERANCE, layer
    assert relative_error(predictions[:, 0::2, 0], exported["predictions"]) <= TOLERANCE
    # A token by its coordinates is the same as through `read_in`.
    x = torch.as_tensor(exported["xs"][0, 0]).double()
    assert torch.allclose(x @ model.W_E + model.read_in.bias, model.read_in(x))


def test_a_model_with_a_latent_is_refused(tmp_path):
    run = train(tmp_path, "model.latent={width=4,decoder_layers=1}")
    with pytest.raises(RuntimeError, match="model.latent must be absent for GPT2Model"):
        emergence.to_transformers(run, program=PROGRAM)


def test_a_folder_that_is_no_whole_model_is_refused(run, tmp_path):
    folder = tmp_path / "model.hf"
    program("export", run, "--format", "hf", "--out", folder)
    assert emergence.to_transformers(folder).config.n_layer == 2
    weights = load_file(folder / "model.safetensors")
    del weights["h.1.ln_2.bias"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match="missing_keys.*h.1.ln_2.bias"):
        emergence.to_transformers(folder)


def test_a_version_without_hooked_transformers_is_refused(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformer_lens", types.ModuleType("transformer_lens"))
    with pytest.raises(ImportError, match="pip install 'transformer_lens<4'"):
        emergence.to_transformer_lens(run, program=PROGRAM)


@pytest.mark.parametrize("of", ["run", "language_model"])
def test_tensorboard_reads_every_scalar_of_the_tables(of, request, tmp_path):
    """What TensorBoard finds in the event file is each number of each table with a step, and nothing else."""
    run = request.getfixturevalue(of)
    program("export", run, "--format", "tensorboard", "--out", tmp_path / "events")
    # Without a number for scalars TensorBoard would keep a sample.
    accumulator = EventAccumulator(str(tmp_path / "events"), size_guidance={"scalars": 0})
    accumulator.Reload()
    found = {
        (tag, event.step): event.value for tag in accumulator.Tags()["scalars"] for event in accumulator.Scalars(tag)
    }
    n_events = sum(len(accumulator.Scalars(tag)) for tag in accumulator.Tags()["scalars"])
    assert n_events == len(found), "no curve has two values at a step"

    expected, tables = {}, 0
    for path in sorted(run.glob("*.csv")):
        if path.stem in WITHOUT_CURVES:
            continue
        tables += 1
        header, rows = cells(path)
        # The layer of cd_best and cd_positions is a result: the one that was chosen.
        chosen = {"layer"} if path.stem in {"cd_best", "cd_positions"} else set()
        for row in rows:
            row = {name: cell for name, cell in zip(header, row) if cell}
            if "step" not in row:
                continue
            curve = "".join(f"/{name}={cell}" for name, cell in row.items() if name in NAMES - chosen)
            for name in row.keys() - (NAMES - chosen) - {"step"}:
                key = (f"{path.stem}.{name}{curve}", int(row["step"]))
                assert key not in expected
                expected[key] = float(np.float32(row[name]))
    assert tables >= (13 if of == "run" else 4)
    assert len(expected) > 1000
    assert found.keys() == expected.keys()
    assert found == expected
