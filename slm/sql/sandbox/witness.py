"""The smallest data that tells two queries apart, for the people who read a verdict."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import apsw

from slm.sql.compare import matches
from slm.sql.engines.sqlite import SqliteEngine
from slm.sql.golds import GoldPlan, expect
from slm.sql.results import Cell, Refused, ResultSet
from slm.sql.schema import quoted

_ROWS, _CHARACTERS = 20, 200  # that are shown of a result, and of a cell
_QUERY_S, _MAX_ROWS = 1.0, 10_000
_MOST_ROWS = 5_000  # of a database that is cut down


@dataclass(frozen=True, slots=True)
class Contest:
    """Two queries, and how their results are compared; `permutation` is the one that the shipped data left open."""

    gold: str
    plan: GoldPlan
    prediction: str
    permutation: tuple[int, ...] | None


def smallest(image: bytes, contest: Contest, *, double_quoted_text: bool, seconds: float) -> dict[str, Any] | None:
    """The rows, by table, on which the two results still differ, and both results; None where they do not differ.

    Rows are taken away in halves, then one by one, as in delta debugging (Zeller and Hildebrandt 2002), as long as the
    results differ and no declared foreign key breaks. After `seconds` the rows that are left are the answer.
    """
    engine = SqliteEngine(image, double_quoted_text=double_quoted_text)
    try:
        if (results := _differ(engine, contest)) is None:
            return None
        schema = engine.schema()
        with engine.unguarded() as connection:
            connection.execute("PRAGMA query_only = 0; PRAGMA foreign_keys = 0")
            tables = {table.name: _row_numbers(connection, table.name) for table in schema.tables}
            orphans = _orphans(connection)
        if sum(map(len, tables.values())) > _MOST_ROWS:
            return None
        deadline = time.monotonic() + seconds
        changed = True
        while changed and time.monotonic() < deadline:
            changed = False
            for name in sorted(tables, key=lambda name: -len(tables[name])):
                left = _cut(engine, contest, name, tables[name], orphans, deadline)
                changed = changed or len(left) < len(tables[name])
                tables[name] = left
        results = _differ(engine, contest) or results
        with engine.unguarded() as connection:
            rows = {name: _shown_table(connection, name) for name, numbers in tables.items() if numbers}
        return {"tables": rows} | shown_results(*results)
    finally:
        engine.close()


def shown_results(gold: ResultSet, prediction: ResultSet) -> dict[str, Any]:
    """Both results, the first rows of each."""
    return {"gold": shown(gold), "prediction": shown(prediction)}


def shown(result: ResultSet) -> dict[str, Any]:
    """A result as JSON: `columns`, `rows`, and how many rows there are in all."""
    rows = [[shown_cell(cell) for cell in row] for row in result.rows[:_ROWS]]
    return {"columns": list(result.labels), "rows": rows, "row_count": len(result.rows)}


def shown_cell(cell: Cell) -> Any:
    """A cell as JSON has it; bytes as x'…', what is long is cut, what JSON cannot say (inf, bad UTF-8) as text."""
    if isinstance(cell, bytes):
        text = f"x'{cell[:_CHARACTERS].hex()}'"
        return text if len(cell) <= _CHARACTERS else text + " …"
    if isinstance(cell, float) and (cell != cell or cell in (float("inf"), float("-inf"))):
        return str(cell)
    if isinstance(cell, str):
        text = cell.encode("utf-8", errors="backslashreplace").decode() if not cell.isascii() else cell
        return text if len(text) <= _CHARACTERS else text[:_CHARACTERS] + " …"
    return cell


def _differ(engine: SqliteEngine, contest: Contest) -> tuple[ResultSet, ResultSet] | None:
    """Both results, if they differ."""
    try:
        gold = _ask(engine, contest.gold)
        prediction = _ask(engine, contest.prediction)
        ranked = _ask(engine, contest.plan.ranked).rows if contest.plan.ranked else None
    except Refused:
        return None
    expected, _ = expect(contest.plan, gold, ranked)
    return None if matches(expected, prediction, contest.permutation) else (gold, prediction)


def _ask(engine: SqliteEngine, sql: str) -> ResultSet:
    return engine.query(sql, timeout_s=_QUERY_S, max_rows=_MAX_ROWS)


def _cut(
    engine: SqliteEngine, contest: Contest, table: str, numbers: list[int], orphans: int, deadline: float
) -> list[int]:
    """The rows of one table that cannot be done without."""
    size = len(numbers)
    while size and time.monotonic() < deadline:
        at = 0
        while at < len(numbers):
            part = numbers[at : at + size]
            if _can_go(engine, contest, table, part, orphans):
                numbers = numbers[:at] + numbers[at + size :]
            else:
                at += size
        size //= 2
    return numbers


def _can_go(engine: SqliteEngine, contest: Contest, table: str, numbers: Sequence[int], orphans: int) -> bool:
    """Take rows away for good if the results differ without them, else put them back."""
    marks = ", ".join(map(str, numbers))
    with engine.unguarded() as connection:
        connection.execute(f"SAVEPOINT cut; DELETE FROM {quoted(table)} WHERE rowid IN ({marks})")  # noqa: S608
        whole = _orphans(connection) <= orphans
    differ = whole and _differ(engine, contest) is not None
    with engine.unguarded() as connection:
        connection.execute("RELEASE cut" if differ else "ROLLBACK TO cut; RELEASE cut")
    return differ


def _row_numbers(connection: apsw.Connection, table: str) -> list[int]:
    try:
        return [number for (number,) in connection.execute(f"SELECT rowid FROM {quoted(table)}")]  # noqa: S608
    except apsw.SQLError:  # WITHOUT ROWID: its rows stay
        return []


def _orphans(connection: apsw.Connection) -> int:
    try:
        return len(connection.execute("PRAGMA foreign_key_check").fetchall())
    except apsw.SQLError:  # a key that names no unique column cannot be checked
        return 0


def _shown_table(connection: apsw.Connection, table: str) -> dict[str, Any]:
    cursor = connection.execute(f"SELECT * FROM {quoted(table)}")  # noqa: S608
    columns = [column[0] for column in cursor.get_description()]
    return {"columns": columns, "rows": [[shown_cell(cell) for cell in row] for row in cursor]}
