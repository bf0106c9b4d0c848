"""Published results on disk: which file a name means, and what is put into one later."""

import sys
from pathlib import Path

from slm.bench import System
from slm.errors import InputError
from slm.files import write_json
from slm.leaderboard import read_result
from slm.records import Cost


def find_file(name: str, folder: Path) -> Path:
    """A result's file, named by itself, by the run, or as `suite/run` where several suites have one of that name."""
    if Path(name).is_file():
        return Path(name)
    files = sorted(folder.rglob("*.json"))
    found = [file for file in files if name in (file.stem, file.relative_to(folder).with_suffix("").as_posix())]
    if len(found) == 1:
        return found[0]
    names = [file.relative_to(folder).with_suffix("").as_posix() for file in found or files]
    problem = "several results have this name" if found else "no such result"
    raise InputError(problem, where=name, expected=f"a file, or of {folder}: {', '.join(names) or 'none'}")


def publish_cost(file: Path, system: System, *, paid: str) -> None:
    """Put what right answers cost into a published result; `paid` says what for. Raises InputError if it is unknown."""
    span = system.usd_per_1000_correct
    if span is None or span.value is None:
        raise InputError("what its right answers cost is not known", where=str(file), hint="without --publish: why")
    cost = Cost(usd_per_1000_correct=span.value, low=span.low, high=span.high, paid=paid)
    write_json(file, read_result(file).model_copy(update={"cost": cost}))
    print(f"published: {file}", file=sys.stderr)
