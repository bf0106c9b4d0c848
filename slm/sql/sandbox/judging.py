"""One pair to one verdict, inside a worker: gold first, then the prediction, then what tells them apart."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from slm.sql.compare import Outcome as Comparison
from slm.sql.compare import compare
from slm.sql.golds import GoldPlan, expect, plan_gold
from slm.sql.results import Expected, Refused, ResultSet
from slm.sql.sandbox.database import Database, Outcome
from slm.sql.sandbox.heartbeat import Heartbeat
from slm.sql.sandbox.readings import read_as_scripts

_OPEN_DATABASES = 32
_KEPT_CELLS = 1_000_000  # of results, in all databases
_SCRIPT_S, _COMPARISON_S, _READING_S = 10.0, 30.0, 0.5
_LONGEST = 20_000  # characters that are translated
_LOOK_AFTER = 8  # requests, before memory is looked at again
_STOPPED = {"timeout", "memory", "too_many_rows"}

Reply = dict[str, Any]


@dataclass(slots=True)
class Gold:
    """A gold on one database; `expected` is worked out when a prediction is not simply the same rows."""

    sql: str
    dialect: str
    outcome: Outcome
    expected: Expected | None = None
    ambiguous: bool = False

    @property
    def right(self) -> str:
        """The reason of a prediction that equals it."""
        return "gold_ambiguous" if self.ambiguous else "correct"

    @property
    def plan(self) -> GoldPlan:
        """What it asks of order, number and rounding."""
        return plan_gold(self.sql, self.dialect)

    @property
    def result(self) -> ResultSet:
        """Its rows; only for a gold that ran."""
        assert self.outcome.result is not None  # noqa: S101
        return self.outcome.result


class Judge:
    """Answers requests of kind `judge`; keeps databases open, and results."""

    def __init__(self, heartbeat: Heartbeat, timeout_s: float, max_rows: int) -> None:
        self.heartbeat, self.timeout_s, self.max_rows = heartbeat, timeout_s, max_rows
        self._databases: OrderedDict[tuple[Any, ...], Database] = OrderedDict()
        self._asked = 0
        self._further: Any = None

    def __call__(self, request: Reply) -> Reply:
        """The parts of a verdict: `reason`, `detail`, `readings`, the times, and what further data says."""
        try:
            database = self.open(request)
        except Refused as refused:
            return {"reason": "database_unavailable", "detail": refused.detail}
        if source := request.get("transpile_from"):
            with self.heartbeat.phase("prediction", self.timeout_s):
                texts = [*request["golds"], request["prediction"]]
                *golds, translated = [_translated(sql, source, database.engine) for sql in texts]
            request = {**request, "golds": golds, "prediction": translated}
        found = [self.gold(database, sql) for sql in request["golds"]]
        times: Reply = {"gold_ms": sum(gold.outcome.ms for gold in found)}
        usable = [gold for gold in found if gold.outcome.result]
        if not usable:
            return times | {"reason": "gold_failed", "detail": "; ".join(_failure(gold) for gold in found)}
        with self.heartbeat.phase("prediction", self.timeout_s):
            prediction = database.run(request["prediction"], "prediction")
        times["prediction_ms"] = prediction.ms
        if "readings" not in request.get("skip", ()):
            times["readings"] = self._readings(database, found[0], request["prediction"], prediction)
        if prediction.result is None:
            assert prediction.refusal is not None  # noqa: S101
            verdict = {"reason": prediction.refusal.reason, "detail": prediction.refusal.detail}
        else:
            verdict = self._compare(request, database, usable, prediction.result)
        return {**times, **verdict}

    def _readings(self, database: Database, gold: Gold, sql: str, prediction: Outcome) -> dict[str, bool]:
        """What public scripts would say. They may run another text, for which there is no more time than before."""
        seconds = min(self.timeout_s, _READING_S + 2 * (gold.outcome.ms + prediction.ms) / 1000)
        if prediction.refusal and prediction.refusal.reason in _STOPPED:
            return {"bird": False, "test_suite": False}
        with self.heartbeat.phase("readings", 2 * seconds):
            return read_as_scripts(database, gold.sql, sql, seconds)

    def _compare(self, request: Reply, database: Database, golds: Iterable[Gold], prediction: ResultSet) -> Reply:
        """The verdict of the first gold that the prediction equals, on further data too; else that of the first."""
        first: Reply | None = None
        for gold in golds:
            with self.heartbeat.phase("comparison", _COMPARISON_S + self.timeout_s):
                comparison = self.match(database, gold, prediction)
            has_rows = bool(gold.result.rows or prediction.rows)
            verdict: Reply = {"reason": comparison.reason, "detail": comparison.detail}
            if comparison.reason == "equal":
                verdict = {"reason": gold.right if has_rows else "both_empty"}
            if (request.get("instances") or request.get("witness")) and database.engine == "sqlite":
                verdict = self._look_further(request, database, gold, prediction, comparison, verdict)
            if comparison.reason == "equal":
                verdict["shipped"] = True if has_rows else None
            if verdict["reason"] in ("correct", "gold_ambiguous", "both_empty"):
                return verdict
            first = first or verdict
        assert first is not None  # noqa: S101 - there is at least one usable gold
        return first

    def _look_further(
        self,
        request: Reply,
        database: Database,
        gold: Gold,
        prediction: ResultSet,
        comparison: Comparison,
        so_far: Reply,
    ) -> Reply:
        if self._further is None:
            from slm.sql.sandbox.further import Further  # it takes a moment to import

            self._further = Further(self.heartbeat)
        try:
            reply: Reply = self._further.look(request, database, gold, prediction, comparison, so_far)
        except Exception as error:  # a schema or a query that nobody foresaw must not cost what is known already
            reply = {**so_far, "detail": so_far.get("detail") or f"not tried on further data: {error!r}"}
        return reply

    def match(self, database: Database, gold: Gold, prediction: ResultSet) -> Comparison:
        """How a prediction's rows compare with those that the gold accepts."""
        if is_same(gold, prediction):
            return Comparison("equal", None, None)
        return compare(expected_of(database, gold), prediction)

    def gold(self, database: Database, sql: str) -> Gold:
        """The gold, run once on this database."""
        with self.heartbeat.phase("gold", self.timeout_s):
            return gold_of(database, sql)

    def open(self, request: Reply) -> Database:
        """The database of a request. Raises Refused if there is none."""
        with self.heartbeat.phase("script", _SCRIPT_S):
            return self._open(request)

    def _open(self, request: Reply) -> Database:
        engine, source, script = request["engine"], request["source"], request.get("script")
        key = (engine, source, request.get("changed"), *(script or ()), request["double_quoted_text"])
        if key not in self._databases:
            try:
                if script:
                    source = self._image(script)
                self._databases[key] = Database(
                    engine,
                    source,
                    double_quoted_text=request["double_quoted_text"],
                    timeout_s=self.timeout_s,
                    max_rows=self.max_rows,
                )
            except Refused:
                raise
            except Exception as error:  # each engine has its own
                raise Refused("database_unavailable", f"cannot be opened: {error}") from None
            if len(self._databases) > _OPEN_DATABASES:
                self._databases.popitem(last=False)[1].close()
        self._databases.move_to_end(key)
        self._asked += 1
        if self._asked % _LOOK_AFTER == 0:
            self._save_memory()
        return self._databases[key]

    def _save_memory(self) -> None:
        """Let the databases that were not asked for longest forget their results, if there are too many in all."""
        cells = sum([database.cells for database in self._databases.values()])
        for database in self._databases.values():
            if cells <= _KEPT_CELLS:
                break
            cells -= database.cells
            database.forget()

    def _image(self, script: list[str]) -> bytes:
        from slm.sql.engines.sqlite import image_of

        return image_of(*script, timeout_s=_SCRIPT_S)


