"""What kind of values a column holds, read off its values in one pass."""

from dataclasses import dataclass
from typing import Any, Literal

import apsw

from slm.sql.results import Cell, Row
from slm.sql.schema import affinity, quoted

SUPPORT = 30  # rows; below it a rule that no row breaks is not believed
_SAMPLES, _ROWS, _TEXT = 50, 60, 200  # values kept a column, rows kept a table, characters kept of a text
_LARGE = 200_000  # rows; of a larger table only the first so many are read
_CLOSED, _REPEATED = 12, 3  # at most so many values, each so often on average: a closed list

Kind = Literal["integer", "decimal", "text", "integer_text", "date", "datetime", "time", "mixed"]
_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"
_TIME = "[0-9][0-9]:[0-9][0-9]:[0-9][0-9]"
_MINUTE = "[0-9][0-9]:[0-9][0-9]"


@dataclass(frozen=True, slots=True)
class Domain:
    """A column's values. `closed`: no others are expected. `low` and `high` bound numbers and integers kept as text.

    `decimals` is how many digits after the point the numbers have. `samples` holds the most frequent values first.
    """

    kind: Kind
    closed: bool = False
    low: float | int | None = None
    high: float | int | None = None
    decimals: int = 0
    samples: tuple[Cell, ...] = ()


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts of a column's values, in all and by kind."""

    filled: int
    distinct: int
    numbers: int
    integral: int
    integer_texts: int
    dates: int
    datetimes: int
    times: int
    texts: int
    low: float | int | None
    high: float | int | None


def source_of(table: str) -> str:
    """What to read a table from: all of it, or the first rows of a very large one."""
    return f"(SELECT * FROM {quoted(table)} LIMIT {_LARGE})"  # noqa: S608 (a table's own name, quoted)


def statistics_of(connection: apsw.Connection, table: str, names: list[str]) -> tuple[int, list[Statistics]]:
    """The number of rows, and the counts of each of these columns."""
    parts = ["count(*)"]
    for name in names:
        c = quoted(name)
        is_number = f"typeof({c}) IN ('integer', 'real')"
        is_integer_text = f"typeof({c}) = 'text' AND CAST(CAST({c} AS INTEGER) AS TEXT) = {c}"
        parts += [
            f"count({c})",
            f"count(DISTINCT {c})",
            f"total({is_number})",
            f"total({is_number} AND {c} = CAST({c} AS INTEGER))",
            f"total({is_integer_text})",
            f"total(typeof({c}) = 'text' AND {c} GLOB '{_DATE}')",
            f"total(typeof({c}) = 'text' AND {c} GLOB '{_DATE} {_TIME}')",
            f"total(typeof({c}) = 'text' AND ({c} GLOB '{_TIME}' OR {c} GLOB '{_MINUTE}'))",
            f"total(typeof({c}) = 'text')",
            f"min(CASE WHEN {is_number} THEN {c} WHEN {is_integer_text} THEN CAST({c} AS INTEGER) END)",
            f"max(CASE WHEN {is_number} THEN {c} WHEN {is_integer_text} THEN CAST({c} AS INTEGER) END)",
        ]
    row: tuple[Any, ...] = connection.execute(f"SELECT {', '.join(parts)} FROM {source_of(table)}").fetchall()[0]  # noqa: S608
    width = 11
    return row[0], [Statistics(*row[1 + i * width : 1 + (i + 1) * width]) for i in range(len(names))]


def domain_of(connection: apsw.Connection, table: str, name: str, declared: str, found: Statistics) -> Domain:
    """The domain of a column of this declared type (in upper case)."""
    c = quoted(name)
    order = f"GROUP BY {c} ORDER BY count(*) DESC, {c} LIMIT {_SAMPLES}"
    rows = _fetch(connection, [name], f"{source_of(table)} WHERE {c} IS NOT NULL {order}")
    samples = tuple(value for (value,) in rows)
    kind = _kind(declared, found)
    closed = kind == "text" and found.distinct <= _CLOSED and found.filled >= max(SUPPORT, _REPEATED * found.distinct)
    low, high = (found.low, found.high) if kind in ("integer", "decimal", "integer_text") else (None, None)
    if kind == "integer" and low is not None and high is not None:
        low, high = int(low), int(high)
        samples = tuple(int(v) if isinstance(v, float) else v for v in samples)
    is_flag = kind == "integer" and (low, high) in ((0, 1), (0, 0), (1, 1)) and (low != high or "BOOL" in declared)
    decimals = max((_decimals(v) for v in samples if isinstance(v, float)), default=2) if kind == "decimal" else 0
    return Domain(kind, closed or is_flag, low, high, decimals, samples)


def _kind(declared: str, found: Statistics) -> Kind:
    """By the values there are; by the declared type where there are none."""
    if not found.filled:
        if declared == "TIME":
            return "time"
        if "DATE" in declared or "TIME" in declared:
            return "datetime" if "TIME" in declared else "date"
        kinds = {"INTEGER": "integer", "TEXT": "text", "REAL": "decimal", "NUMERIC": "integer"}
        return kinds.get(affinity(declared), "text")  # type: ignore[return-value]
    if found.numbers == found.filled:
        # A REAL column of a few whole numbers may well hold others.
        whole = found.integral == found.filled and (found.filled >= SUPPORT or affinity(declared) != "REAL")
        return "integer" if whole else "decimal"
    counts: list[tuple[Kind, int]] = [
        ("integer_text", found.integer_texts),
        ("date", found.dates),
        ("datetime", found.datetimes),
        ("time", found.times),
        ("text", found.texts),
    ]
    return next((kind for kind, count in counts if count == found.filled), "mixed")


def _decimals(value: float) -> int:
    text = repr(value)
    return min(len(text.partition(".")[2]), 6) if "e" not in text else 6


def rows_of(connection: apsw.Connection, table: str, names: list[str], count: int) -> tuple[Row, ...]:
    """Some rows from all over the table."""
    source = quoted(table)
    if count > _ROWS:
        # row_number, as a table WITHOUT ROWID has no number of its own
        numbered = f"(SELECT *, row_number() OVER () AS slm_number FROM {source_of(table)})"  # noqa: S608
        source = f"{numbered} WHERE slm_number % {count // _ROWS} = 0"
    return tuple(_fetch(connection, names, f"{source} LIMIT {_ROWS}"))


def _fetch(connection: apsw.Connection, names: list[str], rest: str) -> list[Row]:
    """Cells; of a text that is not UTF-8 what can be read, and of a long one the beginning."""
    cells = [f"iif(typeof({c}) = 'text', substr({c}, 1, {_TEXT}), {c})" for c in map(quoted, names)]
    try:
        return connection.execute(f"SELECT {', '.join(cells)} FROM {rest}").fetchall()  # noqa: S608
    except UnicodeDecodeError:
        cells = [f"iif(typeof({c}) = 'text', CAST(substr({c}, 1, {_TEXT}) AS BLOB), {c})" for c in map(quoted, names)]
        rows = connection.execute(f"SELECT {', '.join(cells)} FROM {rest}").fetchall()  # noqa: S608
        return [tuple(_readable(cell) for cell in row) for row in rows]


def _readable(cell: Any) -> Cell:
    return cell.decode(errors="ignore") if isinstance(cell, bytes) else cell
