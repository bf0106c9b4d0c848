"""When requests are sent: a number at a time (closed loop), or at given times (open loop, replay)."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

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
    """The send times of a file: a number of seconds a line, or a load file, whose `scheduled_s` of one phase count."""
    if not path.is_file():
        raise DataError("no such file", where=str(path), expected="send times: a number of seconds a line")
    times, phases = [], set()
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        try:
            value = json.loads(line) if line.strip() else None
            if isinstance(value, dict):
                if value.get("kind") != "request":
                    continue
                phases.add(value["phase"])
                value = value["scheduled_s"]
            if value is not None:
                times.append(float(value))
        except (ValueError, TypeError, KeyError):
            expected = "a number of seconds, or a line of a load file"
            raise DataError("not a send time", where=f"{path}:{number}", expected=expected) from None
    times.sort()
    if not times or len(phases) > 1 or not all(abs(time) < 1e12 for time in times):
        problem = f"{len(phases)} phases" if len(phases) > 1 else "no send times" if not times else "endless times"
        raise DataError(problem, where=str(path), expected="send times of one load")
    return Shape(f"replay of {path.name}", times_s=tuple(time - times[0] for time in times))
