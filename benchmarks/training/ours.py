"""Trains a job with slm's own engine: contexts shared, or every example with its own context in padded batches."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from slm.models.allocator import keep_freed_memory
from slm.models.frozen import compute_dtype
from slm.recipe import Recipe
from slm.train.loss import summed_loss
from slm.train.optimizer import build_optimizer, learning_rate
from slm.train.pack import Pack, plan_packs, to_tensors
from slm.train.prepare import prepare_model
from training.job import Job, load_start
from training.record import Recorder


def save_start(job: Job, folder: Path) -> None:
    """Draw the adapter's first values by the recipe's seed; every system starts from them."""
    model = prepared(job.recipe, job)
    start = {name: value.detach().cpu() for name, value in model.named_parameters() if value.requires_grad}
    save_file(start, folder / "start.safetensors")


def train(job: Job, folder: Path, recorder: Recorder, packing: Literal["shared", "none"]) -> None:
    """Every step of the job, as `slm train` does it, without checkpoints and files."""
    settings, device = job.recipe.train.model_copy(update={"packing": packing}), torch.device(job.device)
    model = prepared(job.recipe.model_copy(update={"train": settings}), job)
    load_start(model, folder)
    model.train()
    optimizer = build_optimizer(model, settings, job.recipe.lora)
    trainable = [value for value in model.parameters() if value.requires_grad]
    recorder.begin()
    for number, examples in enumerate(job.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(number, len(job.steps), settings) * group["lr_scale"]
        packs = plan_packs(examples, batch_tokens=settings.batch_tokens, seed=0, epoch=0, packing=packing)
        total = add_gradients(model, packs, device)
        recorder.gradient(model)
        torch.nn.utils.clip_grad_norm_(trainable, settings.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        recorder.end_step(examples, float(total), sum(pack.padded_tokens for pack in packs))


def add_gradients(model: Any, packs: Sequence[Pack], device: torch.device) -> Tensor:
    """Those of one optimizer step; returns the mean loss of its target tokens."""
    targets = sum(pack.target_tokens for pack in packs)
    config, total = model.get_base_model().config, torch.zeros((), device=device)
    for pack in packs:
        loss = summed_loss(model, config, to_tensors(pack).to(device), dtype=compute_dtype(model)) / targets
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total


def prepared(recipe: Recipe, job: Job) -> Any:
    """The model with its adapter, as `slm train` has it."""
    device = torch.device(job.device)
    keep_freed_memory()
    torch.manual_seed(recipe.train.seed)
    return prepare_model(job.model, recipe, device=device).to(device)
