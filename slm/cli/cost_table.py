"""How `slm cost` shows what it has reckoned on a terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from slm.cli.output import emit, rate_text

if TYPE_CHECKING:
    from slm.bench import Crossing, Report, Span, System


def show_cost(report: Report, *, as_json: bool) -> None:
    """A table of the systems, the break-even volumes, and where the prices are from; JSON where no person reads."""
    if as_json or not sys.stdout.isatty():
        emit([report.model_dump(mode="json")], as_json=True)
        return
    columns = {f"{system.system}, {system.served}": _figures(system) for system in report.systems}
    names = next(iter(columns.values()))
    emit([{"": name, **{head: column[name] for head, column in columns.items()}} for name in names], as_json=False)
    if report.break_even:
        rows = [_crossing(each) for each in report.break_even]
        emit(rows, as_json=False, title="answers a day from which your own machines cost no more")
    for price in report.prices:
        print(f"price of {price.model}: {price.source}, {price.date}")


def _figures(system: System) -> dict[str, str | None]:
    tokens = (system.input_tokens, system.output_tokens)
    return {
        "right": rate_text(system.accuracy),
        "tokens of an answer": " + ".join("–" if count is None else f"{count:.0f}" for count in tokens),
        "USD for 1,000 answers": _usd(system.usd_per_1000_answers),
        "USD for 1,000 right ones": _usd(system.usd_per_1000_correct),
        "USD for 1M tokens": _usd(system.usd_per_mtok_blended),
        "machines": None if system.machines is None else system.machines.text("{:.0f}", infinite="–"),
        "USD a day": _usd(system.usd_per_day),
    }


def _crossing(each: Crossing) -> dict[str, str | None]:
    row: dict[str, str | None] = {"own": each.own, "hosted": each.hosted}
    for name, even in (("answers", each.answers), ("right answers", each.correct)):
        row[name] = None if even is None else even.first.text("{:,.0f}", infinite="never")
        row[f"{name}, for good"] = None if even is None else even.lasting.text("{:,.0f}", infinite="never")
    return row


def _usd(span: Span | None) -> str | None:
    return None if span is None else span.text("{:,.4g}", infinite="–")
