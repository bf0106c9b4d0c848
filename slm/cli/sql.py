"""`slm sql`: the judge by itself, without any model."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from slm.cli.output import Json, emit
from slm.errors import InputError, JobError

if TYPE_CHECKING:
    from slm.records import Example, Verdict

T = TypeVar("T")

sql_app = typer.Typer(help="Judge, run and check SQL, without any model.", no_args_is_help=True)


class Dialect(StrEnum):
    """The databases that can be asked."""

    sqlite = "sqlite"
    duckdb = "duckdb"
    postgres = "postgres"


Database = Annotated[str, typer.Option("--db", help="A SQLite or DuckDB file, or a PostgreSQL DSN.")]
DialectOption = Annotated[Dialect, typer.Option(help="The kind of database.")]
Quoted = Annotated[
    bool, typer.Option("--double-quoted-text", help='"x" may be a text where no column is called x, as in Spider.')
]
Suite = Annotated[str, typer.Argument(metavar="SUITE", help="`SUITE:SPLIT`, or a JSON Lines file of your own.")]
Databases = Annotated[Path | None, typer.Option(help="Folder of the databases, if not the suite's own.")]
Timeout = Annotated[float, typer.Option(min=0.1, help="Seconds a query may run.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes that run SQL; by default one a core.")]


@sql_app.command("judge")
def judge(
    pairs: Annotated[Path, typer.Argument(metavar="PAIRS.jsonl", help="Lines with id, gold, pred and a database.")],
    db_dir: Annotated[Path | None, typer.Option("--db-dir", help="Folder in which `db` is looked for.")] = None,
    instances: Annotated[int, typer.Option(min=0, help="Further instances that right answers are tried on.")] = 16,
    double_quoted_text: Quoted = False,
    transpile_from: Annotated[str | None, typer.Option(help="Dialect of the queries, if not the database's.")] = None,
    timeout_s: Timeout = 30.0,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Say of each pair of queries whether the prediction is right, why not, and how sure that is; one line a pair.

    Example: slm sql judge pairs.jsonl --db-dir databases
    """
    from slm.progress import Meter
    from slm.sql import judge as judge_pairs
    from slm.sql import read_pairs

    found = list(read_pairs(pairs, databases=db_dir, double_quoted_text=double_quoted_text))
    if transpile_from is not None:
        _require_dialect(transpile_from)
    verdicts = judge_pairs(
        found,
        timeout_s=timeout_s,
        workers=workers,
        instances=instances,
        witness=True,
        transpile_from=transpile_from,
    )
    if as_json or not sys.stdout.isatty():
        _stream(verdicts)
        return
    kept, right = [], 0
    with Meter("judge", len(found), unit="pairs") as meter:
        for verdict in verdicts:
            kept.append(verdict)
            right += bool(verdict.correct)
            meter.advance(note=f"{right / len(kept):.1%} right")
    _show(kept)


def _stream(verdicts: Iterator[Verdict]) -> None:
    """One JSON object a line, as they come."""
    for verdict in verdicts:
        print(json.dumps(_line(verdict), ensure_ascii=False), flush=True)


def _line(verdict: Verdict) -> dict[str, Any]:
    line = verdict.model_dump(mode="json")
    return {"id": line.pop("example_id")} | line


def _show(verdicts: list[Verdict]) -> None:
    rows = [
        {
            "id": verdict.example_id,
            "correct": {True: "yes", False: "no", None: "?"}[verdict.correct],
            "level": verdict.level,
            "reason": verdict.reason + (" (fragile)" if verdict.fragile else ""),
            "bird": None if verdict.readings is None else _yes(verdict.readings.bird),
            "test_suite": None if verdict.readings is None else _yes(verdict.readings.test_suite),
            "detail": verdict.detail,
        }
        for verdict in verdicts
    ]
    emit(rows, as_json=False)
    counts = Counter({True: "right", False: "wrong", None: "undetermined"}[verdict.correct] for verdict in verdicts)
    print(", ".join(f"{count} {name}" for name, count in counts.most_common()), f"of {len(verdicts)}")


def _yes(value: bool) -> str:
    return "yes" if value else "no"


@sql_app.command("run")
def run(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One query.")],
    db: Database,
    dialect: DialectOption = Dialect.sqlite,
    double_quoted_text: Quoted = False,
    timeout_s: Timeout = 30.0,
    max_rows: Annotated[int, typer.Option(min=1, help="More rows than this are refused.")] = 100_000,
    as_json: Json = False,
) -> None:
    """Run one query in the judge's sandbox: read-only, bounded in time, memory and rows.

    Example: slm sql run "SELECT count(*) FROM customers" --db shop.sqlite
    """
    from slm.sql import run_query

    _require(db, dialect)
    reply = run_query(
        sql,
        db,
        dialect=dialect.value,
        double_quoted_text=double_quoted_text,
        timeout_s=timeout_s,
        max_rows=max_rows,
    )
    _refuse(reply)
    emit([dict(zip(_unique(reply["columns"]), row, strict=True)) for row in reply["rows"]], as_json=as_json)
    print(f"{len(reply['rows'])} rows in {reply['ms']:.1f} ms", file=sys.stderr)


