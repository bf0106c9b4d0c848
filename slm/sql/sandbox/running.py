"""One query, run or only checked, for a person."""

from typing import Any

from slm.sql.engines.sqlite import SqliteEngine
from slm.sql.results import Refused, ResultSet
from slm.sql.sandbox.heartbeat import Heartbeat
from slm.sql.sandbox.judging import Judge
from slm.sql.sandbox.witness import shown_cell


class Runner:
    """Answers requests of kind `run`: `columns`, `rows` and `ms`, or why there are none."""

    def __init__(self, heartbeat: Heartbeat, timeout_s: float, max_rows: int) -> None:
        self._heartbeat, self._timeout_s = heartbeat, timeout_s
        self._judge = Judge(heartbeat, timeout_s, max_rows)

    def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        """With `only_check`, the query is prepared but not run."""
        try:
            database = self._judge.open(request)
        except Refused as refused:
            return {"reason": "database_unavailable", "detail": refused.detail}
        with self._heartbeat.phase("prediction", self._timeout_s):
            engine = database.connection("prediction")
            if request.get("only_check") and isinstance(engine, SqliteEngine):
                return _checked(engine, request["sql"])
            outcome = database.run(request["sql"], "prediction")
        if outcome.result is None:
            assert outcome.refusal is not None  # noqa: S101
            return {"reason": outcome.refusal.reason, "detail": outcome.refusal.detail, "ms": outcome.ms}
        return {"reason": "ok", "ms": outcome.ms} | _rows(outcome.result)


def _checked(engine: SqliteEngine, sql: str) -> dict[str, Any]:
    try:
        return {"reason": "ok", "columns": list(engine.check(sql)), "rows": []}
    except Refused as refused:
        return {"reason": refused.reason, "detail": refused.detail}


def _rows(result: ResultSet) -> dict[str, Any]:
    return {"columns": list(result.labels), "rows": [[shown_cell(cell) for cell in row] for row in result.rows]}
