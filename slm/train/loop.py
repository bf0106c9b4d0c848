"""The training loop: a page or two on Accelerate. Packs in, trained weights out; killed at any moment, it continues."""

import contextlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any, Protocol

import torch
from torch.distributed.tensor import DTensor

from slm.errors import NonFiniteLossError
from slm.files import JsonLinesWriter
from slm.models.frozen import compute_dtype
from slm.progress import Meter
from slm.recipe import LoraSection, TrainSection
from slm.recipe.schema import WatchSection
from slm.train.checkpoint import Position
from slm.train.encode import Encoded
from slm.train.journal import Journal
from slm.train.loss import summed_loss
from slm.train.optimizer import build_optimizer, learning_rate
from slm.train.pack import Pack, plan_packs, to_tensors
from slm.train.prepare import set_example_tokens
from slm.train.processes import accumulates_apart, check_setup, prepare
from slm.train.state import collect_weights, has_dropout
from slm.train.stop import StoppedError, StopSignals
from slm.train.watch import WatchRow


class StepMeters(Protocol):
    """What `slm.train.meters.Meters` does for the loop; every process calls it."""

    def waiting(self) -> contextlib.AbstractContextManager[None]:
        """Around making a pack's tensors."""

    def transferring(self) -> contextlib.AbstractContextManager[None]:
        """Around moving them to the device."""

    def finish(self, packs: Sequence[Pack], seconds: float) -> dict[str, float | int | None]:
        """The figures of the step that `packs` were."""


class Watching(Protocol):
    """What `slm.train.watch.Watch` does for the loop; every process calls it."""

    def due(self, step: int) -> bool:
        """Whether to measure after `step` steps."""

    def measure(self, model: Any, step: int) -> WatchRow:
        """Measure, and leave everything as it was."""


@dataclass
class TrainingTotals:
    """What a whole run did; goes on the card. `kept_step` is the one whose weights the run ended with."""

    steps: int = 0
    kept_step: int = 0
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
        of_epoch = plan_packs(
            examples,
            batch_tokens=settings.batch_tokens,
            seed=settings.seed,
            epoch=epoch,
            packing=settings.packing,
        )
        share = min(1.0, settings.epochs - epoch)
        packs.extend(of_epoch[: max(1, round(share * len(of_epoch)))])
    size = settings.packs_per_step
    steps = [packs[start : start + size] for start in range(0, len(packs), size)]
    return steps[: settings.max_steps]


