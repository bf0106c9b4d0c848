"""Reading load files."""

from pathlib import Path

from pydantic import ValidationError

from slm.bench.load.records import LoadFile, Outcome, Phase, Plan
from slm.errors import DataError
from slm.files import read_json_lines
from slm.records import Record

_KINDS: dict[str, type[Record]] = {"plan": Plan, "phase": Phase, "request": Outcome}


def read_load(path: Path) -> LoadFile:
    """Plan, phases and requests of a load file; the torn last line of a killed benchmark is left out.

    Raises DataError with the line for what is none.
    """
    records: dict[type[Record], list[Record]] = {kind: [] for kind in _KINDS.values()}
    for number, value in read_json_lines(path, torn_tail=True):
        kind = _KINDS.get(str(value.get("kind")))
        try:
            if kind is None:
                raise DataError("not a line of a load file", where=f"{path}:{number}", expected="what slm bench wrote")
            records[kind].append(kind.model_validate(value))
        except ValidationError as error:
            first = error.errors()[0]
            problem = f"key {'.'.join(map(str, first['loc']))!r}: {first['msg']}"
            raise DataError(problem, where=f"{path}:{number}", expected=f"a {value['kind']} line") from None
    if len(records[Plan]) != 1:
        raise DataError("not a load file", where=str(path), expected="a plan on its first line, as slm bench writes it")
    _check_once(path, records[Outcome])
    return LoadFile.model_validate(
        {"plan": records[Plan][0], "phases": records[Phase], "outcomes": records[Outcome]},
    )


def _check_once(path: Path, outcomes: list[Record]) -> None:
    seen: set[str] = set()
    for outcome in outcomes:
        assert isinstance(outcome, Outcome)  # noqa: S101 - sorted by kind above
        if outcome.id in seen:
            raise DataError(f"request {outcome.id} is there twice", where=str(path), expected="each request once")
        seen.add(outcome.id)
