"""What a run keeps on the disk while it trains: its checkpoints, and which rows and weights belong to which."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from slm.errors import JobError
from slm.files import JsonLinesWriter, disk_errors, read_records
from slm.recipe import TrainSection
from slm.recipe.schema import WatchSection
from slm.train.checkpoint import (
    Position,
    advice,
    best_checkpoint,
    drop_old,
    load_checkpoint,
    mark_best,
    newest_checkpoint,
    save_checkpoint,
)
from slm.train.processes import can_checkpoint
from slm.train.state import collect, restore, restore_weights
from slm.train.watch import WatchRow, best, stalled


class Journal:
    """The disk's side of a training. Every process has one and calls it alike; the main process writes.

    All processes must see the same folder. `rows` are the measurements so far, `resumed_at` the steps of continuations.
    """

    def __init__(
        self, checkpoints: Path, metrics: Path, watch_file: Path, settings: TrainSection, watch: WatchSection
    ) -> None:
        self.checkpoints, self.metrics, self.watch_file = checkpoints, metrics, watch_file
        self.settings, self.watch = settings, watch
        self.rows: list[WatchRow] = []
        self.resumed_at: list[int] = []

    def resume(self, accelerator: Any, model: Any, optimizer: Any, *, chance: bool) -> Position:
        """Load the newest checkpoint, and forget rows of steps that will be done again; how far the run is.

        `chance`: whether a forward pass draws random numbers. Raises JobError for a checkpoint that does not fit.
        """
        if not can_checkpoint(accelerator) and accelerator.is_main_process:
            print("DeepSpeed: no checkpoints; a killed run starts again (FSDP2 continues)", file=sys.stderr)
        newest = newest_checkpoint(self.checkpoints)
        position = Position(step=0, seconds=0.0)
        if newest:
            position, state = load_checkpoint(newest)
            with _named(newest):
                restore(state, accelerator, model, optimizer, chance=chance)
            self.resumed_at = [*position.resumed_at, position.step]
        accelerator.wait_for_everyone()
        if accelerator.is_main_process:
            _truncate(self.metrics, position.metrics_bytes)
            _truncate(self.watch_file, position.watch_bytes)
        accelerator.wait_for_everyone()
        self.rows = list(read_records(self.watch_file, WatchRow)) if self.watch_file.exists() else []
        if accelerator.is_main_process and newest and self.best_step() == position.step:
            mark_best(self.checkpoints, position.step)  # a kill may have come before that
        return position

    def add(self, row: WatchRow, accelerator: Any) -> None:
        """Keep a measurement."""
        self.rows.append(row)
        if accelerator.is_main_process:
            with JsonLinesWriter(self.watch_file) as writer:
                writer.append(row)

    def best_step(self) -> int | None:
        """The step with the best weights so far by `watch.keep`; None to keep the last, or before any."""
        found = best(self.rows, self.watch.keep) if self.watch.keep != "last" else None
        return found.step if found else None

    def stalled(self) -> bool:
        """Whether measurements have brought nothing better for `watch.patience` times."""
        return stalled(self.rows, self.watch.patience, self.watch.keep)

    def checkpoint(self, accelerator: Any, model: Any, optimizer: Any, done: Position) -> None:
        """Write a checkpoint, then drop those that are too many. `done` has its step, seconds and last loss."""
        if not can_checkpoint(accelerator):
            return
        state = collect(accelerator, model, optimizer)
        if accelerator.is_main_process:
            metrics, watch = (file.stat().st_size if file.exists() else 0 for file in (self.metrics, self.watch_file))
            position = replace(done, metrics_bytes=metrics, watch_bytes=watch, resumed_at=self.resumed_at)
            save_checkpoint(self.checkpoints, position, state)
            if self.best_step() == position.step:
                mark_best(self.checkpoints, position.step)
            drop_old(self.checkpoints, self.settings.keep_checkpoints)
        accelerator.wait_for_everyone()

    def keep_best(self, accelerator: Any, model: Any, *, step: int) -> int:
        """Give `model`, which is after `step`, the weights that `watch.keep` asks for; the step that they are of."""
        kept = self.best_step() or step
        if kept != step:
            folder = best_checkpoint(self.checkpoints)
            if folder is None:
                raise JobError(f"{self.checkpoints}: the best checkpoint, of step {kept}, is not there")
            with _named(folder):
                restore_weights(load_checkpoint(folder)[1].weights, accelerator, model)
        return kept


@contextlib.contextmanager
def _named(checkpoint: Path) -> Iterator[None]:
    """An error of what is inside says which checkpoint it is about."""
    try:
        yield
    except JobError as error:
        more = "" if "try:" in str(error) else f"\n  try: {advice(checkpoint)}"
        raise JobError(f"{checkpoint}: {error}{more}") from None


def _truncate(file: Path, size: int) -> None:
    if file.exists():
        with disk_errors(file), file.open("r+b") as handle:
            handle.truncate(size)