@sql_app.command("check")
def check(
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One query.")],
    db: Database,
    dialect: DialectOption = Dialect.sqlite,
    double_quoted_text: Quoted = False,
    as_json: Json = False,
) -> None:
    """Parse one query, look up its names and say what the judge would refuse or find doubtful.

    Example: slm sql check "SELECT name FROM customers LIMIT 3" --db shop.sqlite
    """
    from slm.sql import lint_golds, run_query

    _require(db, dialect)
    _refuse(run_query(sql, db, dialect=dialect.value, double_quoted_text=double_quoted_text, only_check=True))
    findings: list[dict[str, Any]] = []
    if dialect is Dialect.sqlite:
        ((_, findings),) = lint_golds([(sql, Path(db))], double_quoted_text=double_quoted_text, workers=1)
        for finding in findings:
            if finding["kind"] in ("failed", "timeout"):
                raise JobError(finding["detail"])
    emit(findings or [{"kind": "good", "detail": "one query, and every name is known"}], as_json=as_json)


@sql_app.command("lint-golds")
def lint_golds(
    suite: Suite,
    databases: Databases = None,
    timeout_s: Timeout = 30.0,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """List the golds of a suite that fail, return nothing, leave the answer open, or mean other than they say.

    Example: slm sql lint-golds roastery:test
    """
    from slm.sql import lint_golds as lint

    golds, quoted = _golds(suite, databases)
    pairs = ((sql, path) for _, sql, path in golds)
    found = _collect("lint", len(golds), lint(pairs, double_quoted_text=quoted, timeout_s=timeout_s, workers=workers))
    rows = [
        {"id": example.id, "db": example.context_id, **finding}
        for (example, _, _), findings in zip(golds, found, strict=True)
        for finding in findings
    ]
    emit(rows, as_json=as_json)
    counts = Counter(row["kind"] for row in rows)
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.most_common()) or "nothing"
    print(f"{len(golds)} golds, {len({row['id'] for row in rows})} with findings: {kinds}", file=sys.stderr)


@sql_app.command("kill-scores")
def kill_scores(
    suite: Suite,
    databases: Databases = None,
    instances: Annotated[int, typer.Option(min=1, help="Further instances for each gold.")] = 16,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Make the further instances of a suite's golds, and say how many near-misses of each gold they tell apart.

    Example: slm sql kill-scores roastery:test
    """
    from statistics import median

    from slm.sql import kill_scores as score

    golds, quoted = _golds(suite, databases)
    pairs = ((sql, path) for _, sql, path in golds)
    found = _collect(
        "kill scores", len(golds), score(pairs, instances=instances, double_quoted_text=quoted, workers=workers)
    )
    rows, scores = [], list[float]()
    for (example, _, _), reply in zip(golds, found, strict=True):
        share = round(reply["killed"] / reply["mutants"], 4) if reply.get("mutants") else None
        scores += [] if share is None else [share]
        counts = {key: reply.get(key) for key in ("mutants", "killed", "fragile_killed", "instances")}
        rows.append({"id": example.id, "db": example.context_id, "kill_score": share, **counts})
    emit(rows, as_json=as_json)
    middle = f", median kill score {median(scores):.3f}" if scores else ""
    print(f"{len(rows)} golds, {len(scores)} with neighbours{middle}", file=sys.stderr)


def _collect(label: str, count: int, results: Iterable[tuple[int, T]]) -> list[T]:
    """What comes with a number, in the order of the numbers, under a meter."""
    from slm.progress import Meter

    found: dict[int, T] = {}
    with Meter(label, count, unit="golds") as meter:
        for number, result in results:
            found[number] = result
            meter.advance()
    return [found[number] for number in sorted(found)]


def _golds(suite: str, databases: Path | None) -> tuple[list[tuple[Example, str, Path]], bool]:
    """Every gold of a suite with its database, and whether text may stand in double quotes."""
    from slm.data import load_dataset

    dataset = load_dataset(suite, databases=databases)
    golds = [
        (example, gold, dataset.contexts[example.context_id])
        for example in dataset.available
        for gold in example.targets
    ]
    return golds, dataset.double_quoted_text


def _require(db: str, dialect: Dialect) -> None:
    if dialect is not Dialect.postgres and not Path(db).is_file():
        raise InputError("no such file", where=db, expected=f"a {dialect.value} database")


def _require_dialect(name: str) -> None:
    from sqlglot import Dialect as SqlDialect
    from sqlglot.dialects import DIALECTS

    if SqlDialect.get(name) is None:
        raise InputError("no such dialect", where=name, expected=", ".join(map(str.lower, DIALECTS)))


def _refuse(reply: dict[str, Any]) -> None:
    if reply["reason"] != "ok":
        raise JobError(f"{reply['reason']}: {reply.get('detail')}")


def _unique(labels: list[str]) -> list[str]:
    """Labels that can be keys: the second `name` becomes `name (2)`."""
    seen: Counter[str] = Counter()
    names = []
    for label in labels:
        seen[label] += 1
        names.append(label if seen[label] == 1 else f"{label} ({seen[label]})")
    return names
