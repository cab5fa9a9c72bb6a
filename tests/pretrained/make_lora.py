"""Writes golden/NAME/lora: an adapter in PEFT's format for two of the tiny models, and what PEFT makes of it.

    python tests/pretrained/make.py
    python tests/pretrained/make_lora.py [--seed 0] [--out tests/pretrained/golden]

Made with torch 2.15.0 (CPU), transformers 5.24.0 and peft 0.21.2. Rank 4, alpha 8, no dropout, on the first two of three
layers, with B away from zero. Beside adapter_config.json and adapter_model.safetensors stands golden.safetensors:

    tokens          i64 [prompts, T]      as in the model's own golden.safetensors, padded on the right with -1
    answers         i64 [prompts, T]      1 where the token belongs to an answer, and is predicted from the one before it
    loss            f32 [1]               mean of -log p over the answers' tokens of all prompts
    hidden          f32                   as in the model's own, with the adapter as PEFT reads it from the folder
    gradients.NAME                        of the loss, by the tensors' names in adapter_model.safetensors

The base model is loaded and computed with in f32, each prompt alone.
"""

import argparse
import json
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from make import BITE, difference, load, run

# Linear maps that get an adapter. Query and value, where they are apart; they are of unlike widths here.
TARGETS = {"smollm2": ["q_proj", "v_proj"], "pythia-f16": ["query_key_value"]}
RANK, ALPHA, LAYERS = 4, 8, [0, 1]


def answers(tokens: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """About half of the tokens, never the first of a prompt."""
    chosen = torch.rand(tokens.shape, generator=generator) < 0.5
    chosen &= tokens >= 0
    chosen[:, 0] = False
    return chosen.long()


def loss_of(model: torch.nn.Module, tokens: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    total = 0.0
    for padded, mask in zip(tokens, chosen):
        prompt = padded[padded >= 0]
        if len(prompt) < 2:
            continue
        logits = model(prompt[None], use_cache=False).logits[0, :-1]
        losses = torch.nn.functional.cross_entropy(logits, prompt[1:], reduction="none")
        total = total + (losses * mask[1 : len(prompt)]).sum()
    return total / chosen.sum()


def make(name: str, folder: Path, seed: int) -> None:
    generator = torch.Generator().manual_seed(1000 * seed + 500 + list(TARGETS).index(name))
    base = load(folder)
    own = load_file(folder / "golden.safetensors")
    tokens = own["tokens"]
    config = LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        lora_dropout=0.0,
        target_modules=TARGETS[name],
        layers_to_transform=LAYERS,
        task_type="CAUSAL_LM",
        base_model_name_or_path=name,
    )
    adapted = get_peft_model(base, config).eval()
    trained = {at: parameter for at, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert len(trained) == 2 * len(LAYERS) * len(TARGETS[name]), list(trained)
    for at, parameter in trained.items():
        fan_in = parameter.shape[1]
        parameter.data = torch.randn(parameter.shape, generator=generator) / fan_in**0.5

    chosen = answers(tokens, generator)
    loss = loss_of(adapted, tokens, chosen)
    loss.backward()
    stored = lambda at: at.replace(".default.weight", ".weight")  # The adapter's own name is not stored.
    gradients = {f"gradients.{stored(at)}": parameter.grad.clone() for at, parameter in trained.items()}

    out = folder / "lora"
    out.mkdir(exist_ok=True)
    adapter = {at: tensor.contiguous() for at, tensor in get_peft_model_state_dict(adapted).items()}
    assert {f"gradients.{at}" for at in adapter} == set(gradients), (list(adapter), list(gradients))
    save_file(adapter, out / "adapter_model.safetensors", metadata={"format": "pt"})
    adapted.save_pretrained(out / "scratch")
    written = json.loads((out / "scratch/adapter_config.json").read_text())
    for file in (out / "scratch").iterdir():
        file.unlink()
    (out / "scratch").rmdir()
    written |= {"target_modules": sorted(written["target_modules"]), "base_model_name_or_path": name}
    (out / "adapter_config.json").write_text(json.dumps(written, indent=1, sort_keys=True) + "\n")

    hidden, _ = run(PeftModel.from_pretrained(load(folder), out).eval().get_base_model(), tokens)
    moved = difference(hidden, own["hidden"])
    assert moved > BITE, f"{name}: the adapter moves the states by {moved:.1e} only"
    assert difference(hidden, run(adapted.get_base_model(), tokens)[0]) == 0, f"{name}: read back, the adapter differs"
    golden = {"tokens": tokens, "answers": chosen, "loss": loss.detach().reshape(1), "hidden": hidden}
    save_file(golden | gradients, out / "golden.safetensors")
    size = sum(file.stat().st_size for file in out.iterdir())
    largest = max(gradient.abs().max() for gradient in gradients.values())
    print(f"{name}: {size} bytes, states move by {moved:.1e}, loss {loss:.3f}, gradients up to {largest:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("golden"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in TARGETS:
        make(name, options.out / name, options.seed)


if __name__ == "__main__":
    main()
