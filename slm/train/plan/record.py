"""`plan.json` of a run: what was predicted before its first step, to be held against what it took. Needs no torch."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from slm.errors import DataError
from slm.files import write_json
from slm.recipe import RunFolder
from slm.records import Record
from slm.train.summary import read_json, summarise


class RunPlan(Record):
    """What a run was predicted to take of `device`: bytes of one process at most, and those of each part."""

    device: str
    processes: int
    sharded: bool
    predicted_bytes: int
    parts: dict[str, int]
    planning_s: float


def write_plan(run: RunFolder, plan: RunPlan) -> None:
    """Keep a prediction in the run's folder."""
    write_json(run.plan, plan)


def read_plan(run: RunFolder) -> RunPlan | None:
    """The prediction of a run; None where none was made. Raises DataError for a damaged one."""
    if not run.plan.is_file():
        return None
    try:
        return RunPlan.model_validate(read_json(run.plan))
    except ValidationError as error:
        raise DataError(f"not a plan: {error.errors()[0]['msg']}", where=str(run.plan)) from None


def history(runs: Sequence[RunFolder]) -> list[dict[str, Any]]:
    """A row for each run that has a prediction and has taken a step; memory in MB (10^6 bytes).

    `error` is (predicted - measured) / measured.
    """
    rows = []
    for run in runs:
        plan, summary = read_plan(run), summarise(run)
        measured = summary.peak_memory_mb
        if plan is None or measured is None:
            continue
        predicted = plan.predicted_bytes / 1e6
        rows.append(
            {
                "run": run.path.name,
                "model": summary.model,
                "device": plan.device,
                "predicted_mb": round(predicted, 1),
                "measured_mb": measured,
                "error": round((predicted - measured) / measured, 4),
            }
        )
    return rows
