"""Drives llama-text2sql-eval, which keeps BIRD's rules: a call of `execute_model` a pair."""

import time
from collections.abc import Iterable, Iterator

from lines import TIMEOUT_S, Answer, Line, serve
from llama_text2sql_eval.text2sql_eval import execute_model  # type: ignore[import-not-found]


def judge(pairs: Iterable[Line]) -> Iterator[Answer]:
    for pair in pairs:
        began = time.perf_counter()
        result = execute_model(pair.pred, pair.gold, pair.database, pair.id, TIMEOUT_S)
        yield Answer(pair.id, result["res"] == 1, time.perf_counter() - began)


if __name__ == "__main__":
    serve(judge)
