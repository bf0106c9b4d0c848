"""How long a training takes and what that costs, from its operations and a share of the device's peak that was reached.

Seconds are the operations that the model needs (`slm.train.flops`) over share · peak operations a second · processes.
The share (model FLOPs utilisation, MFU) is stated by the caller or taken from earlier runs; none is assumed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from slm.recipe import Recipe
from slm.records import Record
from slm.train.flops import FlopCount, Flops
from slm.train.pack import Pack
from slm.train.peak import peak_flops
from slm.train.plan.hardware import Device
from slm.train.plan.record import read_plan
from slm.train.runs import all_runs
from slm.train.summary import summarise


class Cost(Record):
    """Of the training alone, without loading, answering or measuring; None where it is not known.

    `flops` are operations of all steps, `peak_flops` a second's of one device, `mfu` the share of it (0 to 1). Where
    only the peak is known, `at_least_s` is how long a device takes that always reaches it.
    """

    steps: int
    flops: int | None
    peak_flops: float | None
    peak_from: str | None
    mfu: float | None
    mfu_from: str | None
    seconds: float | None
    at_least_s: float | None
    usd: float | None
    price_from: str | None


@dataclass(frozen=True)
class _Share:
    value: float
    source: str


def training_cost(
    model: Any, recipe: Recipe, steps: Sequence[Sequence[Pack]], device: Device, *,
    processes: int, mfu: float | None, runs: Path, known: bool,
) -> Cost:  # fmt: skip
    """`model` is of `planned_model`; `mfu` what the caller states; `known`: whether `steps` are those of real data."""
    flops = None
    if known:
        count = FlopCount(model)
        total = sum((count.of(pack) for step in steps for pack in step), Flops())
        flops = total.forward + total.backward
    peak, peak_from = _peak(device, recipe)
    share = _Share(mfu, "stated") if mfu is not None else _of_runs(runs, recipe, device)
    fastest = flops / (peak * processes) if flops and peak else None
    seconds = fastest / share.value if fastest and share else None
    price = device.usd_per_hour
    return Cost(
        steps=len(steps),
        flops=flops,
        peak_flops=peak,
        peak_from=peak_from,
        mfu=share.value if share else None,
        mfu_from=share.source if share else None,
        seconds=seconds,
        at_least_s=fastest if seconds is None else None,
        usd=None if seconds is None or price is None else seconds / 3600 * price * processes,
        price_from=device.price_note,
    )


def _peak(device: Device, recipe: Recipe) -> tuple[float | None, str | None]:
    """Operations a second at best in the recipe's number format, and where the figure is from."""
    if device.here:
        here = torch.device("cuda" if device.on_gpu else "cpu")
        return peak_flops(here, getattr(torch, recipe.model.dtype)), "a matrix product measured here"
    if recipe.model.dtype == "bfloat16" and device.bf16_flops is not None:
        return device.bf16_flops, "the data sheet"
    return None, None


def _of_runs(runs: Path, recipe: Recipe, device: Device) -> _Share | None:
    """The median share of earlier runs here on the same device, of the same model if there are any."""
    if not device.here or not runs.is_dir():
        return None
    same: list[float] = []
    others: list[float] = []
    for run in all_runs(runs):
        plan = read_plan(run)
        summary = summarise(run)
        if plan is not None and plan.device == device.name and summary.mfu is not None:
            (same if summary.model == recipe.model.name else others).append(summary.mfu)
    for shares, of in ((same, f"of {recipe.model.name}"), (others, "of other models")):
        if shares:
            return _Share(median(shares), f"median of {len(shares)} earlier runs {of} in {runs}")
    return None
