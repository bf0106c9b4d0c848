"""Whose first gradient is nearer to exact arithmetic, ours or the library's: both in float32, against float64.

python benchmarks/exact.py [--model gemma3-270m] [--batch-tokens 1536] [--data spider:train] [--json]

The examples are those of the first pack that `benchmarks/train.py` trains on, and so are the adapter's first values.
Ours: contexts shared, frozen weights as they are stored. The library's: one example at a time, its own masks and loss,
in float32 and in float64. Printed are the losses, and distances: the norm of the difference over that of the second.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from training.job import Job, load_start, make_job
from training.ours import add_gradients, prepared, save_start
from training.report import distance

from slm.models.lora import add_lora
from slm.train.pack import plan_packs


def ours(model: Any, job: Job) -> float:
    """The mean loss of the step; leaves its gradient in the model."""
    model.train()
    tokens = job.recipe.train.batch_tokens
    packs = plan_packs(job.steps[0], batch_tokens=tokens, seed=0, epoch=0, packing="shared")
    return float(add_gradients(model, packs, torch.device("cpu")))


def library(model: Any, job: Job) -> float:
    """The same, one example at a time."""
    targets, total = target_tokens(job), 0.0
    for example in job.steps[0]:
        prompt = example.context_ids + example.question_ids
        row = torch.tensor([prompt + example.target_ids])
        logits = model(input_ids=row).logits[0, len(prompt) - 1 : -1]
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(example.target_ids), reduction="sum") / targets
        loss.backward()  # type: ignore[no-untyped-call]
        total += float(loss)
    return total


def target_tokens(job: Job) -> int:
    """Those of the first step."""
    return sum(len(example.target_ids) for example in job.steps[0])


def plain(job: Job, dtype: torch.dtype) -> Any:
    """The model as transformers and PEFT have it."""
    import transformers

    auto: Any = transformers.AutoModelForCausalLM
    base = auto.from_pretrained(str(job.model), dtype=torch.float32, local_files_only=True)
    return add_lora(base, job.recipe.lora).to(dtype)


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="gemma3-270m")
    parser.add_argument("--data", default="spider:train")
    parser.add_argument("--batch-tokens", type=int, default=1536)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    overrides = ["train.recompute=true", f"train.batch_tokens={chosen.batch_tokens}"]
    job = make_job(chosen.model, overrides, data=chosen.data, device="cpu", steps=1, examples_per_step=None)
    targets = target_tokens(job)
    kinds: dict[str, tuple[Callable[[], Any], Callable[[Any, Job], float]]] = {
        "ours": (lambda: prepared(job.recipe, job), ours),
        "library": (lambda: plain(job, torch.float32), library),
        "exact": (lambda: plain(job, torch.float64), library),
    }
    losses: dict[str, float] = {}
    gradients: dict[str, dict[str, Tensor]] = {}
    with tempfile.TemporaryDirectory() as folder:
        save_start(job, Path(folder))
        for name, (make, compute) in kinds.items():
            print(f"{name} …", file=sys.stderr, flush=True)
            model = make()
            load_start(model, Path(folder))
            losses[name] = compute(model, job)
            found = {key: value.grad for key, value in model.named_parameters() if value.grad is not None}
            gradients[name] = {key: value.detach().double() for key, value in found.items()}
            del model
    pairs = [("ours", "exact"), ("library", "exact"), ("ours", "library")]
    apart = {f"{one} from {other}": distance(gradients[one], gradients[other]) for one, other in pairs}
    row = {"model": chosen.model, "examples": len(job.steps[0]), "target_tokens": targets, "losses": losses, **apart}
    if chosen.json or not sys.stdout.isatty():
        print(json.dumps(row))
        return
    print(f"{row['examples']} examples of {chosen.data}, {targets} target tokens, {chosen.model}")
    for name, value in losses.items():
        print(f"loss, {name}: {value:.9f}")
    for name, value in apart.items():
        print(f"gradient, {name}: {value:.1e}")


if __name__ == "__main__":
    main()
