"""What sharing a context buys: the same questions with and without it, side by side in one run.

python benchmarks/shared_context.py [--examples 16] [--rounds 3] [--json]

Trains one step and answers the questions of the roastery suite with SmolLM2-135M: packed, and one example at a time
(for generation: the library's own greedy `generate`, batched with padding). Prints seconds and ratios, best of the
rounds, which alternate so that a noisy machine treats both alike.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from slm.data import load_dataset
from slm.generate.local import LocalBackend
from slm.models import pull_model
from slm.models.load import load_model, load_tokenizer
from slm.models.lora import add_lora
from slm.models.shared_attention import use_shared_attention
from slm.recipe import LoraSection
from slm.tasks import Renderer, TextToSql
from slm.train.encode import encode
from slm.train.loss import summed_loss
from slm.train.pack import Pack

NEW_TOKENS = 32


def seconds(job: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    job()
    return time.perf_counter() - began


def training(folder: Any, renderer: Renderer, count: int) -> dict[str, Callable[[], object]]:
    """Forward and backward of the same examples: one pack, a dense mask, and one by one."""
    dataset = load_dataset("roastery:train", limit=count)
    examples = encode(dataset.examples, TextToSql(dataset.contexts), renderer, longest=8192)
    models = {}
    for name in ("shared", "dense"):
        base = load_model(folder, dtype="float32")
        if name == "shared":
            use_shared_attention(base)
        models[name] = add_lora(base, LoraSection())

    def step(name: str, packs: list[Pack]) -> None:
        model = models[name]
        for pack in packs:
            loss = summed_loss(model, model.config, pack, device=torch.device("cpu"), dtype=torch.float32)
            loss.backward()  # type: ignore[no-untyped-call]
        model.zero_grad()

    packed, alone = [Pack((tuple(examples),))], [Pack(((example,),)) for example in examples]
    return {
        "train, packed": lambda: step("shared", packed),
        "train, packed under a dense mask": lambda: step("dense", packed),
        "train, one by one": lambda: step("dense", alone),
    }


def generation(folder: Any, renderer: Renderer, count: int) -> dict[str, Callable[[], object]]:
    """Greedy answers of equal length: branches of one context, and the library's padded batch."""
    dataset = load_dataset("roastery:test", limit=count)
    task = TextToSql(dataset.contexts)
    requests = [(example.id, task.prompt(example)) for example in dataset.examples]
    model, plain = load_model(folder, dtype="float32"), load_model(folder, dtype="float32")
    backend = LocalBackend(model, renderer, max_new_tokens=NEW_TOKENS, batch_size=count)
    renderer.end_id = -1  # so that every answer has all its tokens
    prompts = [list(renderer.render(prompt).ids) for _, prompt in requests]
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in prompts])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts])
    options = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False, "pad_token_id": 0}
    return {
        "generate, shared context": lambda: list(backend.generate(requests)),
        "generate, library's batch": lambda: plain.generate(input_ids=ids, attention_mask=mask, **options),
    }


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    folder = pull_model("smollm2-135m")
    renderer = Renderer(load_tokenizer(folder))
    jobs = training(folder, renderer, options.examples) | generation(folder, renderer, options.examples)
    best = {name: float("inf") for name in jobs}
    for number in range(options.rounds):
        for name, job in jobs.items():
            best[name] = min(best[name], seconds(job))
            print(f"round {number + 1}: {name}: {best[name]:.2f} s", file=sys.stderr, flush=True)
    rows = [
        {"job": name, "best_s": round(value, 3), "ratio": round(value / best[f"{name.split(',')[0]}, {first}"], 2)}
        for first, kind in (("packed", "train"), ("shared context", "generate"))
        for name, value in best.items()
        if name.startswith(kind)
    ]
    if options.json:
        print(json.dumps(rows))
        return 0
    for row in rows:
        print(f"{row['job']:<36} {row['best_s']:>8.2f} s   {row['ratio']:>5.2f} x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
