"""Writes a folder of Llama-3.2-1B's shape with random weights, to measure time and memory on.

    pip install numpy safetensors
    python experiments/pretrained/make_shape.py FOLDER --tokenizer weights/smollm2-135m/tokenizer.json [--layers 16]

2.5 GB in bf16, as one file, written some rows at a time: in memory are some 100 MB. The tokenizer is borrowed;
its ids must be below Llama's vocabulary of 128,256, and what the model says means nothing. Sizes are those of
meta-llama/Llama-3.2-1B's config.json.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

ROWS = 2048  # Drawn at a time; norms are no longer than this.

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "bos_token_id": 128000,
    "eos_token_id": 128001,
    "head_dim": 64,
    "hidden_act": "silu",
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "max_position_embeddings": 131072,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 16,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 32.0,
        "high_freq_factor": 4.0,
        "low_freq_factor": 1.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "vocab_size": 128256,
}


def shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor, in the order of the file."""
    d, wide = config["hidden_size"], config["intermediate_size"]
    queries, keys = (config[name] * config["head_dim"] for name in ["num_attention_heads", "num_key_value_heads"])
    block = {
        "input_layernorm": (d,),
        "self_attn.q_proj": (queries, d),
        "self_attn.k_proj": (keys, d),
        "self_attn.v_proj": (keys, d),
        "self_attn.o_proj": (d, queries),
        "post_attention_layernorm": (d,),
        "mlp.gate_proj": (wide, d),
        "mlp.up_proj": (wide, d),
        "mlp.down_proj": (d, wide),
    }
    layers = range(config["num_hidden_layers"])
    blocks = {f"model.layers.{layer}.{name}.weight": shape for layer in layers for name, shape in block.items()}
    return {"model.embed_tokens.weight": (config["vocab_size"], d)} | blocks | {"model.norm.weight": (d,)}


def draw(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Norm weights about 1, products that keep the size of their input, embeddings as small as trained ones; as bits of
    bf16."""
    if len(shape) == 1:
        values = 1 + 0.1 * rng.standard_normal(shape, dtype=np.float32)
    else:
        values = rng.standard_normal(shape, dtype=np.float32)
        values *= np.float32(shape[1] ** -0.5)
    bits = values.view(np.uint32)
    bits += 0x7FFF + ((bits >> 16) & 1)  # To the nearest, ties to even.
    return (bits >> 16).astype("<u2")


def write(path: Path, config: dict, seed: int) -> int:
    """One safetensors file: the length of the header, the header, the tensors."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes(config).items():
        end = offset + 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    rng = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for rows, *columns in shapes(config).values():
            for start in range(0, rows, ROWS):
                file.write(draw((min(ROWS, rows - start), *columns), rng))
    return offset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True, help="tokenizer.json to borrow")
    parser.add_argument("--layers", type=int, default=CONFIG["num_hidden_layers"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    config = CONFIG | {"num_hidden_layers": options.layers}
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    shutil.copy(options.tokenizer, options.folder / "tokenizer.json")
    size = write(options.folder / "model.safetensors", config, options.seed)
    print(f"{options.folder}: {len(shapes(config))} tensors, {size // 2} parameters, {size} bytes")


if __name__ == "__main__":
    main()
