"""Writes golden/NAME: tiny random models in Hugging Face's format, and what `transformers` makes of them.

    python tests/pretrained/make.py
    python tests/pretrained/make.py --seed 1 --scale 3 --out DIR [--only gemma2,olmo]

Made with Python 3.11, torch 2.15.0 (CPU), transformers 5.24.0, tokenizers and safetensors. Nothing here reads our
program. Each folder has what a downloaded model has (config.json, tokenizer.json, *.safetensors), and beside it
golden.safetensors:

    tokens  i64 [prompts, T]                       random tokens, padded on the right with -1
    hidden  f32 [prompts, T, n_layers + 1, d_model]  what enters the first block, and what leaves every block, before the
                                                   final norm; zero where tokens is -1
    logits  f32 [prompts, T, vocabulary]           zero where tokens is -1

The model is loaded from its folder, so the weights are those stored (rounded, where they are stored in 16 bits), and
computed with in f32, with eager attention, each prompt alone. The weights are large and no norm weight or bias is at a
trivial value. For every setting in a family's `bites`, the script checks that another value changes the result.

`--scale K` multiplies widths and the length of prompts by K.
"""

import argparse
import contextlib
import io
import json
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM

from theirs import watched

VOCABULARY = 128
LENGTHS = [1, 2, 3, 5, 8, 10]
# What a setting must change, over the largest value: ten times the tolerance of the tests.
BITE = 1e-4

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 1000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    # Of the four wavelengths of a head, 6, 35, 199 and 1,117, one is kept, one interpolated and two are divided.
    "original_max_position_embeddings": 64,
}
DEFAULT_ROPE = {"rope_type": "default", "rope_theta": 1000.0}
# Heads wider than the model together.
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}

