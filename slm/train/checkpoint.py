"""Checkpoints: adapter, optimizer, random state and position, in safetensors and JSON; written whole or not at all."""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file, save_file
from torch import Tensor

from slm.errors import JobError
from slm.models.cache import atomic_folder


@dataclass(frozen=True)
class Position:
    """How far a run is: `step` optimizer steps are done; `metrics_bytes` of metrics.jsonl belong to them."""

    step: int
    metrics_bytes: int
    seconds: float


def save_checkpoint(folder: Path, position: Position, model: Any, optimizer: Any) -> None:
    """Write `folder/step-000123` completely, then drop everything older. `model` is the unwrapped PEFT model."""
    final = folder / f"step-{position.step:06d}"
    with atomic_folder(final) as temporary:
        # With embedding layers PEFT would ask a hub for the base model's configuration.
        adapter = get_peft_model_state_dict(model, save_embedding_layers=False)
        save_file(_contiguous(adapter), temporary / "adapter.safetensors")
        save_file(_optimizer_tensors(optimizer), temporary / "optimizer.safetensors")
        (temporary / "position.json").write_text(json.dumps(asdict(position)))
        _flush(temporary)
    for older in folder.iterdir():  # also what a kill left half-written
        if older != final:
            shutil.rmtree(older)


def load_checkpoint(folder: Path, model: Any, optimizer: Any) -> Position | None:
    """Restore the newest checkpoint into `model` and `optimizer`; None when there is none.

    Raises JobError for a checkpoint that does not fit the model.
    """
    newest = max(folder.glob("step-*"), default=None)
    if newest is None:
        return None
    adapter = load_file(newest / "adapter.safetensors")
    loaded: Any = set_peft_model_state_dict(model, adapter)
    if loaded.unexpected_keys:
        raise JobError(f"{newest}: the checkpoint does not fit this model\n  try: remove {folder} and train again")
    _restore_optimizer(optimizer, load_file(newest / "optimizer.safetensors"))
    return Position(**json.loads((newest / "position.json").read_text()))


def _optimizer_tensors(optimizer: Any) -> dict[str, Tensor]:
    """`<parameter number>.<state name>` for every state tensor, and the CPU's random state."""
    tensors = {
        f"{number}.{name}": value
        for number, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }
    return _contiguous({**tensors, "random": torch.get_rng_state()})


def _restore_optimizer(optimizer: Any, tensors: dict[str, Tensor]) -> None:
    torch.set_rng_state(tensors.pop("random"))
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _flush(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
