"""A plan: what a recipe will take of a device, whether it fits, and what would make it fit."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slm.models.attention import can_pack
from slm.recipe import Recipe
from slm.records import Record
from slm.train.pack import Pack
from slm.train.plan.advice import suggest
from slm.train.plan.cost import Cost, training_cost
from slm.train.plan.hardware import Device
from slm.train.plan.memory import Memory, ServingMemory, serving_memory, training_memory
from slm.train.plan.model import planned_config, planned_model
from slm.train.plan.packs import PlannedData, planned_data


class Plan(Record):
    """Everything that is known before the first step. Memory is that of one process, in bytes.

    `memory_limit` is what one process may take. `overrides` make a recipe fit that does not; None where it fits, empty
    where nothing was found that would. `changed_total` is what it then takes. `data` says what the packs are made of.
    """

    recipe: str
    model: str
    device: str
    processes: int
    sharded: bool
    data: str
    largest_pack_tokens: int
    memory: Memory
    total: int
    memory_limit: int
    fits: bool
    overrides: tuple[str, ...] | None = None
    changed_total: int | None = None
    serving: ServingMemory | None = None
    serving_fits: bool | None = None
    cost: Cost | None = None
    notes: tuple[str, ...] = ()
    planning_s: float

    @property
    def margin(self) -> int:
        """Bytes that are left, or negative."""
        return self.memory_limit - self.total


@dataclass(frozen=True)
class _Setting:
    """What does not change from one variant of a recipe to the next."""

    config: Any
    data: PlannedData
    device: Device
    processes: int
    sharded: bool

    @property
    def limit(self) -> int:
        """Bytes for one process: those on one CPU share its memory."""
        return self.device.memory_bytes if self.device.on_gpu else self.device.memory_bytes // self.processes

    def memory(self, recipe: Recipe) -> tuple[Memory, Any, Sequence[Sequence[Pack]]]:
        """What training `recipe` takes, its planned model and its steps."""
        model = planned_model(self.config, recipe, on_gpu=self.device.on_gpu)
        steps = self.data.steps(recipe)
        found = training_memory(model, recipe, steps, self.device, processes=self.processes, sharded=self.sharded)
        return found, model, steps


def make_plan(
    recipe: Recipe, device: Device, *, data: PlannedData | None = None, processes: int = 1, sharded: bool = False,
    serve: bool = False, cost: bool = True, mfu: float | None = None, runs: Path = Path("runs"),
) -> Plan:  # fmt: skip
    """Plan `recipe` for `processes` of such devices; `sharded`: as FSDP2, not DDP. `data` is read where it is None.

    `mfu` is a share of the peak to reckon time with, by default that of earlier runs in `runs`. Nothing is kept of a
    plan. Raises ModelError for a model whose dimensions are not here, and what reading the data raises.
    """
    began = time.monotonic()
    config = planned_config(recipe.model.name)
    if not can_pack(config):
        recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"packing": "none"})})
    setting = _Setting(config, data or planned_data(recipe), device, processes, sharded)
    memory, model, steps = setting.memory(recipe)
    fits = memory.total <= setting.limit
    serving = serving_memory(model, recipe, setting.data.longest_prompt, device) if serve else None
    spent = None
    if cost:
        known = not setting.data.stated
        spent = training_cost(
            model, recipe, steps, device, processes=processes, mfu=mfu, runs=runs, known=known
        )  # fmt: skip
    change = None
    if not fits:
        change = suggest(recipe, setting.data.longest, lambda one: setting.memory(one)[0].total <= setting.limit)
    return Plan(
        recipe=recipe.name,
        model=recipe.model.name,
        device=device.name,
        processes=processes,
        sharded=sharded,
        data=setting.data.note,
        largest_pack_tokens=max(pack.padded_tokens for step in steps for pack in step),
        memory=memory,
        total=memory.total,
        memory_limit=setting.limit,
        fits=fits,
        overrides=None if fits else change.overrides if change else (),
        changed_total=setting.memory(change.recipe)[0].total if change else None,
        serving=serving,
        serving_fits=None if serving is None else serving.total <= device.memory_bytes,
        cost=spent,
        notes=tuple(_notes(recipe, device)),
        planning_s=round(time.monotonic() - began, 2),
    )


def _notes(recipe: Recipe, device: Device) -> Iterator[str]:
    """What a plan leaves out."""
    if device.emulates_bf16 and recipe.model.dtype == "bfloat16":
        yield f"{device.name} has no bfloat16 units: it computes slowly, and attention may take more than planned"
    if recipe.train.compile:
        yield "planned as if layers were not compiled"
    if recipe.watch.every is not None:
        yield "answering held-out questions is not planned"
