"""Lists what is wrong with a gold: it fails, shows nothing, leaves the answer open, or means other than it says."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from slm.sql.golds.bare import Keys, bare_columns
from slm.sql.golds.expect import admits, expect
from slm.sql.golds.names import Names
from slm.sql.golds.plan import GoldPlan, plan_gold
from slm.sql.golds.texts import double_quoted_texts, texts_as_numbers
from slm.sql.results import Cell, Expected, Refused, ResultSet
from slm.sql.schema import Schema

Run = Callable[[str], ResultSet]

_SHOWN = 60  # characters of a row


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem of a gold; `lint_gold` says which kinds there are."""

    kind: str
    detail: str


def lint_gold(
    sql: str, schema: Schema, run: Run, run_reversed: Run, *, unique: Keys | None = None, dialect: str = "sqlite"
) -> list[Finding]:
    """The problems of a gold, at most one of a kind:

    `failed`, `timeout`: it has no result. `empty`, `only_nulls`: it returns no row, no value.
    `limit_tie`, `unordered_limit`: LIMIT takes some of several rows that differ, with and without ORDER BY.
    `bare_column`: a column beside aggregates that GROUP BY does not determine by any key.
    `text_as_number`: a text column in arithmetic, compared with a number, or sorted or compared as text though all
    its values are numbers. `double_quoted_text`: "x" that is no column. `scan_order`: the result depends on the order
    in which the database happens to read rows.

    `run` returns a query's result or raises Refused; `run_reversed` does so under SQLite's
    `PRAGMA reverse_unordered_selects`. `unique` gives UNIQUE column groups by table name in lower case.
    """
    try:
        gold = run(sql)
    except Refused as refused:
        kind = "timeout" if refused.reason == "timeout" else "failed"
        return [Finding(kind, ": ".join(filter(None, (refused.reason, refused.detail))))]
    plan = plan_gold(sql, dialect)
    ranked = _result(run, plan.ranked)
    expected, ambiguous = expect(plan, gold, ranked.rows if ranked else None)
    findings = [*_about_result(gold), *_about_ties(plan, expected, ambiguous)]
    findings += _about_text(sql, dialect, schema, run, unique or {})
    again = _result(run_reversed, sql)
    if again is not None and not admits(expected, again.rows, _rough):
        findings.append(Finding("scan_order", _first_change(gold, again)))
    return findings


def _result(run: Run, sql: str | None) -> ResultSet | None:
    try:
        return None if sql is None else run(sql)
    except Refused:
        return None


def _about_result(gold: ResultSet) -> Iterator[Finding]:
    if not gold.rows:
        yield Finding("empty", "no rows")
    elif all(cell is None for row in gold.rows for cell in row):
        yield Finding("only_nulls", f"{len(gold.rows)} row{'s' * (len(gold.rows) > 1)} without a value")


def _about_ties(plan: GoldPlan, expected: Expected, ambiguous: bool) -> Iterator[Finding]:
    if not ambiguous:
        return
    cut = next(each for each in expected.segments if each.take < len(each.rows) and len(set(each.rows)) > 1)
    rows = ", ".join(_shown(row) for row in list(dict.fromkeys(cut.rows))[:2])
    kind, words = ("limit_tie", "tied rows") if plan.ordered else ("unordered_limit", "rows")
    yield Finding(kind, f"{cut.take} of {len(cut.rows)} {words}, as {rows}")


def _about_text(sql: str, dialect: str, schema: Schema, run: Run, unique: Keys) -> Iterator[Finding]:
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        tree = sqlglot.parse_one(sql, read=dialect)
    except (SqlglotError, RecursionError):
        return
    names = Names(tree, schema)
    bare = [
        name + {True: " (varies within a group)", False: " (one value a group in this data)", None: ""}[varies]
        for name, varies in bare_columns(tree, names, unique, run)
    ]
    kinds = {
        "bare_column": bare,
        "text_as_number": list(texts_as_numbers(tree, names, run)),
        "double_quoted_text": list(double_quoted_texts(tree, names)),
    }
    for kind, details in kinds.items():
        if details:
            yield Finding(kind, "; ".join(dict.fromkeys(details)))


def _rough(cell: Cell) -> Cell:
    """Sums of floats depend on the order of addition in their last digits."""
    return float(f"{cell:.9g}") if isinstance(cell, float) else cell


def _first_change(gold: ResultSet, again: ResultSet) -> str:
    for before, after in zip(gold.rows, again.rows, strict=False):
        if before != after:
            return f"{_shown(before)} becomes {_shown(after)}"
    return f"{len(gold.rows)} rows become {len(again.rows)}"


def _shown(row: tuple[Cell, ...]) -> str:
    text = repr(row)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
