"""Times a training step of LoRA with PEFT, to be set beside this program's.

    pip install torch transformers peft
    python benches/pretrained/compare_lora.py --model FOLDER --prompts FILE [--steps 10] [--threads 2]

FILE has JSON lines, each with a `text` and `answer_start`, the places in characters where its answers begin. An answer
goes to the end of its line. The loss is the mean over the tokens of answers.

Rank 16, alpha 16, dropout 0.1 on the query and value of every layer (Pythia: the fused map), f32, AdamW with a learning
rate of 1e-4, batches of 8 prompts padded on the right. The fastest of four ways counts: eager or fused attention, and
logits of all positions, which is the usual way, or of the answers alone.

Prints JSON: for every way the median of seconds a step, the tokens a step and the largest resident memory.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benches"))
from measure import measure  # noqa: E402

WAYS = [f"{attention} {logits}" for attention in ["eager", "sdpa"] for logits in ["all", "answers"]]
RANK, ALPHA, DROPOUT, LEARNING_RATE = 16, 16, 0.1, 1e-4
WARM_UP = 2


def read(options) -> list[tuple[list[int], list[int]]]:
    """For every prompt its tokens and the places among them that belong to answers."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(options.model / "tokenizer.json"))
    prompts = []
    for line in options.prompts.read_text().splitlines():
        given = json.loads(line)
        text, encoded = given["text"], tokenizer.encode(given["text"])
        spans = [(start, (text + "\n").index("\n", start)) for start in given["answer_start"]]
        inside = lambda first, end: any(first < span[1] and end > span[0] for span in spans)
        places = [place for place, offsets in enumerate(encoded.offsets) if place and inside(*offsets)]
        prompts.append((encoded.ids, places))
    return prompts


def batches(prompts: list, size: int):
    """Endlessly: tokens and labels, [batch, tokens], padded on the right; a label is -100 where there is no answer."""
    import torch

    for first in itertools.count(0, size):
        chosen = [prompts[(first + row) % len(prompts)] for row in range(size)]
        width = max(len(tokens) for tokens, _ in chosen)
        padded = torch.zeros(size, width, dtype=torch.long)
        labels = torch.full((size, width), -100)
        for row, (tokens, places) in enumerate(chosen):
            padded[row, : len(tokens)] = torch.tensor(tokens)
            labels[row, places] = padded[row, places]
        yield padded, labels


def steps(options) -> dict:
    """Seconds of each step one way: forward, backward and optimizer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    attention, wanted = options.worker.split()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32, attn_implementation=attention)
    targets = ["query_key_value"] if model.config.model_type == "gpt_neox" else ["q_proj", "v_proj"]
    config = LoraConfig(r=RANK, lora_alpha=ALPHA, lora_dropout=DROPOUT, target_modules=targets, task_type="CAUSAL_LM")
    model = get_peft_model(model, config).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE, fused=True)
    inner, head = model.get_base_model().base_model, model.get_base_model().get_output_embeddings()
    cap = getattr(model.config, "final_logit_softcapping", None)

    def loss_of(tokens, labels):
        if wanted == "all":
            return model(tokens, labels=labels, use_cache=False).loss
        rows, places = (labels[:, 1:] != -100).nonzero(as_tuple=True)
        states = inner(tokens, use_cache=False).last_hidden_state[rows, places]
        logits = head(states)
        if cap:
            logits = cap * torch.tanh(logits / cap)
        return torch.nn.functional.cross_entropy(logits, labels[rows, places + 1])

    source = batches(read(options), options.batch)
    times, losses, counted = [], [], []
    for step in range(WARM_UP + options.steps):
        tokens, labels = next(source)
        start = time.perf_counter()
        loss = loss_of(tokens, labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if step >= WARM_UP:
            times.append(time.perf_counter() - start)
            counted.append(tokens.numel())
    return {
        "step_s": round(statistics.median(times), 4),
        "tokens": statistics.mean(counted),
        "first_loss": round(losses[0], 4),
        "parameters": sum(parameter.numel() for parameter in trained),
    }


def steps_of(options, way: str) -> dict | None:
    """A process of its own; none, if the model has no such attention."""
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", way]
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    try:
        _, memory, printed = measure(command, env=environment)
    except subprocess.CalledProcessError:
        return None
    return {**json.loads(printed), "memory_mib": round(memory)}


def main(options) -> int:
    found = {way: steps_of(options, way) for way in options.ways.split(",")}
    found = {way: measured for way, measured in found.items() if measured}
    if not found:
        return 1
    fastest = min(found, key=lambda way: found[way]["step_s"])
    print(json.dumps({"threads": options.threads, "batch": options.batch, "fastest": fastest, "ways": found}, indent=1))
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--ways", default=",".join(WAYS), help="some of them, by comma")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(steps(arguments)))
    else:
        sys.exit(main(arguments))
