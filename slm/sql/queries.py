"""One query, or a list of golds, put to a database through the sandbox."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from slm.sql.hints import with_hint
from slm.sql.judge import hash_of, source_of
from slm.sql.sandbox.pool import Pool, Task
from slm.sql.store import Store

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
    tasks = _tasks("lint", golds, {"double_quoted_text": double_quoted_text})
    for number, reply in _run(tasks, timeout_s, max_rows, workers):
        failed = [{"kind": "failed", "detail": f"{reply.get('reason')}: {reply.get('detail')}"}]
        yield number, reply.get("findings", failed)


def kill_scores(
    golds: Iterable[tuple[str, Path]],
    *,
    instances: int = 16,
    double_quoted_text: bool = False,
    timeout_s: float = 30.0,
    max_rows: int = 100_000,
    workers: int | None = None,
    store: Path | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """(index, counts) for each gold and its SQLite database, as they come.

    `mutants` neighbours of the gold ran, `killed` of them differ from it on one of the further instances, and
    `fragile_killed` more only where a rule is broken that the schema does not declare. `reason` is not `ok` for a gold
    that fails. The instances go to the store, as the judge's own.
    """
    kept = Store(store)
    options = {"double_quoted_text": double_quoted_text, "instances": instances, "store": str(kept.path)}
    try:
        for number, reply in _run(_tasks("score", golds, options, hashed=True), timeout_s, max_rows, workers):
            kept.put(reply.pop("made", None) or {})
            yield number, reply
    finally:
        kept.close()


def _tasks(
    kind: str, golds: Iterable[tuple[str, Path]], options: dict[str, Any], *, hashed: bool = False
) -> list[Task[int]]:
    tasks = []
    for number, (sql, database) in enumerate(golds):
        request = {"kind": kind, "engine": "sqlite", "source": source_of("sqlite", database), "sql": sql, **options}
        if hashed:
            request["hash"] = hash_of(database)
        tasks.append(Task(number, "sqlite", request))
    return tasks


def _run(
    tasks: Sequence[Task[int]], timeout_s: float, max_rows: int, workers: int | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    left, pending = list(tasks), len(tasks)
    with Pool[int](timeout_s=timeout_s, max_rows=max_rows, workers=workers) as pool:
        while pending:
            while left and pool.is_hungry:
                batch, left = left[:_BATCH], left[_BATCH:]
                pool.add(batch)
            for ticket, reply in pool.wait():
                pending -= 1
                yield ticket, reply