def _translated(sql: str, source: str, target: str) -> str:
    """The text in another dialect; what cannot be read is left for the database to refuse."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    if len(sql) > _LONGEST:
        return sql
    try:
        return "; ".join(sqlglot.transpile(sql, read=source, write=target))
    except (SqlglotError, RecursionError):
        return sql


def gold_of(database: Database, sql: str) -> Gold:
    """The gold on this database, kept with it."""
    gold: Gold | None = database.golds.get(sql)
    if gold is None:
        database.golds.make_room()  # before there is another large result
        gold = Gold(sql, database.engine, database.run(sql, "gold"))
        database.golds.put(sql, gold, gold.outcome.cells)
    return gold


def is_same(gold: Gold, prediction: ResultSet) -> bool:
    """Whether the rows are simply the gold's own, and its LIMIT leaves no question open."""
    if gold.result.rows != prediction.rows or len(gold.result.labels) != len(prediction.labels):
        return False
    lower = gold.sql.lower()  # most golds need not be read for this
    open_question = any(word in lower for word in ("limit", "offset", "fetch"))
    return not open_question or (gold.plan.limit is None and not gold.plan.offset)


def expected_of(database: Database, gold: Gold) -> Expected:
    """What the gold accepts; ties are found by a query of our own."""
    if gold.expected is None:
        ranked = database.run(gold.plan.ranked, "gold").result if gold.plan.ranked else None
        gold.expected, gold.ambiguous = expect(gold.plan, gold.result, ranked.rows if ranked else None)
    return gold.expected


def content_key(request: Reply) -> str:
    """What tells a database's content apart from others: the hash that the pool gave, or that of the script."""
    known: str | None = request.get("hash")
    script = request.get("script") or [str(request["source"])]
    return known or hashlib.sha256("\0".join(script).encode()).hexdigest()


def _failure(gold: Gold) -> str:
    refusal = gold.outcome.refusal
    return f"{refusal.reason}: {refusal.detail}" if refusal else ""
