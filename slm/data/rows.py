"""Lines of a data file to examples, with every problem of the file in one report."""

import difflib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slm.data.suites import Keys
from slm.errors import DataError

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Row:
    """A checked line: `where` it stands, `db` as it is written there."""

    where: str
    id: str
    question: str
    targets: tuple[str, ...]
    db: str
    hint: str | None
    tags: dict[str, str]


@dataclass
class Problems:
    """Problems of one file, collected so that one run reports them all."""

    found: list[str] = field(default_factory=list)

    def add(self, problem: str, *, where: str, expected: str | None = None) -> None:
        """Note a problem at `where`."""
        self.found.append(str(DataError(problem, where=where, expected=expected)))

    def raise_if_any(self) -> None:
        """Raise one DataError with the first 20 and the number of the others."""
        if not self.found:
            return
        more = len(self.found) - _SHOWN
        rest = [f"… and {more} more"] if more > 0 else []
        count = [f"{len(self.found)} problems found"] if len(self.found) > 1 else []
        raise DataError("\n\n".join([*count, *self.found[:_SHOWN], *rest]))


def read_rows(path: Path, keys: Keys, split: str, check_db: Callable[[str], str | None]) -> list[Row]:
    """Every example of a JSON Lines file or a JSON list.

    `check_db` says what is wrong with a `db` value, or None. Ids not given are `split-00012`, counted from 0.
    Raises DataError with all problems, each with `file:line`.
    """
    problems = Problems()
    rows: list[Row] = []
    seen: dict[str, str] = {}
    for index, (where, value) in enumerate(_objects(path, problems)):
        row = _row(value, where, f"{split}-{index:05}", keys, problems)
        if row is None:
            continue
        if row.id in seen:
            problems.add(f"id {row.id!r} is taken by {seen[row.id]}", where=where, expected="an id of its own")
        seen.setdefault(row.id, where)
        if trouble := check_db(row.db):
            problems.add(f"{keys.db} is {row.db!r}: no such database", where=where, expected=trouble)
        rows.append(row)
    if not rows and not problems.found:
        problems.add("no examples in it", where=str(path), expected="one JSON object a line")
    problems.raise_if_any()
    return rows


def _objects(path: Path, problems: Problems) -> Iterator[tuple[str, Any]]:
    """(place, value) of each line or list item that is readable."""
    if path.suffix == ".json":
        try:
            items = json.loads(path.read_text(encoding="utf-8-sig"))
        except (ValueError, RecursionError) as error:
            problems.add(f"not readable as JSON: {error}", where=str(path), expected="a JSON list of objects")
            return
        if not isinstance(items, list):
            problems.add("not a JSON list", where=str(path), expected="a JSON list of objects")
            return
        yield from ((f"{path}: item {number}", item) for number, item in enumerate(items, 1))
        return
    with path.open("rb") as handle:
        for number, raw in enumerate(handle, 1):
            if not raw.strip():
                continue
            where = f"{path}:{number}"
            try:
                yield where, json.loads(raw.decode("utf-8-sig"))
            except (ValueError, RecursionError) as error:
                problems.add(f"not readable as JSON: {error}", where=where, expected="one JSON object on the line")


def _row(value: Any, where: str, default_id: str, keys: Keys, problems: Problems) -> Row | None:
    if not isinstance(value, dict):
        problems.add(
            "not a JSON object", where=where, expected=f'a line like {{"{keys.question}": …, "{keys.sql}": …}}'
        )
        return None
    before = len(problems.found)
    question = _text(value, keys.question, where, keys, problems)
    db = _text(value, keys.db, where, keys, problems)
    targets = _targets(value, where, keys, problems)
    identifier = value.get(keys.id, default_id)
    if not (isinstance(identifier, str) and identifier.strip()) and type(identifier) is not int:
        problems.add(f"{keys.id} is {identifier!r}", where=where, expected="text or a whole number")
    hint = value.get(keys.hint)
    if hint is not None and not isinstance(hint, str):
        problems.add(f"{keys.hint} is {hint!r}", where=where, expected="text")
    tags = value.get(keys.tags) or {}
    if not isinstance(tags, dict) or not all(isinstance(tag, str) for tag in tags.values()):
        problems.add(f"{keys.tags} is {tags!r}", where=where, expected='names and texts, such as {"topic": "sales"}')
    if len(problems.found) > before:
        return None
    return Row(where, str(identifier), question, targets, db, hint or None, tags)


def _text(value: dict[str, Any], key: str, where: str, keys: Keys, problems: Problems) -> str:
    if key not in value:
        _missing(value, key, where, keys, problems)
        return ""
    text = value[key]
    if not isinstance(text, str) or not text.strip():
        problems.add(f"{key} is {text!r}", where=where, expected="text that is not empty")
        return ""
    return text.strip()


def _targets(value: dict[str, Any], where: str, keys: Keys, problems: Problems) -> tuple[str, ...]:
    if keys.sql not in value:
        _missing(value, keys.sql, where, keys, problems)
        return ()
    given = value[keys.sql]
    accepted = [given] if isinstance(given, str) else given
    if isinstance(accepted, list) and accepted and all(isinstance(sql, str) and sql.strip() for sql in accepted):
        return tuple(accepted)
    problems.add(f"{keys.sql} is {given!r}", where=where, expected="a query, or a list of accepted queries")
    return ()


def _missing(value: dict[str, Any], key: str, where: str, keys: Keys, problems: Problems) -> None:
    others = [name for name in value if name not in keys.model_dump().values()]
    near = difflib.get_close_matches(key, others, n=1, cutoff=0.5)
    expected = f"{near[0]!r} renamed to {key!r}" if near else f"{key!r} beside {', '.join(value) or 'nothing'}"
    problems.add(f"no {key!r}", where=where, expected=expected)
