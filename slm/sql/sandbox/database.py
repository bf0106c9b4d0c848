"""A database as a worker holds it: golds and predictions on connections of their own, results kept."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from slm.errors import DataError
from slm.sql.engines.base import Engine
from slm.sql.results import Refused, ResultSet

_KEPT_CELLS = 20_000  # of one result; each takes some 100 bytes
_KEPT_RESULTS = 4096  # of a database
_KEPT_CELLS_TOTAL = 500_000  # of a database's results, and of its golds


@dataclass(frozen=True, slots=True)
class Outcome:
    """What running a query came to: a result or a refusal; `ms` is what it took when it ran."""

    result: ResultSet | None
    refusal: Refused | None
    ms: float

    @property
    def cells(self) -> int:
        """The size of the result."""
        return len(self.result.rows) * len(self.result.labels) if self.result else 0


class Kept:
    """Things by their keys, as long as they are not too many and their results not too large; the oldest go first."""

    def __init__(self) -> None:
        self._things: OrderedDict[Any, tuple[Any, int]] = OrderedDict()
        self.cells = 0

    def get(self, key: Any) -> Any:
        """The thing; None if it was never put here or has gone."""
        if key not in self._things:
            return None
        self._things.move_to_end(key)
        return self._things[key][0]

    def put(self, key: Any, thing: Any, cells: int) -> None:
        """Keep a new thing; it stays until the next comes, whatever its size."""
        self.make_room()
        self._things[key] = thing, cells
        self.cells += cells

    def make_room(self) -> None:
        """Let the oldest go until the rest is small enough."""
        while len(self._things) >= _KEPT_RESULTS or self.cells > _KEPT_CELLS_TOTAL:
            self.cells -= self._things.popitem(last=False)[1][1]

    def clear(self) -> None:
        """Let all go."""
        self._things.clear()
        self.cells = 0


class Database:
    """`source` is a URI or an image for SQLite, a path for DuckDB, a DSN for PostgreSQL.

    `double_quoted_text` lets "x" be text where no column is called x: in golds anywhere, in predictions only where a
    column cannot be meant. Raises the engine's error where the database cannot be opened.
    """

    def __init__(
        self, engine: str, source: str | bytes, *, double_quoted_text: bool, timeout_s: float, max_rows: int
    ) -> None:
        self.engine, self.source, self.double_quoted_text = engine, source, double_quoted_text
        self.timeout_s, self.max_rows = timeout_s, max_rows
        self._connections: dict[tuple[str, bool], Engine] = {}
        self._outcomes = Kept()
        self.golds = Kept()  # what the judge works out for each gold on this database
        self.around: Any = None  # what is found out about it when right answers are looked at further
        self.connection("gold")

    def connection(self, who: str, *, lenient: bool = False) -> Engine:
        """The connection for `gold` or `prediction`; a lenient one takes text in double quotes."""
        # An image is a copy that only its own connection sees, so that one does for both.
        key = (who if isinstance(self.source, str) else "both", lenient)
        if key not in self._connections:
            self._connections[key] = _open(self.engine, self.source, lenient)
        return self._connections[key]

    def run(self, sql: str, who: str, timeout_s: float | None = None) -> Outcome:
        """The outcome of a query, run once: as `gold`, as `prediction`, or as `script`, as public scripts do.

        `timeout_s` is the database's own if it is not given.
        """
        key = (who, sql)
        kept: Outcome | None = self._outcomes.get(key)
        if kept is not None:
            return kept
        start = time.perf_counter()
        try:
            result, refusal = self._query(sql, who, timeout_s or self.timeout_s), None
        except Refused as refused:
            result, refusal = None, refused
        except DataError as error:  # a server that went away
            result, refusal = None, Refused("database_unavailable", str(error))
        outcome = Outcome(result, refusal, round((time.perf_counter() - start) * 1000, 3))
        if outcome.cells <= _KEPT_CELLS:
            self._outcomes.put(key, outcome, outcome.cells)
        return outcome

    def _query(self, sql: str, who: str, timeout_s: float) -> ResultSet:
        def ask(engine: Engine) -> ResultSet:
            return engine.query(sql, timeout_s=timeout_s, max_rows=self.max_rows)

        if who == "script":
            return ask(self.connection("prediction", lenient=True))
        try:
            return ask(self.connection(who))
        except Refused as refused:
            if self.engine != "sqlite" or not self.double_quoted_text or not _is_quoted_text(refused):
                raise
        if who == "prediction":
            from slm.sql.quoted import refuse_columns_as_text

            refuse_columns_as_text(sql, self.columns())
        return ask(self.connection(who, lenient=True))

    def columns(self) -> dict[str, set[str]]:
        """The columns of each table, all in lower case (SQLite only)."""
        from slm.sql.engines.sqlite import SqliteEngine

        engine = self.connection("gold")
        assert isinstance(engine, SqliteEngine)  # noqa: S101 - only SQLite has text in double quotes
        return {table.name.lower(): {c.name.lower() for c in table.columns} for table in engine.schema().tables}

    @property
    def cells(self) -> int:
        """How many cells of results it keeps; those of a gold count twice."""
        return self._outcomes.cells + self.golds.cells

    def forget(self) -> None:
        """Keep no results."""
        self._outcomes.clear()
        self.golds.clear()

    def close(self) -> None:
        """End its connections."""
        for engine in self._connections.values():
            engine.close()


def _is_quoted_text(refused: Refused) -> bool:
    from slm.sql.engines.sqlite import is_quoted_text

    return is_quoted_text(refused)


def _open(engine: str, source: str | bytes, lenient: bool) -> Engine:
    if engine == "sqlite":
        from slm.sql.engines.sqlite import SqliteEngine

        return SqliteEngine(source, double_quoted_text=lenient)
    assert isinstance(source, str)  # noqa: S101 - images are SQLite's
    try:
        if engine == "duckdb":
            from slm.sql.engines.duckdb import DuckdbEngine

            return DuckdbEngine(source)
        from slm.sql.engines.postgres import PostgresEngine

        return PostgresEngine(source)
    except ModuleNotFoundError as error:
        raise Refused("database_unavailable", f'{error}; try: pip install "slm[{engine}]"') from None
