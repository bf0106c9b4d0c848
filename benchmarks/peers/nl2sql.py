"""Drives NL2SQLEvaluator: a call of `run_evaluation` with its metric `execution_accuracy` for the pairs of a database.

If a call fails as a whole, its pairs are judged one by one.
"""

import logging
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from lines import TIMEOUT_S, Answer, Line, by_database, serve
from NL2SQLEvaluator.main_run_evaluation import ScriptArgs, run_evaluation  # type: ignore[import-not-found]
from NL2SQLEvaluator.orchestrator_state import AvailableDialect  # type: ignore[import-not-found]
from NL2SQLEvaluator.utils import utils_get_engine  # type: ignore[import-not-found]


def evaluate(database: Path, pairs: list[Line]) -> list[bool | None]:
    folder, name = str(database.parent.parent), database.stem
    utils_get_engine(relative_base_path=folder, db_executor=AvailableDialect.sqlite, db_id=name).set_different_timeout(
        TIMEOUT_S
    )
    rows = [{"SQL": pair.gold, "predicted_sql": pair.pred, "db_id": name} for pair in pairs]
    # Without a further argument it fails when it flattens its results.
    _, table = run_evaluation(ScriptArgs(relative_db_base_path=folder, dataset=rows), run="benchmark")
    return [bool(score == 1.0) for score in table["execution_accuracy"]]


def attempt(database: Path, pairs: list[Line]) -> list[bool | None]:
    try:
        return evaluate(database, pairs)
    except Exception:
        return [None] if len(pairs) == 1 else [attempt(database, [pair])[0] for pair in pairs]


def judge(pairs: Iterable[Line]) -> Iterator[Answer]:
    logging.disable(logging.CRITICAL)
    for database, group in by_database(pairs):
        began = time.perf_counter()
        verdicts = attempt(Path(database), group)
        each = (time.perf_counter() - began) / len(group)
        for pair, correct in zip(group, verdicts, strict=True):
            yield Answer(pair.id, correct, each)


if __name__ == "__main__":
    serve(judge)
