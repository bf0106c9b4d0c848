"""The training loop: one page on Accelerate. Packs in, LoRA adapter out; killed at any moment, it continues."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from slm.errors import NonFiniteLossError
from slm.files import JsonLinesWriter, disk_errors
from slm.progress import Meter
from slm.recipe import TrainSection
from slm.train.checkpoint import Position, load_checkpoint, save_checkpoint
from slm.train.encode import Encoded
from slm.train.loss import summed_loss
from slm.train.pack import Pack, plan_packs


@dataclass
class TrainingTotals:
    """What a whole run did; goes on the card."""

    steps: int = 0
    seconds: float = 0.0
    examples: int = 0
    tokens: int = 0
    unshared_tokens: int = 0
    target_tokens: int = 0
    processes: int = 1
    last_loss: float | None = None
    resumed_at: list[int] = field(default_factory=list)


def plan_steps(examples: Sequence[Encoded], settings: TrainSection) -> list[list[Pack]]:
    """All optimizer steps of a run, each a list of packs; the same for any number of processes."""
    packs: list[Pack] = []
    for epoch in range(math.ceil(settings.epochs)):
        of_epoch = plan_packs(examples, batch_tokens=settings.batch_tokens, seed=settings.seed, epoch=epoch)
        share = min(1.0, settings.epochs - epoch)
        packs.extend(of_epoch[: max(1, round(share * len(of_epoch)))])
    size = settings.packs_per_step
    steps = [packs[start : start + size] for start in range(0, len(packs), size)]
    return steps[: settings.max_steps]


def learning_rate(step: int, steps: int, settings: TrainSection) -> float:
    """Linear warm-up, then cosine to zero. `step` counts from 0."""
    warm = max(1, round(settings.warmup * steps))
    if step < warm:
        return settings.learning_rate * (step + 1) / warm
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


class Loop:
    """One training run: `model` is a PEFT model, `config` its base's; `folder` holds checkpoints and metrics."""

    def __init__(
        self,
        model: Any,
        config: Any,
        settings: TrainSection,
        *,
        checkpoints: Path,
        metrics: Path,
        accelerator: Accelerator,
    ) -> None:
        self.settings, self.config, self.accelerator = settings, config, accelerator
        self.checkpoints, self.metrics = checkpoints, metrics
        trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trainable, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.trainable = trainable
        self.dtype = next(parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())

    def run(self, steps: Sequence[Sequence[Pack]]) -> TrainingTotals:
        """Train all steps, continuing from the newest checkpoint. Raises NonFiniteLossError with example ids."""
        position = load_checkpoint(self.checkpoints, self.accelerator.unwrap_model(self.model), self.optimizer)
        start = position.step if position else 0
        self._truncate_metrics(position.metrics_bytes if position else 0)
        before = position.seconds if position else 0.0
        totals = TrainingTotals(steps=len(steps), processes=self.accelerator.num_processes)
        totals.resumed_at = [start] if start else []
        main = self.accelerator.is_main_process
        began = time.monotonic()
        self.model.train()
        with (
            self._metrics_writer() as write,
            Meter("train", len(steps), unit="steps", done=start, quiet=not main) as meter,
        ):
            for number in range(start, len(steps)):
                row = self._step(number, steps[number], len(steps))
                write(row)
                totals.last_loss = row["loss"]
                meter.advance(note=f"loss {row['loss']:.3f}, {row['tokens_per_s']:.0f} tokens/s")
                totals.seconds = before + time.monotonic() - began
                if (number + 1) % self.settings.checkpoint_every == 0 or number + 1 == len(steps):
                    self._checkpoint(number + 1, totals.seconds)
        for step in steps:
            for pack in step:
                totals.examples += sum(1 for _ in pack.examples)
                totals.tokens += pack.tokens
                totals.unshared_tokens += pack.unshared_tokens
                totals.target_tokens += pack.target_tokens
        return totals

    def _step(self, number: int, packs: Sequence[Pack], steps: int) -> dict[str, Any]:
        """One optimizer step over all processes; the row for metrics.jsonl."""
        began = time.monotonic()
        rate = learning_rate(number, steps, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        targets = sum(pack.target_tokens for pack in packs)
        loss = self._backward(packs, targets)
        if not math.isfinite(loss):
            ids = ", ".join(example.example_id for pack in packs for example in pack.examples)
            raise NonFiniteLossError(
                f"step {number + 1}: the loss is {loss}; nothing was updated\n  examples: {ids}\n"
                "  try: a lower train.learning_rate, train.clip_norm, or model.dtype=float32"
            )
        norm = self.accelerator.clip_grad_norm_(self.trainable, self.settings.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        seconds = time.monotonic() - began
        tokens = sum(pack.tokens for pack in packs)
        return {
            "step": number + 1,
            "loss": loss,
            "grad_norm": float(norm),
            "learning_rate": rate,
            "target_tokens": targets,
            "tokens": tokens,
            "unshared_tokens": sum(pack.unshared_tokens for pack in packs),
            "seconds": round(seconds, 4),
            "tokens_per_s": round(tokens / seconds, 1),
        }

    def _backward(self, packs: Sequence[Pack], targets: int) -> float:
        """Accumulate the gradient of the mean loss per target token of the whole step; returns that loss.

        DDP averages over processes, so each scales its share up by their number. A process without a pack in the last
        round computes one with weight zero, because every process must take part in the gradient exchange.
        """
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        rounds = math.ceil(len(packs) / processes)
        total = torch.zeros((), device=self.accelerator.device)
        for round_number in range(rounds):
            index = round_number * processes + rank
            pack, weight = (packs[index], 1.0) if index < len(packs) else (packs[-1], 0.0)
            last = round_number == rounds - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
                loss = summed_loss(self.model, self.config, pack, device=self.accelerator.device, dtype=self.dtype)
                self.accelerator.backward(loss * (weight * processes / targets))
            total += loss.detach() * weight
        return float(self.accelerator.reduce(total, "sum")) / targets

    def _checkpoint(self, step: int, seconds: float) -> None:
        if self.accelerator.is_main_process:
            position = Position(step, self.metrics.stat().st_size, seconds)
            save_checkpoint(self.checkpoints, position, self.accelerator.unwrap_model(self.model), self.optimizer)
        self.accelerator.wait_for_everyone()

    def _truncate_metrics(self, size: int) -> None:
        """Forget rows of steps that will be done again."""
        if self.accelerator.is_main_process and self.metrics.exists():
            with disk_errors(self.metrics), self.metrics.open("r+b") as handle:
                handle.truncate(size)

    @contextlib.contextmanager
    def _metrics_writer(self) -> Iterator[Callable[[dict[str, Any]], None]]:
        if not self.accelerator.is_main_process:
            yield lambda _: None
            return
        with JsonLinesWriter(self.metrics) as writer:
            yield writer.append
