"""Drives text2sql-eval-toolkit: `run_sqlite_query` for both queries (each gold once), then `evaluate_prediction`.

Its verdict is taken to be `execution_accuracy`. Its own batch command does the same through files.
"""

import time
from collections.abc import Iterable, Iterator
from functools import lru_cache

from func_timeout import FunctionTimedOut, func_timeout  # type: ignore[import-not-found]
from lines import TIMEOUT_S, Answer, Line, serve
from text2sql_eval_toolkit import evaluate_prediction  # type: ignore[import-not-found]
from text2sql_eval_toolkit.execution.execution_tools import run_sqlite_query  # type: ignore[import-not-found]


def result(database: str, sql: str) -> tuple[str | None, str]:
    """The result as the toolkit writes it, or None and the error."""
    try:
        return func_timeout(TIMEOUT_S, run_sqlite_query, args=(database, sql)), ""
    except (Exception, FunctionTimedOut) as error:
        return None, str(error)


gold_result = lru_cache(maxsize=None)(result)


def verdict(pair: Line) -> bool | None:
    gold, _ = gold_result(pair.database, pair.gold)
    if gold is None:
        return None
    prediction = {"predicted_sql": pair.pred}
    table, error = result(pair.database, pair.pred)
    prediction |= {"predicted_df": table} if table is not None else {"sql_execution_error": error}
    evaluation = evaluate_prediction({"id": pair.id, "sql": pair.gold, "gt_df": gold}, prediction)
    return None if evaluation.get("eval_error") else evaluation["execution_accuracy"] == 1


def judge(pairs: Iterable[Line]) -> Iterator[Answer]:
    for pair in pairs:
        began = time.perf_counter()
        correct = verdict(pair)
        yield Answer(pair.id, correct, time.perf_counter() - began)


if __name__ == "__main__":
    serve(judge)
