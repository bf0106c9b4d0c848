"""The report as one page to pass on: a table, a picture of accuracy against cost, break-even volumes, sources."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from slm.bench.cost import Span, pareto
from slm.bench.curves import PERCENTILES, Curve
from slm.bench.prices import age_warning
from slm.bench.report import Crossing, Report, System
from slm.files import write_json, write_text
from slm.pictures import ACCENT, LINE, TEXT, write_picture
from slm.records import Rate, Record

_UNKNOWN = "–"
_COST = "cost"
_TITLES = {
    _COST: "Accuracy against the cost of 1,000 answers",
    "latency": "Time until an answer was whole, by percentile",
    "rate": "Answers a second at each rate of requests",
    "volume": "Cost a day against answers a day",
    "cascade": "Right answers, by the share of questions that the small model sends on",
}


class Page(Record):
    """All that a page shows, as it lies beside it in JSON."""

    report: Report
    curves: tuple[Curve, ...] = ()


def write_page(page: Page, path: Path, today: date) -> list[Path]:
    """Write `path` (.md), all figures beside it as .json, and pictures as .svg and .png; returns what was written.

    There is no picture without matplotlib, and none of what nothing is known of.
    """
    draw: dict[str, Callable[[Any], None]] = {}
    if known := [one for one in page.report.systems if _position(one)]:
        draw[_COST] = lambda figure: _draw(figure, known)
    for kind in dict.fromkeys(curve.kind for curve in page.curves):
        draw[kind] = partial(draw_curves, curves=[curve for curve in page.curves if curve.kind == kind])
    pictures: dict[str, str] = {}
    written = [path, path.with_suffix(".json")]
    for name, each in draw.items():
        files = [path.with_name(f"{path.stem}-{name}{suffix}") for suffix in (".svg", ".png")]
        if write_picture(files, (7, 4), each):
            pictures[name] = files[0].name
            written += files
    write_json(path.with_suffix(".json"), page)
    write_text(path, render_page(page.report, today, pictures))
    return written


def render_page(report: Report, today: date, pictures: Mapping[str, str]) -> str:
    """The page as Markdown; `pictures`: the file name of each kind that there is."""
    questions = {one.questions for one in report.systems if one.accuracy}
    parts = [
        "# What answers cost, and right ones",
        f"Reckoned on {today.isoformat()} by `slm cost` from recorded answers and dated prices. Intervals hold the "
        f"95 % uncertainty of accuracies and measured throughputs. `{_UNKNOWN}`: neither measured nor stated.",
        _table(_HEAD, map(_row, report.systems)),
    ]
    if len(questions) > 1:
        parts.append("**Not all accuracies are of the same questions**: such rows cannot be compared to the point.")
    parts += [
        f"![{_TITLES[kind]}]({pictures[kind]})" for kind in (_COST, "latency", "rate", "cascade") if kind in pictures
    ]
    if report.break_even:
        parts += ["## From which volume your own machines pay", _table(_CROSSING, map(_crossing, report.break_even))]
        parts.append("Answers a day; *for good*: above it the hosted model is never cheaper again.")
        parts += [f"![{_TITLES['volume']}]({pictures['volume']})"] if "volume" in pictures else []
    if report.prices:
        sources = (
            f"- {price.model}: {price.source}, {price.date.isoformat()}"
            + ("" if age_warning(price.model, price.date, today) is None else " (**old**: look whether it still holds)")
            for price in report.prices
        )
        parts += ["## Prices", "\n".join(sources)]
    return "\n\n".join(parts) + "\n"


_COLORS, _MARKS = (LINE, ACCENT, "#3a9d5d", "#b0588f", TEXT), "os^Dv"
_HEAD = ("system", "served", "right", "questions", "USD for 1,000 answers", "USD for 1,000 right ones",
         "answered within, p50 / p95")  # fmt: skip
_CROSSING = ("own", "hosted", "answers", "for good", "right answers", "for good")


def _row(system: System) -> list[str]:
    rate, latency = system.accuracy, system.latency
    return [
        system.system,
        system.served,
        _share(rate),
        _UNKNOWN if rate is None else f"{rate.total:,}",
        _span(system.usd_per_1000_answers, "{:,.4g}", _UNKNOWN),
        _span(system.usd_per_1000_correct, "{:,.4g}", _UNKNOWN),
        "not measured" if latency is None else f"{latency.p50_s:.2f} s / {latency.p95_s:.2f} s",
    ]


def _crossing(each: Crossing) -> list[str]:
    volumes = [
        _span(span, "{:,.0f}", "never")
        for even in (each.answers, each.correct)
        for span in ((even.first, even.lasting) if even else (None, None))
    ]
    return [each.own, each.hosted, *volumes]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def _share(rate: Rate | None) -> str:
    if rate is None or rate.value is None or rate.low is None or rate.high is None:
        return _UNKNOWN
    return f"{rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%})"


def _span(span: Span | None, form: str, infinite: str) -> str:
    return _UNKNOWN if span is None else span.text(form, infinite=infinite, between=" to ")


def _position(system: System) -> tuple[float, float] | None:
    """(USD for 1,000 answers, accuracy in percent); None where one of them is not known, or the cost is nothing."""
    cost, rate = system.usd_per_1000_answers, system.accuracy
    if cost is None or not cost.value or rate is None or rate.value is None:
        return None
    return cost.value, 100 * rate.value


def _at(system: System) -> tuple[float, float]:
    found = _position(system)
    assert found is not None  # noqa: S101 - only systems with a position are drawn
    return found


def _draw(figure: Any, systems: Sequence[System]) -> None:
    panel = figure.add_subplot(xlabel="USD for 1,000 answers", ylabel="right, %")
    best = pareto(systems, _at)
    panel.plot(*zip(*map(_at, best), strict=True), color=TEXT, linestyle="--", linewidth=1, label="nothing is better")
    for number, one in enumerate(systems):
        (usd, right), cost, rate = _at(one), one.usd_per_1000_answers, one.accuracy
        bars: dict[str, Any] = {}
        if rate and rate.low is not None and rate.high is not None:
            bars["yerr"] = [[right - 100 * rate.low], [100 * rate.high - right]]
        if cost and cost.low is not None and cost.high is not None:
            bars["xerr"] = [[usd - cost.low], [cost.high - usd]]
        look = {"fmt": _MARKS[number % len(_MARKS)], "color": _COLORS[number % len(_COLORS)], "label": one.system}
        panel.errorbar(usd, right, capsize=2, **look, **bars)
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter(lambda usd, _: f"{usd:g}")
    panel.set_ylim(0, 100)
    panel.margins(x=0.1)
    panel.legend()


def draw_curves(figure: Any, curves: Sequence[Curve]) -> None:
    """Curves of one kind into one panel: a hosted system's in dashes, each with its name."""
    labels = {
        "latency": ("percentile", "seconds until the answer was whole"),
        "rate": ("requests a second", "answers a second"),
        "volume": ("answers a day", "USD a day"),
        "cascade": ("sent on to the large model, %", "right, %"),
    }
    kind = curves[0].kind
    across, up = labels[kind]
    panel = figure.add_subplot(xlabel=across, ylabel=up)
    for number, curve in enumerate(curves):
        x = range(len(curve.x)) if kind == "latency" else curve.x
        line = "--" if curve.hosted else "-"
        mark = "" if kind in ("volume", "cascade") else _MARKS[number % len(_MARKS)]
        panel.plot(x, curve.y, linestyle=line, marker=mark, color=_COLORS[number % len(_COLORS)], label=curve.system)
    if kind == "latency":
        panel.set_xticks(range(len(PERCENTILES)), [f"p{percentile}" for percentile in PERCENTILES])
        panel.set_ylim(bottom=0)
    if kind == "volume":
        panel.set_xscale("log")
        panel.set_yscale("log")
    if kind == "rate":
        top = max(max(curve.x) for curve in curves)
        panel.plot([0, top], [0, top], color=TEXT, linestyle=":", linewidth=1, label="all are answered at once")
    panel.legend()
