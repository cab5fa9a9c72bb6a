"""What the scripts about pretrained models have in common: prompts, and the states that `transformers` has for them.

Nothing to run. Made with torch 2.15.0, transformers 5.24.0 and tokenizers 0.23.
"""

import contextlib
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers.utils.logging import disable_progress_bar

disable_progress_bar()


def read_texts(path: Path) -> list[str]:
    """The prompts of a file of JSON lines, each with a `text`."""
    with path.open() as lines:
        return [json.loads(line)["text"] for line in lines if line.strip()]


def encode(folder: Path, texts: list[str]) -> list[list[int]]:
    """Tokens, with what the tokenizer's post-processor adds; without padding."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return [tokenizer.encode(text).ids for text in texts]


def blocks(model: torch.nn.Module) -> torch.nn.ModuleList:
    """The blocks of a model of `transformers`, with or without a head."""
    return model.base_model.layers


@contextlib.contextmanager
def watched(model: torch.nn.Module, take=lambda hidden: hidden):
    """A list that has, whenever `model` has run, what entered its first block and what left every block, before the final
    norm; of each [batch, tokens, d_model], what `take` takes."""
    states = []

    def enter(_block, arguments, keywords):
        states.clear()
        states.append(take(arguments[0] if arguments else keywords["hidden_states"]))

    def leave(_block, _arguments, output):
        states.append(take(output[0] if isinstance(output, tuple) else output))

    hooks = [blocks(model)[0].register_forward_pre_hook(enter, with_kwargs=True)]
    hooks += [block.register_forward_hook(leave) for block in blocks(model)]
    try:
        yield states
    finally:
        for hook in hooks:
            hook.remove()
