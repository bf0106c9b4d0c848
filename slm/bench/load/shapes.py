"""When requests are sent: a number at a time (closed loop), or at given times (open loop, replay)."""

import random
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path

from slm.bench.load.loadfile import read_load
from slm.errors import DataError, InputError


@dataclass(frozen=True)
class Shape:
    """A load: `concurrency` requests at a time, or each request at its own of `times_s` after the start."""

    label: str
    concurrency: int | None = None
    times_s: tuple[float, ...] | None = None
    rate: float | None = None


def closed(concurrency: int) -> Shape:
    """The next request is sent when one is answered."""
    return Shape(f"{concurrency} at a time", concurrency=concurrency)


def open_loop(rate: float, requests: int, *, burstiness: float = 1.0, seed: int = 0) -> Shape:
    """`rate` requests a second whatever the server does, the gaps drawn from a gamma distribution.

    `burstiness` is the squared coefficient of variation of the gaps: 1 is a Poisson process, more comes in bursts.
    """
    if not (rate > 0 and burstiness > 0):
        raise InputError("a rate and its burstiness must be above 0", where=f"--rate {rate} --burstiness {burstiness}")
    draw, at, times = random.Random(seed), 0.0, []  # noqa: S311 - the same times with each run
    for _ in range(requests):
        times.append(at)
        at += draw.gammavariate(1 / burstiness, burstiness / rate)
    label = f"{rate:g} a second" + ("" if burstiness == 1 else f", burstiness {burstiness:g}")
    return Shape(label, times_s=tuple(times), rate=rate)


def replay(path: Path) -> Shape:
    """The send times of a file: a number of seconds a line; or those of a load file that holds one load.

    Raises DataError with the line that is none.
    """
    if not path.is_file():
        raise DataError("no such file", where=str(path), expected="send times: a number of seconds a line")
    text = path.read_text(encoding="utf-8", errors="replace")
    times = _of_load_file(path) if text.startswith("{") else _of_lines(path, text)
    if not times:
        raise DataError("no send times", where=str(path), expected="a number of seconds a line")
    times.sort()
    return Shape(f"replay of {path.name}", times_s=tuple(time - times[0] for time in times))


def _of_lines(path: Path, text: str) -> list[float]:
    times = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            time = float(line) if line.strip() else None
        except ValueError:
            time = nan
        if time is not None and not isfinite(time):
            raise DataError("not a send time", where=f"{path}:{number}", expected="a number of seconds")
        times += [] if time is None else [time]
    return times


def _of_load_file(path: Path) -> list[float]:
    load = read_load(path)
    phases = {phase.number: phase.name for phase in load.phases if phase.measured}
    if len(set(phases.values())) > 1:
        raise DataError(f"{len(set(phases.values()))} loads", where=str(path), expected="a load file with one")
    return [outcome.scheduled_s for outcome in load.outcomes if outcome.phase in phases]
