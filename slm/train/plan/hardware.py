"""Devices that a run can be planned for: this machine, a GPU of `configs/hardware.yaml`, or just so many gigabytes."""

import os
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from slm import provenance
from slm.errors import InputError, RecipeError
from slm.paths import shipped
from slm.records import Record
from slm.sizes import parse_size

_GIB = 2**30
# `1e12` without a dot is text in YAML 1.1.
Positive = Annotated[float, BeforeValidator(lambda raw: float(raw) if isinstance(raw, str) else raw), Field(gt=0)]


class Gpu(Record):
    """A row of the sheet. Memory in GiB as PyTorch counts it, `bf16_flops` a second, `bandwidth` in bytes a second."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    title: str
    memory_gib: Positive
    memory_source: str
    bf16_flops: Positive | None
    bandwidth: Positive
    data_sheet: str
    usd_per_hour: Positive | None
    price_source: str | None
    price_date: date | None

    @model_validator(mode="after")
    def _price_is_dated(self) -> "Gpu":
        if self.usd_per_hour is not None and (self.price_source is None or self.price_date is None):
            raise ValueError(f"{self.name}: a price needs its price_source and price_date")
        return self


class Sheet(Record):
    """The whole file. `context_gib`: what a process takes of any GPU before its first tensor."""

    context_gib: Positive
    gpus: tuple[Gpu, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Device:
    """What a plan is made for.

    `memory_bytes` is what one process may take at most, `context_bytes` what it takes of that without any tensor; for a
    CPU, where `on_gpu` is False, that is measured instead. `bf16_flops` is a second's at best, None where unknown, and
    `emulates_bf16` says that there is no hardware for it. `here`: the machine that this runs on.
    """

    name: str
    memory_bytes: int
    on_gpu: bool
    here: bool = False
    context_bytes: int = 0
    bf16_flops: float | None = None
    usd_per_hour: float | None = None
    price_note: str | None = None
    price_date: date | None = None
    emulates_bf16: bool = False


def find_device(name: str | None) -> Device:
    """The device called `name`, such as `l4` or `16GB` (of GPU memory); None: the one that training here would take.

    Raises InputError with the nearest names.
    """
    if name is None:
        return this_device()
    sheet = read_sheet()
    for gpu in sheet.gpus:
        if gpu.name == name.lower():
            return _of_sheet(gpu, sheet)
    if size := parse_size(name):
        return Device(name, size, on_gpu=True, context_bytes=round(sheet.context_gib * _GIB))
    names = [gpu.name for gpu in sheet.gpus]
    near = get_close_matches(name.lower(), names, n=3, cutoff=0.4)
    raise InputError(
        "no such GPU" + (f"; did you mean {' or '.join(near)}?" if near else ""),
        where=f"--gpu {name}",
        expected=f"one of {', '.join(names)}, or a size such as 16GB",
    )


def this_device() -> Device:
    """What `slm train` would use on this machine: the first GPU, or the CPU with all memory that the system lets it."""
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        context = round(read_sheet().context_gib * _GIB)
        return Device(properties.name, properties.total_memory, on_gpu=True, here=True, context_bytes=context)
    return Device(str(provenance.machine()["cpu"] or "cpu"), _memory_of_machine(), on_gpu=False, here=True)


@cache
def read_sheet(file: Path | None = None) -> Sheet:
    """`configs/hardware.yaml`, or another such file. Raises RecipeError, naming every mistake."""
    file = file or shipped("configs", "hardware.yaml")
    try:
        sheet = Sheet.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise RecipeError(f"the sheet of GPUs cannot be read: {error}", where=str(file)) from None
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
        raise RecipeError(
            "not a valid sheet of GPUs\n  " + "\n  ".join(lines),
            where=str(file),
            expected="entries as the file's head says",
        ) from None
    names = [gpu.name for gpu in sheet.gpus]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise RecipeError(f"named more than once: {', '.join(doubled)}", where=str(file))
    return sheet


def _of_sheet(gpu: Gpu, sheet: Sheet) -> Device:
    return Device(
        gpu.title,
        round(gpu.memory_gib * _GIB),
        on_gpu=True,
        context_bytes=round(sheet.context_gib * _GIB),
        bf16_flops=gpu.bf16_flops,
        usd_per_hour=gpu.usd_per_hour,
        price_note=gpu.price_source and f"{gpu.price_source}, {gpu.price_date}",
        price_date=gpu.price_date,
        emulates_bf16=gpu.bf16_flops is None,
    )


def _memory_of_machine() -> int:
    """Bytes of memory, or of the container's limit where that is less."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limits.append(int(Path(file).read_text()))
        except (OSError, ValueError):  # none, or `max`
            continue
    return min(limits)
