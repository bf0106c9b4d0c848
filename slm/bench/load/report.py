"""What `slm bench` reports: the plan and the figures of each load, and of a sweep the highest rate."""

from collections.abc import Sequence

from slm.bench.load.figures import Figures
from slm.bench.load.records import Cache, Plan
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
