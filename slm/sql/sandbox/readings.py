"""The same pair as the public evaluation scripts read it: BIRD's EX and the Spider test-suite script."""

from slm.sql.compare import bird, test_suite, test_suite_line, test_suite_ordered, test_suite_sql
from slm.sql.results import ResultSet
from slm.sql.sandbox.database import Database, Outcome

_LARGEST_COPY = 64 << 20  # bytes of a database that is copied to see what a writing statement would have done


def read_as_scripts(database: Database, gold: str, prediction: str, seconds: float) -> dict[str, bool]:
    """`bird` and `test_suite`; False where the script would stop with an error. A query may run for `seconds`.

    Both scripts run on Python's SQLite, which takes text in double quotes and lets the prediction write.
    """
    ours, theirs = _as_script(database, gold, "gold", seconds), _as_script(database, prediction, "prediction", seconds)
    if theirs.refusal and theirs.refusal.reason == "forbidden" and database.engine == "sqlite":
        return _after_writing(database, gold, prediction, ours, seconds)
    readings = {"bird": bool(ours.result and theirs.result and bird(ours.result, theirs.result))}
    gold_text, text = test_suite_sql(gold), test_suite_sql(test_suite_line(prediction))
    ours = ours if gold_text == gold else database.run(gold_text, "script", seconds)
    theirs = theirs if text == prediction.strip() else database.run(text, "script", seconds)
    ordered = test_suite_ordered(gold)
    same = ours.result and theirs.result and test_suite(ours.result, theirs.result, ordered=ordered)
    return readings | {"test_suite": bool(same)}


def _as_script(database: Database, sql: str, who: str, seconds: float) -> Outcome:
    """The outcome as we have it, except that text in double quotes may stand anywhere."""
    outcome = database.run(sql, who)
    if outcome.refusal and outcome.refusal.reason == "unknown_column" and database.engine == "sqlite":
        return database.run(sql, "script", seconds)
    return outcome


def _after_writing(database: Database, gold: str, prediction: str, before: Outcome, seconds: float) -> dict[str, bool]:
    """BIRD runs the gold on what the prediction left behind; the test-suite script opens the database anew."""
    from slm.sql.engines.sqlite import SqliteEngine, scratch_run

    engine = database.connection("gold")
    assert isinstance(engine, SqliteEngine)  # noqa: S101
    done = None
    if image := engine.image(_LARGEST_COPY):
        done = scratch_run(image, prediction, gold, timeout_s=seconds)
    if done is None:
        return {"bird": False, "test_suite": False}
    returned, after = done
    nothing = not returned and before.result is not None and not before.result.rows
    return {"bird": bird(ResultSet((), after), ResultSet((), returned)), "test_suite": nothing}
