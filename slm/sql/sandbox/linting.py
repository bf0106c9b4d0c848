"""Golds looked over in a worker, because golds are queries too."""

from typing import Any

from slm.sql.engines.base import Engine
from slm.sql.engines.sqlite import SqliteEngine
from slm.sql.golds.lint import Finding, lint_gold
from slm.sql.prove.facts import read_facts
from slm.sql.results import Refused, ResultSet
from slm.sql.sandbox.database import Database
from slm.sql.sandbox.heartbeat import Heartbeat
from slm.sql.sandbox.judging import Judge

_QUERIES = 8  # of our own that one gold may cost


class Linter:
    """Answers requests of kind `lint`: the `findings` of a gold."""

    def __init__(self, heartbeat: Heartbeat, timeout_s: float, max_rows: int) -> None:
        self._heartbeat, self._timeout_s, self._max_rows = heartbeat, timeout_s, max_rows
        self._judge = Judge(heartbeat, timeout_s, max_rows)

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """Findings in the order of `lint_gold`."""
        try:
            database = self._judge.open(request)
        except Refused as refused:
            return {"findings": [{"kind": "database_unavailable", "detail": refused.detail}]}
        with self._heartbeat.phase("gold", _QUERIES * self._timeout_s):
            findings = self._lint(database, request["sql"])
        return {"findings": [{"kind": finding.kind, "detail": finding.detail} for finding in findings]}

    def _lint(self, database: Database, sql: str) -> list[Finding]:
        engine = database.connection("gold", lenient=database.double_quoted_text)
        if not isinstance(engine, SqliteEngine):
            raise TypeError("only SQLite golds are linted")

        def run(text: str) -> ResultSet:
            return self._ask(engine, text)

        def run_reversed(text: str) -> ResultSet:
            engine.reverse(True)
            try:
                return self._ask(engine, text)
            finally:
                engine.reverse(False)

        schema = engine.schema()
        unique: dict[str, list[tuple[str, ...]]] = {}
        with engine.unguarded() as connection:
            for table, columns in read_facts(connection, schema).unique:
                unique.setdefault(table, []).append(columns)
        return lint_gold(sql, schema, run, run_reversed, unique=unique)

    def _ask(self, engine: Engine, sql: str) -> ResultSet:
        return engine.query(sql, timeout_s=self._timeout_s, max_rows=self._max_rows)
