"""Figures of every optimizer step: throughput, use of the device, time lost on waiting and copying, peak memory."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from slm.train.flops import FlopCount, Flops
from slm.train.pack import Pack
from slm.train.peak import peak_flops, peak_memory_mb, reset_peak_memory


class Meters:
    """Made once before the first step, in every process, of the unwrapped model that is trained.

    `dtype` is that of the arithmetic; `processes` share the work. Peak memory counts from here on.
    """

    def __init__(self, model: Any, *, device: torch.device, dtype: torch.dtype, processes: int) -> None:
        self._device = device
        self._count = FlopCount(model)
        self._peak = peak_flops(device, dtype) * processes
        self._waited = self._copied = 0.0
        self._copies: list[tuple[Any, Any]] = []
        reset_peak_memory(device)

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Around making the next pack's tensors: the device has nothing to do meanwhile."""
        began = time.perf_counter()
        yield
        self._waited += time.perf_counter() - began

    @contextmanager
    def transferring(self) -> Iterator[None]:
        """Around copying them to the device. On a GPU it is timed there: the host runs ahead of it, or waits for it."""
        if self._device.type == "cuda":
            event: Any = torch.cuda.Event
            start, end = event(enable_timing=True), event(enable_timing=True)
            start.record()
            yield
            end.record()
            self._copies.append((start, end))
            return
        began = time.perf_counter()
        yield
        self._copied += time.perf_counter() - began

    def finish(self, packs: Sequence[Pack], seconds: float) -> dict[str, float | int | None]:
        """The figures of a step of `seconds` whose `packs` all processes shared; every process must call it.

        `target_tokens_per_s` and `padded_tokens_per_s` (computed tokens, with padding), over all processes.
        `mfu`: operations that the model needs over the measured peak of all devices; `hfu` counts activations that are
        computed again, too. `data_wait` and `transfer` (shares of the step's time, 0 to 1) and `peak_memory_mb` are
        each those of the process with the most.
        """
        for start, end in self._copies:
            end.synchronize()
            self._copied += start.elapsed_time(end) / 1000
        waited, copied, memory = _most([self._waited, self._copied, peak_memory_mb(self._device)], self._device)
        self._waited = self._copied = 0.0
        self._copies.clear()
        flops = sum((self._count.of(pack) for pack in packs), Flops())
        needed = flops.forward + flops.backward
        return {
            "target_tokens_per_s": round(sum(pack.target_tokens for pack in packs) / seconds, 1),
            "padded_tokens_per_s": round(sum(pack.padded_tokens for pack in packs) / seconds, 1),
            "mfu": round(needed / seconds / self._peak, 4),
            "hfu": round((needed + flops.recompute) / seconds / self._peak, 4),
            "data_wait": round(min(1.0, waited / seconds), 4),
            "transfer": round(min(1.0, copied / seconds), 4),
            "peak_memory_mb": round(memory, 1),
        }


def _most(values: Sequence[float], device: torch.device) -> list[float]:
    """Each value's maximum over all processes."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return list(values)
    shared = torch.tensor(values, dtype=torch.float32, device=device)
    torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
    most: list[float] = shared.tolist()
    return most