# Name of a folder to: settings unlike the common ones; how it is stored; other values of settings that must show.
# `old` spells settings as transformers 4 did (`rope_theta`, `rope_scaling`, `torch_dtype`), `new` as 5 does.
FAMILIES = {
    # Llama 2: untied, one key head a query head, and a config.json without all that came later.
    "llama2": {
        "settings": {"model_type": "llama", "num_attention_heads": 3},
        "spelling": "old",
        "absent": ["num_key_value_heads", "head_dim", "attention_bias", "mlp_bias", "rope_theta", "rope_scaling"],
        "bos": True,
        "bites": [{"rms_norm_eps": 1e-2}],
    },
    # Llama 3.1: frequencies of the rotary embedding scaled, fewer key heads.
    "llama3.1": {
        "settings": {"model_type": "llama", **HEADS, "rope_parameters": LLAMA3},
        "stored": "bfloat16",
        "bos": True,
        "bites": [
            {"rope_parameters": DEFAULT_ROPE},
            {"rope_parameters": {**LLAMA3, "high_freq_factor": 2.0}},
            {"rope_parameters": {**LLAMA3, "factor": 32.0}},
        ],
    },
    "llama3.1-old-f16": {
        "settings": {"model_type": "llama", **HEADS, "rope_parameters": LLAMA3},
        "stored": "float16",
        "spelling": "old",
        "type": True,
        "bos": True,
    },
    # SmolLM2: tied, an odd number of heads.
    "smollm2": {
        "settings": {
            "model_type": "llama",
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
        },
        "stored": "bfloat16",
        "spelling": "old",
        "bites": [{"rope_parameters": DEFAULT_ROPE}],
    },
    "llama-bias": {
        "settings": {"model_type": "llama", "num_attention_heads": 3, "attention_bias": True, "mlp_bias": True},
        "stored": "bfloat16",
        "bos": True,
    },
    # Windows on every other layer, from the first.
    "gemma2": {
        "settings": {
            "model_type": "gemma2",
            **HEADS,
            "query_pre_attn_scalar": 3,
            "sliding_window": 4,
            "attn_logit_softcapping": 4.0,
            "final_logit_softcapping": 6.0,
            "tie_word_embeddings": True,
            "rms_norm_eps": 1e-3,
        },
        # The factor of the embedding, the root of 24, is not rounded to 16 bits, for the arithmetic is in f32.
        "stored": "bfloat16",
        "spelling": "old",
        "absent": ["layer_types", "use_bidirectional_attention"],
        "bos": True,
        "bites": [
            {"query_pre_attn_scalar": 8},
            {"sliding_window": 5},
            {"attn_logit_softcapping": 50.0},
            {"final_logit_softcapping": 30.0},
            {"rms_norm_eps": 1e-2},
            {"hidden_activation": "gelu"},
        ],
    },
    "olmo": {
        "settings": {"model_type": "olmo", "num_attention_heads": 3, "clip_qkv": 1.5},
        "stored": "bfloat16",
        "spelling": "old",
        "bites": [{"clip_qkv": None}, {"clip_qkv": 1.6}],
    },
    "olmo2-sharded": {
        "settings": {"model_type": "olmo2", "num_attention_heads": 3, "num_key_value_heads": 1},
        "stored": "bfloat16",
        "spelling": "old",
        "shard": "12KB",
    },
    # Rotary embedding on a quarter of a head; with the buffers that old folders carry.
    "pythia-f16": {
        "settings": {"model_type": "gpt_neox", "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 40},
        "stored": "float16",
        "spelling": "old",
        "buffers": True,
        "bites": [
            {"hidden_act": "gelu_new"},
            {"use_parallel_residual": False},
            {"rope_parameters": {**DEFAULT_ROPE, "rope_theta": 10000.0, "partial_rotary_factor": 0.5}},
            {"rope_parameters": {**DEFAULT_ROPE, "partial_rotary_factor": 0.25}},
        ],
    },
    "pythia-sequential": {
        "settings": {
            "model_type": "gpt_neox",
            "hidden_size": 32,
            "num_attention_heads": 2,
            "intermediate_size": 40,
            "use_parallel_residual": False,
        },
        "stored": "bfloat16",
    },
    "mistral-bf16": {
        "settings": {"model_type": "mistral", **HEADS, "sliding_window": 4},
        "stored": "bfloat16",
        "bos": True,
        "bites": [{"sliding_window": 5}, {"sliding_window": None}],
    },
    # Biases on query, key and value alone.
    "qwen2": {
        "settings": {
            "model_type": "qwen2",
            "num_attention_heads": 3,
            "num_key_value_heads": 1,
            "tie_word_embeddings": True,
            "sliding_window": 4,
        },
        "stored": "bfloat16",
        "spelling": "old",
        # Tied, and the head is stored all the same.
        "head": True,
        # The window is given, but not used.
        "bites": [{"use_sliding_window": True, "max_window_layers": 0}],
    },
    # Each head of query and key normalised.
    "qwen3": {
        "settings": {"model_type": "qwen3", **HEADS},
        "stored": "bfloat16",
    },
}


def settings(family: dict, scale: int) -> dict:
    """The settings of a model, by the names that transformers 5 has for them."""
    common = {
        "vocab_size": VOCABULARY,
        "hidden_size": 24,
        "intermediate_size": 32,
        "num_hidden_layers": 3,
        "max_position_embeddings": 512,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 2,
    }
    given = common | family["settings"]
    widths = {name: given[name] * scale for name in ["hidden_size", "intermediate_size", "head_dim"] if name in given}
    return given | widths


def draw(model: torch.nn.Module, generator: torch.Generator) -> None:
    """Large enough that softmax, activations, caps and norms are far from linear."""
    gemma = model.config.model_type == "gemma2"
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "embed" in name:
            parameter.data = noise
        elif parameter.dim() == 2:
            parameter.data = 2 * noise / parameter.shape[1] ** 0.5
        elif name.endswith("bias"):
            parameter.data = 0.5 * noise
        else:
            parameter.data = 0.4 * noise + (0.0 if gemma else 1.0)


def tokenizer(bos: bool) -> Tokenizer:
    """Byte-level BPE of printable ASCII, a line break and a few merges; for some models with a token at the beginning."""
    text = "the cat sat on the mat. an apple and another one -> noun, verb: 10 21 in out\n input output"
    tiny = Tokenizer(models.BPE())
    tiny.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tiny.decoder = decoders.ByteLevel()
    specials = ["<s>", "</s>", "<pad>"]
    printable = [chr(code) for code in range(33, 127)] + ["Ġ", "Ċ"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=specials, initial_alphabet=printable, show_progress=False
    )
    tiny.train_from_iterator([text], trainer)
    assert tiny.get_vocab_size() == VOCABULARY, tiny.get_vocab_size()
    if bos:
        tiny.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", tiny.token_to_id("<s>"))]
        )
    return tiny


def old_spelling(config: dict) -> dict:
    """The settings as transformers 4 wrote them."""
    config = dict(config)
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.44.0"
    rope = dict(config.pop("rope_parameters"))
    theta, kind = rope.pop("rope_theta"), rope.pop("rope_type")
    if config["model_type"] == "gpt_neox":
        return config | {"rotary_emb_base": theta, "rotary_pct": rope["partial_rotary_factor"]}
    scaling = None if kind == "default" else {**rope, "rope_type": kind}
    return config | {"rope_theta": theta, "rope_scaling": scaling}


def write_config(folder: Path, family: dict) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | {"dtype": family.get("stored", "float32")}
    if family.get("spelling", "new") == "old":
        config = old_spelling(config)
    if family.get("type"):
        config["rope_scaling"]["type"] = config["rope_scaling"].pop("rope_type")
    for name in family.get("absent", []):
        config.pop(name, None)
    path.write_text(json.dumps(config, indent=1) + "\n")


