"""What a command prints: a table for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from slm.records import Rate, Result

Json = Annotated[bool, typer.Option("--json", help="Print JSON (the default when the output is not a terminal).")]
Row = Mapping[str, Any]


def emit(rows: Sequence[Row], *, as_json: bool, title: str | None = None) -> None:
    """Print rows of equal keys as a table on a terminal, as a JSON list otherwise."""
    if as_json or not sys.stdout.isatty():
        print(json.dumps(list(rows), indent=2, ensure_ascii=False))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in rows[0] if rows else ():
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*("–" if value is None else str(value) for value in row.values()))
    Console().print(table)


def emit_results(results: Sequence[Result], *, as_json: bool) -> None:
    """Print evaluation results: in JSON complete, as a table side by side with what a person looks for first."""
    if as_json or not sys.stdout.isatty():
        print(json.dumps([result.model_dump(mode="json") for result in results], indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    print_results(results, Console())


def print_results(results: Sequence[Result], console: Console) -> None:
    """One column a result, one row a figure, with 95 % intervals; below, what the wrong answers were."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from slm.leaderboard import tag_columns

    first = results[0]
    judged = f"{first.accuracy.total} questions judged"
    missing = f", {first.unavailable} unavailable" if first.unavailable else ""
    table = Table(title=f"{first.suite}: {judged}{missing}", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("right, with 95 % interval")
    for result in results:
        table.add_column(result.run, justify="right")
    if any(result.constrained for result in results):
        table.add_row("decoding", *("within the schema" if result.constrained else "free" for result in results))
    if any(result.candidates > 1 for result in results):
        table.add_row("candidates", *(str(result.candidates) for result in results))
    table.add_row("execution accuracy", *(rate_text(result.accuracy) for result in results), style="bold")
    if any(result.undetermined for result in results):
        table.add_row("undetermined, not counted as right", *(str(result.undetermined) for result in results))
    if any(result.accuracy_shipped for result in results):
        table.add_row("on the shipped data alone", *(rate_text(result.accuracy_shipped) for result in results))
        if any(result.undetermined_shipped for result in results):
            table.add_row("undetermined there", *(str(result.undetermined_shipped) for result in results))
    for name, label in (("bird", "as BIRD's script reads it"), ("test_suite", "as Spider's script reads it")):
        if any(name in result.readings for result in results):
            table.add_row(label, *(rate_text(result.readings.get(name)) for result in results))
    for name, (tag, value) in tag_columns(results).items():
        table.add_row(name, *(rate_text(result.by_tag.get(tag, {}).get(value)) for result in results))
    for name, unit in (("completion_tokens", "tokens"), ("seconds", "s")):
        figures = [getattr(result, f"{name}_per_question") for result in results]
        if any(figure is not None for figure in figures):
            label = f"{name.replace('_', ' ')} per question"
            table.add_row(label, *("–" if figure is None else f"{figure:.2f} {unit}" for figure in figures))
    console.print(table)
    for result in results:
        by_count = sorted(result.by_reason.items(), key=lambda item: -item[1])
        reasons = ", ".join(f"{count} {reason}" for reason, count in by_count)
        console.print(f"{result.run}: {reasons}", highlight=False)


def rate_text(rate: Rate | None) -> str:
    """`84.0% (78% – 89%)`: a share with its interval."""
    if rate is None or rate.value is None or rate.low is None or rate.high is None:
        return "–"
    return f"{rate.value:.1%} ({rate.low:.0%} – {rate.high:.0%})"
