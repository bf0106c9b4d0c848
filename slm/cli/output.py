"""What a command prints: a table for people, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
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
    """Print evaluation results; in JSON complete, as tables the figures a person looks for first."""
    if as_json or not sys.stdout.isatty():
        print(json.dumps([result.model_dump(mode="json") for result in results], indent=2, ensure_ascii=False))
        return
    from rich.console import Console

    for result in results:
        rows: list[Row] = [_figure("execution accuracy", result.accuracy)]
        rows += [
            _figure(f"{tag}: {value}", rate) for tag, rates in result.by_tag.items() for value, rate in rates.items()
        ]
        emit(rows, as_json=False, title=f"{result.run} on {result.suite}")
        reasons = ", ".join(f"{count} {reason}" for reason, count in result.by_reason.items())
        Console().print(
            f"{result.accuracy.total} judged, {result.unavailable} unavailable; {reasons}\n", soft_wrap=True
        )


def _figure(name: str, rate: Rate) -> Row:
    if rate.value is None or rate.low is None or rate.high is None:
        return {"figure": name, "rate": None, "95 % interval": None, "right": rate.right, "of": rate.total}
    interval = f"{rate.low:.1%} – {rate.high:.1%}"
    return {
        "figure": name,
        "rate": f"{rate.value:.1%}",
        "95 % interval": interval,
        "right": rate.right,
        "of": rate.total,
    }
