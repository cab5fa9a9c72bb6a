"""A whole run as one would script it in PyTorch: the trainer of Garg et al. (2022) and scikit-learn's nearest neighbours.

    pip install torch transformers scikit-learn
    cargo build -p emergence
    python benches/whole_run.py target/debug/emergence

Runs `emergence train two-bases`, then the script on the same task, sizes and steps, on all cores, and prints wall time
and peak memory of both. The script measures only what the first tables of ours have: error and CD, by layer, at two tokens,
with ten resamples. The four other probes, controls, interventions, UMAP, figures and report of ours have no counterpart in it.
"""

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from measure import measure

PRESETS = Path(__file__).resolve().parents[1] / "experiments"
TOKENS = {"query_x": -2, "last_y": -1}


def preset() -> dict:
    """The fields of `two-bases` over those of the base."""
    base, two_bases = (tomllib.loads((PRESETS / f"{name}.toml").read_text()) for name in ("base", "two-bases"))
    return {section: {**base[section], **two_bases.get(section, {})} for section in ("task", "model", "train", "eval", "probe", "checkpoints")}


def script() -> None:
    import torch
    from sklearn.neighbors import KNeighborsClassifier
    from torch import nn
    from transformers import GPT2Config, GPT2Model

    fields = preset()
    task, shape, train, probe = (fields[section] for section in ("task", "model", "train", "probe"))
    count, rank = task["bases"]["blocks"]["count"], task["bases"]["blocks"]["rank"]
    bases = torch.eye(count).repeat_interleave(rank, dim=1)
    torch.manual_seed(0)

    def prompts(concepts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens [prompts, 2 * n_points, d_x] and targets [prompts, n_points]."""
        xs = torch.randn(len(concepts), task["n_points"], task["d_x"])
        weights = torch.randn(len(concepts), task["d_x"]) * task["w_std"] * bases[concepts]
        ys = (xs @ weights[:, :, None])[:, :, 0] + task["noise_variance"] ** 0.5 * torch.randn(xs.shape[:2])
        tokens = torch.zeros(len(concepts), task["n_points"], 2, task["d_x"])
        tokens[:, :, 0], tokens[:, :, 1, 0] = xs, ys
        return tokens.flatten(1, 2), ys

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            d = shape["d_model"]
            self.read_in, self.read_out = nn.Linear(task["d_x"], d), nn.Linear(d, 1)
            self.backbone = GPT2Model(GPT2Config(
                n_positions=2 * task["n_points"], n_embd=d, n_layer=shape["n_layers"], n_head=shape["n_heads"],
                resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False, initializer_range=d**-0.5,
            ))
            nn.init.normal_(self.read_in.weight, std=shape["read_in_gain"] * task["d_x"] ** -0.5)
            nn.init.normal_(self.read_out.weight, std=d**-0.5)
            nn.init.normal_(self.backbone.wpe.weight, std=shape["position_std"])

        def forward(self, tokens, states=False):
            found = self.backbone(inputs_embeds=self.read_in(tokens), output_hidden_states=states)
            return self.read_out(found.last_hidden_state)[:, 0::2, 0], found.hidden_states

    def measure(step: int) -> None:
        of_each = lambda size: torch.arange(count).repeat_interleave(size)
        with torch.no_grad():
            concepts = of_each(fields["eval"]["prompts_per_concept"])
            tokens, ys = prompts(concepts)
            errors = (model(tokens)[0] - ys).square().mean(1) / ys.square().mean()
            concepts = of_each(probe["prompts_per_concept"])
            decodability = torch.zeros(shape["n_layers"] + 1, len(TOKENS))
            for _ in range(probe["resamples"]):
                for layer, states in enumerate(model(prompts(concepts)[0], states=True)[1]):
                    for place, token in enumerate(TOKENS.values()):
                        nearest = KNeighborsClassifier(probe["neighbours"], algorithm="brute").fit(states[:, token], concepts)
                        right = (torch.tensor(nearest.predict(None)) == concepts).double().mean()
                        decodability[layer, place] += right / probe["resamples"]
        row = {"step": step, "error": errors.mean().item(), "cd": decodability.max(0).values.tolist()}
        print(json.dumps(row), flush=True)

    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), train["learning_rate"], (train["beta_1"], train["beta_2"]), train["epsilon"])
    schedule, steps = train["schedule"], train["steps"]

    def rate(step: int) -> float:
        done = torch.tensor((step - schedule["warm_up"]) / (schedule["until"] - schedule["warm_up"]))
        cosine = schedule["floor"] + (1 - schedule["floor"]) * 0.5 * (1 + torch.cos(torch.pi * done.clamp(0, 1))).item()
        return min((step + 1) / schedule["warm_up"], cosine)

    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    for step in range(steps + 1):
        if step % fields["checkpoints"]["every"] == 0:
            measure(step)
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, "checkpoint.pt")
        tokens, ys = prompts(torch.randint(count, (train["batch_size"],)))
        optimizer.zero_grad()
        loss = (model(tokens)[0] - ys).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), train["clip_norm"])
        optimizer.step()
        decay.step()
        loss.item()


def show(command: list, folder: str, name: str) -> None:
    """Starts a command in a folder and prints how long it took and its largest resident memory."""
    seconds, memory, printed = measure(command, cwd=folder, stderr=subprocess.STDOUT)
    print(f"| {name} | {seconds / 60:.1f} | {memory:.0f} |", flush=True)
    print(f"{name}: {printed.splitlines()[-1]}", file=sys.stderr)


def main() -> None:
    print("| program | minutes | memory, MiB |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        show([Path(sys.argv[1]).resolve(), "train", "two-bases", "--out", folder, "--quiet"], folder, "ours")
        show([sys.executable, Path(__file__).resolve(), "--script"], folder, "PyTorch script")


if __name__ == "__main__":
    script() if sys.argv[1] == "--script" else main()