class Loop:
    """One training run of `model`, as `prepare_model` gives it; `config` is the plain base model's."""

    def __init__(
        self,
        model: Any,
        config: Any,
        settings: TrainSection,
        *,
        checkpoints: Path,
        metrics: Path,
        accelerator: Any,
        lora: LoraSection | None = None,
        meters: StepMeters | None = None,
        watch: Watching | None = None,
        watch_settings: WatchSection | None = None,
        watch_file: Path | None = None,
    ) -> None:
        self.settings, self.config, self.accelerator, self.meters = settings, config, accelerator, meters
        self.metrics, self.watch = metrics, watch
        self.journal = Journal(
            checkpoints,
            metrics,
            watch_file or metrics.with_name("watch.jsonl"),
            settings,
            watch_settings or WatchSection(),
        )
        self.dtype = compute_dtype(model)
        self.chance = settings.neftune > 0 or has_dropout(model)
        optimizer = build_optimizer(model, settings, lora or LoraSection())
        self.model, self.optimizer = prepare(accelerator, model, optimizer, settings)
        self.trainable = [parameter for parameter in self.model.parameters() if parameter.requires_grad]

    def run(self, steps: Sequence[Sequence[Pack]]) -> TrainingTotals:
        """Train all steps, continuing from the newest checkpoint; every process calls it.

        Raises NonFiniteLossError with example ids, DiskFullError, and StoppedError after SIGTERM or SIGINT.
        """
        check_setup(self.accelerator, self.settings, steps, keep=self.journal.watch.keep if self.watch else "last")
        position = self.journal.resume(self.accelerator, self.model, self.optimizer, chance=self.chance)
        totals = TrainingTotals(position.step, seconds=position.seconds, processes=self.accelerator.num_processes)
        totals.resumed_at, totals.last_loss = self.journal.resumed_at, position.last_loss
        main = self.accelerator.is_main_process
        if not position.step:
            # The model was made alike in all processes; what each draws from now on should differ.
            torch.manual_seed(self.settings.seed + self.accelerator.process_index)
        self.model.train()
        with (
            StopSignals() as signals,
            JsonLinesWriter(self.metrics) if main else contextlib.nullcontext() as writer,
            Meter("train", len(steps), unit="steps", done=position.step, quiet=not main) as meter,
        ):
            self._measure_if_due(position.step)  # it may have been stopped between a step and its measurement
            began = time.monotonic()
            for number in range(position.step, len(steps)):
                if self.journal.stalled():
                    break
                row, signal = self._step(number, steps[number], len(steps), signals)
                if writer:
                    writer.append(row)
                self.accelerator.log({name: value for name, value in row.items() if value is not None}, step=number + 1)
                meter.advance(note=_note(row))
                totals.steps, totals.last_loss = number + 1, row["loss"]
                totals.seconds = position.seconds + time.monotonic() - began
                if signal and number + 1 < len(steps):
                    self._checkpoint(totals)
                    raise StoppedError(signal, number + 1, len(steps))
                better = self._measure_if_due(number + 1)
                if better or (number + 1) % self.settings.checkpoint_every == 0 or number + 1 == len(steps):
                    self._checkpoint(totals)
        totals.kept_step = self.journal.keep_best(self.accelerator, self.model, step=totals.steps)
        _count(totals, steps[: totals.steps])
        return totals

    def trained_weights(self) -> dict[str, torch.Tensor]:
        """The trained parameters by name, whole and on the CPU, in the main process; elsewhere {}. All must call it."""
        return collect_weights(self.accelerator, self.model)

    def _step(self, number: int, packs: Sequence[Pack], steps: int, signals: StopSignals) -> tuple[dict[str, Any], int]:
        """One optimizer step over all processes: the row for metrics.jsonl, and the signal to stop by (0: none)."""
        began = time.monotonic()
        rate = learning_rate(number, steps, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        targets = sum(pack.target_tokens for pack in packs)
        summed, signal = self._agree(self._backward(packs, targets), signals)
        loss = summed / targets
        _require_finite("loss", loss, number, packs)
        norm = self._clip()
        _require_finite("norm of the gradient", norm, number, packs)
        self.optimizer.step()
        self.optimizer.zero_grad()
        seconds = time.monotonic() - began
        tokens = sum(pack.tokens for pack in packs)
        row = {
            "step": number + 1,
            "steps": steps,
            "examples": sum(1 for pack in packs for _ in pack.examples),
            "loss": loss,
            "grad_norm": norm,
            "learning_rate": rate,
            "target_tokens": targets,
            "tokens": tokens,
            "unshared_tokens": sum(pack.unshared_tokens for pack in packs),
            "seconds": round(seconds, 4),
            "tokens_per_s": round(tokens / seconds, 1),
        }
        return row | (self.meters.finish(packs, seconds) if self.meters else {}), signal

    def _backward(self, packs: Sequence[Pack], targets: int) -> torch.Tensor:
        """Accumulate the gradient of the mean loss per target token of the whole step; this process's summed loss.

        Processes average their gradients, so each scales its share up by their number. One without a pack in the last
        round computes one with weight zero, because every process must take part in the exchange.
        """
        processes, rank = self.accelerator.num_processes, self.accelerator.process_index
        rounds = math.ceil(len(packs) / processes)
        apart = accumulates_apart(self.accelerator)
        total = torch.zeros((), device=self.accelerator.device)
        for round_number in range(rounds):
            index = round_number * processes + rank
            pack, weight = (packs[index], 1.0) if index < len(packs) else (packs[-1], 0.0)
            exchange = round_number == rounds - 1 or not apart
            with contextlib.nullcontext() if exchange else self.accelerator.no_sync(self.model):
                loss = self._loss(pack)
                self.accelerator.backward(loss * (weight * processes / targets))
            total += loss.detach() * weight
        return total

    def _agree(self, loss: torch.Tensor, signals: StopSignals) -> tuple[float, int]:
        """The loss summed over processes, and the signal to stop by: all must stop after the same step."""
        told = [float(signals.received == number) for number in (SIGTERM, SIGINT)]
        shared = torch.stack([loss, *torch.tensor(told, device=loss.device)])
        summed, terminate, interrupt = self.accelerator.reduce(shared, "sum").tolist()
        return summed, int(SIGTERM if terminate else SIGINT if interrupt else 0)

    def _loss(self, pack: Pack) -> torch.Tensor:
        nothing = contextlib.nullcontext()
        with self.meters.waiting() if self.meters else nothing:
            tensors = to_tensors(pack)
        with self.meters.transferring() if self.meters else nothing:
            tensors = tensors.to(self.accelerator.device)
        if self.settings.neftune:
            examples = sum(1 for _ in pack.examples)
            set_example_tokens(self.accelerator.unwrap_model(self.model), pack.unshared_tokens / examples)
        return summed_loss(self.model, self.config, tensors, dtype=self.dtype)

    def _clip(self) -> float:
        norm = self.accelerator.clip_grad_norm_(self.trainable, self.settings.clip_norm)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def _measure_if_due(self, step: int) -> bool:
        """Measure where it is due and not done; whether the weights should be kept: the best so far, or the last."""
        if not self.watch or not self.watch.due(step) or any(row.step == step for row in self.journal.rows):
            return False
        self.journal.add(self.watch.measure(self.model, step), self.accelerator)
        return self.journal.best_step() == step or self.journal.stalled()

    def _checkpoint(self, totals: TrainingTotals) -> None:
        done = Position(totals.steps, totals.seconds, totals.last_loss)
        self.journal.checkpoint(self.accelerator, self.model, self.optimizer, done)


def _require_finite(what: str, value: float, number: int, packs: Sequence[Pack]) -> None:
    if not math.isfinite(value):
        ids = ", ".join(example.example_id for pack in packs for example in pack.examples)
        raise NonFiniteLossError(
            f"step {number + 1}: the {what} is {value}; no checkpoint was changed\n  examples: {ids}\n"
            "  try: a lower train.learning_rate, train.clip_norm, or model.dtype=float32"
        )


def _note(row: dict[str, Any]) -> str:
    mfu = row.get("mfu")
    return f"loss {row['loss']:.3f}, {row['tokens_per_s']:.0f} tokens/s" + (f", MFU {mfu:.1%}" if mfu else "")


def _count(totals: TrainingTotals, steps: Sequence[Sequence[Pack]]) -> None:
    for step in steps:
        for pack in step:
            totals.examples += sum(1 for _ in pack.examples)
            totals.tokens += pack.tokens
            totals.unshared_tokens += pack.unshared_tokens
            totals.target_tokens += pack.target_tokens
