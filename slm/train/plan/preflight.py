"""Before a training: plan it for the device that it is about to run on, and refuse what cannot fit."""

import sys
from collections.abc import Sequence

from slm.errors import RecipeError
from slm.recipe import Recipe
from slm.train.encode import Encoded
from slm.train.plan.hardware import this_device
from slm.train.plan.packs import PlannedData
from slm.train.plan.plan import Plan, make_plan
from slm.train.plan.record import RunPlan


def preflight(
    recipe: Recipe, encoded: Sequence[Encoded] | None, *, processes: int = 1, sharded: bool = False, quiet: bool = False
) -> RunPlan:
    """The plan of a run on this machine, told in a line on stderr; `encoded` are its examples, read where None.

    Raises RecipeError where it would take more memory than there is, with overrides that fit if there are any.
    """
    data = None if encoded is None else PlannedData(tuple(encoded), "the run's own")
    plan = make_plan(recipe, this_device(), data=data, processes=processes, sharded=sharded, cost=False)
    if not plan.fits:
        raise _refusal(plan)
    if not quiet:
        print(f"plan: {describe_fit(plan)}, planned in {plan.planning_s:.1f} s", file=sys.stderr)
    return RunPlan(
        device=plan.device,
        processes=processes,
        sharded=sharded,
        predicted_bytes=plan.total,
        parts=plan.memory.model_dump(),
        planning_s=plan.planning_s,
    )


def describe_fit(plan: Plan) -> str:
    """`2.5 GB of 16.0 GB at the most, 13.5 GB (84 %) to spare`, or by how much it is too much."""
    share = abs(plan.margin) / plan.memory_limit
    rest = f"{gigabytes(abs(plan.margin))} ({share:.0%}) {'to spare' if plan.margin >= 0 else 'too much'}"
    return f"{gigabytes(plan.total)} of {gigabytes(plan.memory_limit)} at the most, {rest}"


def gigabytes(size: int) -> str:
    """`2.5 GB` (10^9 bytes), `340 MB` below one."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB"


def _refusal(plan: Plan) -> RecipeError:
    there = "on each of its processes " if plan.processes > 1 else ""
    if plan.overrides:
        hint = f"{' '.join(plan.overrides)}, which takes {gigabytes(plan.changed_total or 0)}"
    else:
        hint = "a smaller model: smaller packs, recomputing and 4-bit weights would not be enough"
    return RecipeError(
        f"training would take {gigabytes(plan.total)} {there}and there are {gigabytes(plan.memory_limit)}",
        where=f"{plan.recipe} on {plan.device}",
        expected="what fits into memory; --no-plan starts it anyway",
        hint=hint,
    )
