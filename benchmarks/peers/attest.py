"""Drives attestql through its command, because it has no Python API: one `attestql audit` for the pairs of a database.

Timed as a whole, so its start and its probes of the golds count. ERROR at the prediction is taken for wrong; ERROR at
the gold or in the run is no verdict.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from lines import TIMEOUT_S, Answer, Line, by_database, serve

COMMAND = str(Path(sys.executable).parent / "attestql")


def audit(database: str, pairs: list[Line], folder: Path) -> list[bool | None]:
    questions = [
        {"question_id": n, "db_id": "database", "question": "?", "SQL": pair.gold} for n, pair in enumerate(pairs)
    ]
    (folder / "questions.json").write_text(json.dumps(questions))
    (folder / "predictions.json").write_text(json.dumps({str(n): pair.pred for n, pair in enumerate(pairs)}))
    command = [COMMAND, "audit", "--engine", "sqlite", "--dsn", database, "--out", str(folder / "out")]
    command += ["--questions", str(folder / "questions.json"), "--predictions", str(folder / "predictions.json")]
    command += ["--predictions-keyed-by", "question-id", "--statement-timeout", str(TIMEOUT_S)]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    verdicts: list[bool | None] = [None] * len(pairs)
    for line in done.stdout.splitlines():
        head, words = line.split(" ", 1)[0], line.split()
        if head.startswith("q") and head[1:].isdecimal():
            wrong = "NOT_EQUAL" in words or ("ERROR" in words and "prediction:" in words)
            verdicts[int(head[1:])] = True if "EQUAL" in words else False if wrong else None
    return verdicts


def judge(pairs: Iterable[Line]) -> Iterator[Answer]:
    for database, group in by_database(pairs):
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            verdicts = audit(database, group, Path(folder))
            each = (time.perf_counter() - began) / len(group)
        for pair, correct in zip(group, verdicts, strict=True):
            yield Answer(pair.id, correct, each)


if __name__ == "__main__":
    serve(judge)
