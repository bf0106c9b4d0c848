"""What the device can do at best and what the process took at most: a measured peak rate, and peak memory."""

import re
import resource
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

_LONGEST_S = 0.5
_REPEATS = 3
_SIZES = {"cpu": (512, 1024, 2048), "cuda": (2048, 4096, 8192)}


@cache
def peak_flops(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of the fastest square matrix product, best of a few sizes; takes about half a second, once.

    Measured, not read off a data sheet: a CPU's depends on clock, cores and vector units that a container does not
    tell, and a GPU's is reached by no product, so shares of it could not be compared between devices. Processes that
    share a device or its cores measure at the same time, and each gets its part.
    """
    best = 0.0
    began = time.perf_counter()
    for size in _SIZES["cuda" if device.type == "cuda" else "cpu"]:
        left = torch.ones(size, size, device=device, dtype=dtype)
        out = torch.empty_like(left)
        for _ in range(_REPEATS + 1):  # the first one also loads the kernel, and is the slowest
            if time.perf_counter() - began > _LONGEST_S and best:
                return best
            best = max(best, 2 * size**3 / _seconds(left, out))
    return best


def _seconds(left: torch.Tensor, out: torch.Tensor) -> float:
    """Of one product, on a GPU of several in a row, whose start then costs nothing."""
    rounds = 8 if left.device.type == "cuda" else 1
    _wait(left.device)
    began = time.perf_counter()
    for _ in range(rounds):
        torch.mm(left, left, out=out)
    _wait(left.device)
    return (time.perf_counter() - began) / rounds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_peak_memory(device: torch.device) -> None:
    """Forget what was taken before; where the system does not let it (outside Linux), the whole process counts."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb(device: torch.device) -> float:
    """The most memory taken at once, in MB (10^6 bytes): of tensors on a GPU, else of the process (resident set)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    with suppress(OSError):
        if found := re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text()):
            return int(found[1]) * 1024 / 1e6
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * (1 if sys.platform == "darwin" else 1024) / 1e6


def resident_bytes() -> int:
    """What the process takes now (resident set); outside Linux, what it took at most."""
    with suppress(OSError):
        if found := re.search(r"VmRSS:\s*(\d+) kB", Path("/proc/self/status").read_text()):
            return int(found[1]) * 1024
    return round(peak_memory_mb(torch.device("cpu")) * 1e6)
