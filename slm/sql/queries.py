"""One query, or a list of golds, put to a database through the sandbox."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from slm.sql.hints import with_hint
from slm.sql.judge import source_of
from slm.sql.sandbox.pool import Pool, Task

_BATCH = 16


def run_query(
    sql: str,
    database: Path | str,
    *,
    dialect: str = "sqlite",
    double_quoted_text: bool = False,
    timeout_s: float = 30.0,
    max_rows: int = 100_000,
    only_check: bool = False,
) -> dict[str, Any]:
    """`reason` is `ok`, with `columns`, `rows` and `ms`; else what was refused, with `detail`.

    With `only_check` the query is parsed and its names are looked up, but on SQLite it does not run.
    Raises JobError if the sandbox cannot start.
    """
    request = {
        "kind": "run",
        "engine": dialect,
        "source": source_of(dialect, database),
        "sql": sql,
        "double_quoted_text": double_quoted_text,
        "only_check": only_check,
    }
    ((_, reply),) = _run([Task(0, dialect, request)], timeout_s, max_rows, 1)
    detail = reply.get("detail")
    if detail and dialect == "sqlite" and reply["reason"] in ("unknown_table", "unknown_column"):
        reply["detail"] = with_hint(detail, sql, Path(database))
    return reply


def lint_golds(
    golds: Iterable[tuple[str, Path]],
    *,
    double_quoted_text: bool = False,
    timeout_s: float = 30.0,
    max_rows: int = 100_000,
    workers: int | None = None,
) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    """(index, findings) for each gold and its SQLite database, as they come; `slm.sql.golds.lint` names the kinds."""
    tasks = [
        Task(
            number,
            "sqlite",
            {
                "kind": "lint",
                "engine": "sqlite",
                "source": source_of("sqlite", database),
                "sql": sql,
                "double_quoted_text": double_quoted_text,
            },
        )
        for number, (sql, database) in enumerate(golds)
    ]
    for number, reply in _run(tasks, timeout_s, max_rows, workers):
        failed = [{"kind": "failed", "detail": f"{reply.get('reason')}: {reply.get('detail')}"}]
        yield number, reply.get("findings", failed)


def _run(
    tasks: Sequence[Task[int]], timeout_s: float, max_rows: int, workers: int | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    left, pending = list(tasks), len(tasks)
    with Pool[int](timeout_s=timeout_s, max_rows=max_rows, workers=workers) as pool:
        while pending:
            while left and pool.has_room:
                batch, left = left[:_BATCH], left[_BATCH:]
                pool.submit(batch)
            for ticket, reply in pool.wait():
                pending -= 1
                yield ticket, reply
