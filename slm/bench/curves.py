"""What the pictures of a page show beside accuracy and cost: latencies, rates, costs by volume, and cascades."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from slm.bench.cascade import Cascade
from slm.bench.cost import Hosting, own_usd_per_day
from slm.bench.load.figures import Quantiles
from slm.bench.load.report import LoadReport, best_load
from slm.bench.report import SHOWN, System
from slm.records import Record

Kind = Literal["latency", "rate", "volume", "cascade"]
PERCENTILES = (50, 90, 95, 99)
_VOLUMES = np.geomspace(10, 1_000_000, 201)  # answers a day


class Curve(Record):
    """A line of a picture.

    `latency`: seconds until the answer was whole, by percentile. `rate`: answers a second, by the requests sent in one.
    `volume`: USD a day, by the answers a day that are needed. `cascade`: percent of the answers that are right, by the
    percent of the questions that the small model sends on.
    """

    kind: Kind
    system: str
    hosted: bool
    x: tuple[float, ...]
    y: tuple[float, ...]


def load_curves(system: System, report: LoadReport) -> list[Curve]:
    """Of a system's benchmark: the latencies of the load that counts, and the throughput at each rate tried."""
    curves = []
    total = best_load(report).latency.total_s
    if total is not None:
        curves.append(_curve("latency", system, PERCENTILES, _at_percentiles(total)))
    rates = {load.rate: load.throughput.answers_per_s for load in report.loads if load.rate is not None}
    known = sorted((rate, answers) for rate, answers in rates.items() if answers is not None)
    if len(known) > 1:
        curves.append(_curve("rate", system, *zip(*known, strict=True)))
    return curves


def volume_curves(own: Sequence[tuple[System, Hosting | None]], hosted: Sequence[System]) -> list[Curve]:
    """Costs a day by volume, of all whose cost is known; none without both an own and a hosted one."""
    mine = []
    for system, hosting in own:
        spans = [own_usd_per_day(hosting, volume) for volume in _VOLUMES] if hosting else []
        usd = [span.value for span in spans if span is not None and span.value is not None]
        if usd and len(usd) == len(_VOLUMES):
            mine.append(_curve("volume", system, _VOLUMES, usd))
    costs = [(system, system.usd_per_1000_answers) for system in hosted]
    theirs = [
        _curve("volume", system, _VOLUMES, _VOLUMES * cost.value / SHOWN)
        for system, cost in costs
        if cost is not None and cost.value
    ]
    return [*mine, *theirs] if mine and theirs else []


def cascade_curve(cascade: Cascade, name: str) -> Curve:
    """Of a sweep of `slm cascade`."""
    sent = tuple(100 * point.sent for point in cascade.points)
    right = tuple(100 * (point.accuracy.value or 0.0) for point in cascade.points)
    return Curve(kind="cascade", system=name, hosted=False, x=sent, y=right)


def _at_percentiles(values: Quantiles) -> list[float]:
    return [getattr(values, f"p{percentile}") for percentile in PERCENTILES]


def _curve(kind: Kind, system: System, x: Sequence[float] | np.ndarray, y: Sequence[float] | np.ndarray) -> Curve:
    xs, ys = (tuple(float(f"{value:.6g}") for value in values) for values in (x, y))
    return Curve(kind=kind, system=system.system, hosted=system.hosted, x=xs, y=ys)
