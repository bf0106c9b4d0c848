"""Checkpoints as folders of safetensors and JSON: written whole or not at all, the newest and the best of them kept."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file

from slm.errors import DiskFullError, JobError
from slm.files import write_text
from slm.models.cache import atomic_folder
from slm.train.state import State

_BEST = "best"
_ROOM = 1 << 16  # bytes beside the tensors: headers, JSON and folders


@dataclass(frozen=True)
class Position:
    """How far a run is.

    `step` optimizer steps are done, which took `seconds` and ended with `last_loss`; `metrics_bytes` of metrics.jsonl
    and `watch_bytes` of watch.jsonl belong to them. `resumed_at` are the steps at which it was continued so far.
    """

    step: int
    seconds: float
    last_loss: float | None = None
    metrics_bytes: int = 0
    watch_bytes: int = 0
    resumed_at: Sequence[int] = ()


def save_checkpoint(folder: Path, position: Position, state: State) -> None:
    """Write `folder/step-000123` completely, or raise DiskFullError, early if possible, with older ones untouched."""
    final = folder / f"step-{position.step:06d}"
    _check_room(final, state)
    with atomic_folder(final) as temporary:
        save_file(state.weights, temporary / "weights.safetensors")
        save_file(state.optimizer, temporary / "optimizer.safetensors")
        save_file(state.random, temporary / "random.safetensors")
        (temporary / "optimizer.json").write_text(json.dumps(state.numbers))
        (temporary / "position.json").write_text(json.dumps(asdict(position)))
        _flush(temporary)


def newest_checkpoint(folder: Path) -> Path | None:
    """The folder of the newest checkpoint; None when there is none."""
    return max(folder.glob("step-*"), default=None)


def load_checkpoint(checkpoint: Path) -> tuple[Position, State]:
    """Read a checkpoint. Raises JobError for one that cannot be read."""
    try:
        position = Position(**json.loads((checkpoint / "position.json").read_text()))
        files = [load_file(checkpoint / f"{name}.safetensors") for name in ("weights", "optimizer", "random")]
        weights, optimizer, random = files
        return position, State(weights, optimizer, json.loads((checkpoint / "optimizer.json").read_text()), random)
    except (OSError, ValueError, TypeError) as error:
        raise JobError(f"{checkpoint}: cannot be read: {error}\n  try: {advice(checkpoint)}") from error


def advice(checkpoint: Path) -> str:
    """What to do about a checkpoint that cannot be used."""
    return f"remove {checkpoint.parent} and train again"


def mark_best(folder: Path, step: int) -> None:
    """Write into `folder/best` the name of the checkpoint of `step`; from now on `drop_old` spares it."""
    write_text(folder / _BEST, f"step-{step:06d}\n")


def best_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that `folder/best` names; None when it names none that is there."""
    try:
        named = folder / (folder / _BEST).read_text().strip()
    except OSError:
        return None
    return named if named.is_dir() and named != folder else None


def drop_old(folder: Path, keep: int) -> None:
    """Remove all but the newest `keep` checkpoints and the best, and what a killed process left half-written."""
    spared = {*sorted(folder.glob("step-*"))[-keep:], best_checkpoint(folder)}
    for path in folder.iterdir():
        if path.is_dir() and path not in spared:
            shutil.rmtree(path)


def _check_room(final: Path, state: State) -> None:
    tensors = [*state.weights.values(), *state.optimizer.values(), *state.random.values()]
    needed = sum(tensor.nbytes for tensor in tensors) + _ROOM
    final.parent.mkdir(parents=True, exist_ok=True)
    free = _free_bytes(final.parent)
    if free < needed:
        raise DiskFullError(
            f"{final}: a checkpoint takes {needed / 1e6:.1f} MB and the disk has {free / 1e6:.1f} MB left; "
            f"the older ones are untouched\n  try: free some space in {final.parent}, then run the same command again: "
            "it continues"
        )


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _flush(folder: Path) -> None:
    for path in [*folder.iterdir(), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
