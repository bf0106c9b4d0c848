"""What `slm bench` reports: the plan and the figures of each load, and of a sweep the highest rate."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from slm.bench.load.figures import Figures
from slm.bench.load.records import Cache, Plan
from slm.errors import DataError, InputError
from slm.records import Record


class Highest(Record):
    """The highest rate tried that kept the objective, where no lower one missed it; None: not even the lowest."""

    cache: Cache
    rate: float | None


class LoadReport(Record):
    """All of it; `file` is the load file that it is made of."""

    file: str
    plan: Plan
    slo: str | None
    loads: tuple[Figures, ...]
    highest: tuple[Highest, ...] = ()


def read_report(path: Path) -> LoadReport:
    """Raises DataError for what is none."""
    try:
        return LoadReport.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        expected, hint = "the .json beside a load file", "slm bench --report FILE.jsonl writes it"
        raise DataError(f"not a report: {told}", where=str(path), expected=expected, hint=hint) from None


def highest_rates(loads: Sequence[Figures]) -> list[Highest]:
    """Of each cache's open loops."""
    found = []
    for cache in dict.fromkeys(load.cache for load in loads):
        tried = sorted((load.rate, load.slo_met) for load in loads if load.cache == cache and load.rate is not None)
        rate = None
        for tried_rate, met in tried:
            if not met:
                break
            rate = tried_rate
        if tried:
            found.append(Highest(cache=cache, rate=rate))
    return found


def best_load(report: LoadReport) -> Figures:
    """The load whose throughput counts: of those that kept the objective the one with the most answers.

    Without an objective there must be one load alone. A rate counts where no lower one missed. Raises InputError.
    """
    highest = {each.cache: each.rate or 0.0 for each in report.highest}
    kept = [load for load in report.loads if load.throughput.answers_per_s and (report.slo is None or load.slo_met)]
    kept = [load for load in kept if load.rate is None or load.rate <= highest.get(load.cache, load.rate)]
    if report.slo is None and len(kept) > 1:
        hint = "slm bench --report FILE --slo ttft_p95=300ms"
        raise InputError("several loads, and no objective says which counts", where=report.file, hint=hint)
    if not kept:
        raise InputError("no load of it kept the objective, or none was answered", where=report.file)
    return max(kept, key=lambda load: load.throughput.answers_per_s or 0.0)
