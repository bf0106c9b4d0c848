"""What a worker process writes down while a system trains: a line for each step, its memory, its first gradient."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from slm.files import JsonLinesWriter, write_json
from slm.train.encode import Encoded
from slm.train.peak import peak_memory_mb


class Recorder:
    """Writes `SYSTEM.jsonl`, `SYSTEM.json` and `SYSTEM.safetensors` (the gradient of step 1) to `folder`."""

    def __init__(self, folder: Path, system: str, device: str) -> None:
        self.folder, self.system, self.device = folder, system, torch.device(device)
        self.rows: list[dict[str, Any]] = []
        self.loaded_mb: float | None = None
        self.ended = 0.0

    def begin(self) -> None:
        """Model and data are there; the first step starts now."""
        self.loaded_mb = self._peak_mb()
        self.ended = time.perf_counter()

    def gradient(self, model: Any) -> None:
        """Keep the gradient, as it is before clipping; of step 1 only."""
        if self.rows:
            return
        found = {name: value.grad for name, value in model.named_parameters() if value.grad is not None}
        tensors = {name: grad.detach().float().cpu().contiguous() for name, grad in found.items()}
        save_file(tensors, self.folder / f"{self.system}.safetensors")

    def end_step(self, examples: Sequence[Encoded], loss: float, computed_tokens: int) -> None:
        """One optimizer step is done: `loss` is the mean over its target tokens, `computed_tokens` counts padding.

        The seconds are those since the step before ended, so that nothing between two steps is left out.
        """
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        now = time.perf_counter()
        row = {
            "step": len(self.rows) + 1,
            "loss": loss,
            "seconds": round(now - self.ended, 4),
            "examples": len(examples),
            "target_tokens": sum(len(example.target_ids) for example in examples),
            "tokens": sum(example.tokens for example in examples),
            "computed_tokens": computed_tokens,
        }
        self.rows.append(row)
        self.ended = now

    def _peak_mb(self) -> float:
        """The most memory since the process began, in MB: of tensors on a GPU, else of the whole process."""
        return round(peak_memory_mb(self.device), 1)

    def finish(self) -> None:
        """Write everything."""
        with JsonLinesWriter(self.folder / f"{self.system}.jsonl") as writer:
            for row in self.rows:
                writer.append(row)
        summary = {"loaded_mb": self.loaded_mb, "peak_mb": self._peak_mb()}
        write_json(self.folder / f"{self.system}.json", summary | {"threads": torch.get_num_threads()})


def read_rows(folder: Path, system: str) -> list[dict[str, Any]]:
    """The lines of a system, one a step."""
    return [json.loads(line) for line in (folder / f"{system}.jsonl").read_text().splitlines()]
