"""Times training steps of this program and of PyTorch, in turn, on the same sizes.

    pip install torch transformers
    python benches/pytorch/compare.py [--sizes small,medium,paper] [--rounds 3] [--threads 2] [--seconds 10]
    python benches/pytorch/compare.py --device cuda

Every measurement is a process of its own; the rounds go through all programs in turn, so that a machine that slows
down slows all of them. Printed: the median over rounds of each program's median step, its ratio to ours, and its
largest resident memory.

On a GPU every opponent runs twice, with products in f32 and in TF32, and Hugging Face's makes room for one more:
compiled, with CUDA graphs. Ten steps are queued, then waited for, and each counts as a tenth; for all programs, ours included.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benches"))
from measure import measure  # noqa: E402

OPPONENTS = {
    "cpu": ["eager", "compiled", "huggingface"],
    "cuda": [
        f"{variant} {products}"
        for variant in ["eager", "compiled", "graphs"]
        for products in ["f32", "tf32"]
    ],
}
# Milliseconds a step of ours may take, from which the number of steps follows.
GUESSES = {"cpu": {"small": 14, "medium": 75, "paper": 1000}, "cuda": {"small": 5, "medium": 5, "paper": 10}}
COMPILED = {"compiled": "default", "graphs": "reduce-overhead"}


def size(name):
    config = tomllib.loads((ROOT / f"benches/sizes/{name}.toml").read_text())
    return {**config["task"], **config["model"], **config["train"]}


def blocks(shape):
    """The blocks of this program's model: pre-norm, fused attention, tanh-GELU."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    d, heads = shape["d_model"], shape["n_heads"]

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention_norm, self.feed_forward_norm = nn.LayerNorm(d), nn.LayerNorm(d)
            self.query_key_value, self.attention_out = nn.Linear(d, 3 * d), nn.Linear(d, d)
            self.feed_forward_in, self.feed_forward_out = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

        def forward(self, h):
            batch, tokens, _ = h.shape
            qkv = self.query_key_value(self.attention_norm(h)).view(batch, tokens, 3, heads, d // heads)
            mixed = F.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4), is_causal=True)
            h = h + self.attention_out(mixed.transpose(1, 2).reshape(batch, tokens, d))
            hidden = F.gelu(self.feed_forward_in(self.feed_forward_norm(h)), approximate="tanh")
            return h + self.feed_forward_out(hidden)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.read_in, self.read_out = nn.Linear(shape["d_x"], d), nn.Linear(d, 1)
            self.positions = nn.Parameter(0.02 * torch.randn(2 * shape["n_points"], d))
            self.blocks = nn.Sequential(*(Block() for _ in range(shape["n_layers"])))
            self.final_norm = nn.LayerNorm(d)

        def forward(self, tokens):
            h = self.blocks(self.read_in(tokens) + self.positions)
            return self.read_out(self.final_norm(h[:, 0::2]))[..., 0]

    return Model()


def huggingface(shape):
    """GPT2Model between a read-in and a read-out, as in the published trainer of Garg et al. (2022)."""
    from torch import nn
    from transformers import GPT2Config, GPT2Model

    d = shape["d_model"]
    config = GPT2Config(
        n_positions=2 * shape["n_points"], n_embd=d, n_layer=shape["n_layers"], n_head=shape["n_heads"],
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False,
    )

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.read_in, self.backbone, self.read_out = nn.Linear(shape["d_x"], d), GPT2Model(config), nn.Linear(d, 1)

        def forward(self, tokens):
            h = self.backbone(inputs_embeds=self.read_in(tokens)).last_hidden_state
            return self.read_out(h)[:, 0::2, 0]

    return Model()