def add_buffers(path: Path, config) -> None:
    """The masks and rotary tables in Pythia's folders, which are no parameters."""
    tensors = load_file(path)
    rotary = config.hidden_size // config.num_attention_heads // 4
    length = 16
    for layer in range(config.num_hidden_layers):
        at = f"gpt_neox.layers.{layer}.attention"
        tensors[f"{at}.bias"] = torch.ones(1, 1, length, length, dtype=torch.bool).tril()
        tensors[f"{at}.masked_bias"] = torch.tensor(-1e9)
        tensors[f"{at}.rotary_emb.inv_freq"] = 1 / 10000 ** (torch.arange(0, rotary, 2) / rotary)
    save_file(tensors, path, metadata={"format": "pt"})


def load(folder: Path, **changed):
    """The model in `folder`, computing in f32, with some settings changed."""
    config = AutoConfig.from_pretrained(folder)
    for name, value in changed.items():
        setattr(config, name, value)
    if "use_sliding_window" in changed:
        config.layer_types = ["sliding_attention"] * config.num_hidden_layers
        config.sliding_window = 4
    # transformers reports the surplus buffers of Pythia on stderr.
    with contextlib.redirect_stderr(io.StringIO()):
        model, report = AutoModelForCausalLM.from_pretrained(
            folder, config=config, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
    assert not report["missing_keys"] and not report["mismatched_keys"], report
    surplus = [name for name in report["unexpected_keys"] if ".attention." not in name]
    assert not surplus, surplus
    return model.eval()


@torch.inference_mode()
def run(model: torch.nn.Module, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """States and logits of padded `tokens`, each row alone and without its padding."""
    config = model.config
    hidden = torch.zeros(*tokens.shape, config.num_hidden_layers + 1, config.hidden_size)
    logits = torch.zeros(*tokens.shape, config.vocab_size)
    with watched(model) as states:
        for row, padded in enumerate(tokens):
            prompt = padded[padded >= 0]
            output = model(prompt[None], use_cache=False)
            hidden[row, : len(prompt)] = torch.stack(states, dim=2)[0]
            logits[row, : len(prompt)] = output.logits[0]
    return hidden, logits


def difference(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


def make(name: str, family: dict, folder: Path, seed: int, scale: int) -> None:
    generator = torch.Generator().manual_seed(1000 * seed + list(FAMILIES).index(name))
    stored = family.get("stored", "float32")
    config = AutoConfig.for_model(**settings(family, scale))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
    draw(model, generator)
    model.to(getattr(torch, stored)).float()  # The parameters are now rounded.

    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.is_file():
            old.unlink()
    weights = {name: tensor.to(getattr(torch, stored)) for name, tensor in model.state_dict().items()}
    if config.tie_word_embeddings and not family.get("head"):
        del weights["lm_head.weight"]
    model.save_pretrained(folder, state_dict=weights, max_shard_size=family.get("shard", "1GB"))
    (folder / "generation_config.json").unlink(missing_ok=True)
    write_config(folder, family)
    if family.get("buffers"):
        add_buffers(folder / "model.safetensors", config)
    tokenizer(family.get("bos", False)).save(str(folder / "tokenizer.json"), pretty=False)

    lengths = [length * scale for length in LENGTHS]
    tokens = torch.full((len(lengths), max(lengths)), -1)
    for row, length in enumerate(lengths):
        tokens[row, :length] = torch.randint(VOCABULARY, (length,), generator=generator)

    hidden, logits = run(load(folder), tokens)
    check_bites(name, family, folder, tokens, hidden, logits)
    save_file(
        {"tokens": tokens, "hidden": hidden.contiguous(), "logits": logits.contiguous()},
        folder / "golden.safetensors",
    )
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    print(f"{name}: {size} bytes, states up to {hidden.abs().max():.1f}, logits up to {logits.abs().max():.1f}")


def check_bites(name, family, folder, tokens, hidden, logits) -> None:
    """Fails if another value of a setting leaves the states and logits as they are."""
    for changed in family.get("bites", []):
        with tempfile.TemporaryDirectory() as copy:
            shutil.copytree(folder, copy, dirs_exist_ok=True)
            other = run(load(Path(copy), **changed), tokens)
        moved = max(difference(other[0], hidden), difference(other[1], logits))
        assert moved > BITE, f"{name}: {changed} moves the result by {moved:.1e} only"
        print(f"  {name}: {changed} moves the result by {moved:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=int, default=1, help="factor of widths and lengths")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("golden"))
    parser.add_argument("--only", help="names of folders, with commas")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = options.only.split(",") if options.only else list(FAMILIES)
    for name in names:
        make(name, FAMILIES[name], options.out / name, options.seed, options.scale)
    total = sum(file.stat().st_size for file in options.out.rglob("*") if file.is_file())
    print(f"{options.out}: {total} bytes in all")


if __name__ == "__main__":
    main()