def torch_steps(worker, name, threads, seconds, device):
    """Times whole steps: prompts, forward, backward, Adam."""
    import torch

    variant, products = f"{worker} f32".split()[:2]
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("high" if products == "tf32" else "highest")
    torch.set_default_device(device)
    torch.manual_seed(0)
    shape = size(name)
    model = huggingface(shape) if variant == "huggingface" else blocks(shape)
    forward = torch.compile(model, mode=COMPILED[variant]) if variant in COMPILED else model
    # The published loop uses the default Adam; elsewhere PyTorch gets its fastest.
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=None if variant == "huggingface" else True)
    batch, n_points, d_x = shape["batch_size"], shape["n_points"], shape["d_x"]

    def step():
        xs = torch.randn(batch, n_points, d_x)
        ys = (xs @ torch.randn(batch, d_x, 1))[..., 0]
        tokens = torch.zeros(batch, n_points, 2, d_x)
        tokens[:, :, 0], tokens[:, :, 1, 0] = xs, ys
        loss = (forward(tokens.view(batch, 2 * n_points, d_x)) - ys).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if variant == "huggingface":
            loss.item()

    at_a_time = 10 if device == "cuda" else 1
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    for _ in range(5):
        step()
    wait()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 5 or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(at_a_time):
            step()
        wait()
        times.append((time.perf_counter() - start) / at_a_time)
    return {"median_ms": 1e3 * statistics.median(times), "steps": len(times)}


def ours(name, threads, seconds, guess):
    steps = max(5, int(1e3 * seconds / guess))
    options = ["--json", "--threads", threads, "--steps", steps, "--warm-up", 5]
    device = ["--device", "cuda"] if arguments.device == "cuda" else []
    return [PROGRAM, "bench", ROOT / f"benches/sizes/{name}.toml", *options, *device]


def found_by(command):
    """What a command prints as JSON, and its largest resident memory in MiB."""
    measured = measure(command, env={**os.environ, "OMP_NUM_THREADS": str(arguments.threads)})
    return {**json.loads(measured.printed), "memory": measured.memory}


def main():
    known = OPPONENTS[arguments.device]
    opponents = arguments.opponents.split(",") if arguments.opponents else known
    if not set(opponents) <= set(known):
        parser.error(f"--opponents must be among {', '.join(known)}, but is {arguments.opponents}")
    if not arguments.program:
        features = ["--features", "cuda"] if arguments.device == "cuda" else []
        subprocess.run(["cargo", "build", "--release", "-p", "trainer", *features], cwd=ROOT, check=True)
    print("| size | program | step, ms | over ours | memory, MiB | share of the products' rate |")
    print("|---|---|---|---|---|---|")
    for name in arguments.sizes.split(","):
        found = {program: [] for program in ["ours", *opponents]}
        guess = GUESSES[arguments.device].get(name, 1000)
        for _ in range(arguments.rounds):
            found["ours"].append(found_by(ours(name, arguments.threads, arguments.seconds, guess)))
            for variant in opponents:
                options = ["--worker", variant, "--sizes", name, "--threads", arguments.threads]
                options += ["--seconds", arguments.seconds, "--device", arguments.device]
                found[variant].append(found_by([sys.executable, __file__, *options]))
        median = lambda program, field: statistics.median(run[field] for run in found[program])
        for program in found:
            time_ms, memory = median(program, "median_ms"), median(program, "memory")
            measured = program == "ours" and arguments.device == "cpu"
            share = f"{median(program, 'share_of_products'):.0%}" if measured else ""
            ratio = time_ms / median("ours", "median_ms")
            print(f"| {name} | {program} | {time_ms:.1f} | {ratio:.2f} | {memory:.0f} | {share} |", flush=True)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--sizes", default="small,medium,paper", help="files in benches/sizes, by comma")
parser.add_argument("--opponents", help="some of those of the device, by comma")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=os.cpu_count())
parser.add_argument("--seconds", type=float, default=10, help="of each measurement")
parser.add_argument("--device", choices=list(OPPONENTS), default="cpu")
parser.add_argument("--program", type=Path, help="a trainer that is built already")
parser.add_argument("--worker", help=argparse.SUPPRESS)
arguments = parser.parse_args()
PROGRAM = arguments.program or Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/trainer"
if arguments.worker:
    how = [arguments.threads, arguments.seconds, arguments.device]
    print(json.dumps(torch_steps(arguments.worker, arguments.sizes, *how)))
else:
    main()
