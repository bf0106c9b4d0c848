"""`slm cost`: what recorded answers cost, hosted and on one's own machines, and from which volume on the latter pay."""

from __future__ import annotations

import sys
from datetime import date
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slm.cli.cost_table import show_cost
from slm.cli.output import Json
from slm.errors import InputError

if TYPE_CHECKING:
    from slm.bench import Hosting, Price, Report, System, Tokens
    from slm.bench.cascade import Cascade
    from slm.train.plan.hardware import Device

Own = Annotated[
    list[str] | None,
    typer.Argument(metavar="RESULT", help="A published result, or a result file, of a model that you serve yourself."),
]
Hosted = Annotated[
    list[str] | None,
    typer.Option(metavar="MODEL[=RESULT]", help="A hosted model, with the result of its answers. Again for another."),
]
Stated = Annotated[
    list[str] | None,
    typer.Option("--price", metavar="MODEL=IN[,CACHED],OUT", help="Another price of it, in USD per million tokens."),
]
Prices = Annotated[Path | None, typer.Option(help="Folder of price sheets that go before those of slm.")]
Batch = Annotated[bool, typer.Option("--batch", help="Hosted at the price for answers within a day.")]
Input = Annotated[float | None, typer.Option(min=0, help="Input tokens of a hosted answer, where none were recorded.")]
Cached = Annotated[float | None, typer.Option(min=0, help="So many of its input tokens come from the cache.")]
Output = Annotated[float | None, typer.Option(min=0, help="Output tokens of one, where none were recorded.")]
TokensOf = Annotated[
    Path | None,
    typer.Option(metavar="REPORT", help="Take the three from this report of `slm bench`, where they are not stated."),
]
Gpu = Annotated[str | None, typer.Option(metavar="GPU", help="Serve on this GPU of configs/hardware.yaml.")]
Hourly = Annotated[float | None, typer.Option(min=1e-6, help="USD an hour of a machine, whatever the sheet says.")]
Throughput = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ANSWERS_PER_S[,LOW,HIGH]|REPORT",
        help="What one machine was measured to answer within your latency, or the report of `slm bench` that says so; "
        "once for each RESULT, in their order.",
    ),
]
Utilisation = Annotated[
    float | None, typer.Option(min=0.001, max=1, help="Mean share of the throughput that comes in, such as 0.4.")
]
Idle = Annotated[float, typer.Option(min=0, max=23.9, help="Hours of a day that are paid and bring no question.")]
Watts = Annotated[float | None, typer.Option(min=1e-6, help="Mean draw of a machine, where energy is paid apart.")]
Energy = Annotated[float | None, typer.Option("--usd-per-kwh", min=1e-6, help="What that energy costs.")]
Volume = Annotated[float | None, typer.Option(min=1, help="Answers a day that you need.")]
PageFile = Annotated[
    Path | None, typer.Option(metavar="FILE.md", help="Also write a page to pass on, with a picture and all figures.")
]
CascadeFile = Annotated[
    Path | None, typer.Option("--cascade", metavar="FILE", help="Show on the page what `slm cascade --json` wrote.")
]
PublishCost = Annotated[
    bool, typer.Option("--publish", help="Also put the cost of right answers into these results, for the leaderboard.")
]
Results = Annotated[Path, typer.Option(help="Folder of the published results.")]


def cost(
    own: Own = None,
    hosted: Hosted = None,
    price: Stated = None,
    prices: Prices = None,
    batch: Batch = False,
    input_tokens: Input = None,
    cached_tokens: Cached = None,
    output_tokens: Output = None,
    tokens_of: TokensOf = None,
    gpu: Gpu = None,
    usd_per_hour: Hourly = None,
    throughput: Throughput = None,
    utilisation: Utilisation = None,
    idle_hours: Idle = 0,
    watts: Watts = None,
    usd_per_kwh: Energy = None,
    volume: Volume = None,
    results: Results = Path("eval/results"),
    page: PageFile = None,
    cascade: CascadeFile = None,
    publish: PublishCost = False,
    as_json: Json = False,
) -> None:
    """Reckon what answers cost, and right answers, from recorded results and dated prices; nothing is run.

    What was neither measured nor stated is a dash.
    Example: slm cost --hosted gpt-4=DAIL-SQL-GPT-4 --input-tokens 1600 --output-tokens 40
    """
    from slm.bench import Report, age_warning, crossings
    from slm.cli.cost_inputs import hostings, machine, prices_of, split_hosted, stated_tokens

    if not own and not hosted:
        raise InputError("nothing to reckon with", where="slm cost", expected="a RESULT, or --hosted MODEL")
    if page is None and cascade is not None:
        raise InputError("there is no page to show it on", where=f"--cascade {cascade}", hint="--page FILE.md")
    names, flows, today = own or [], throughput or [], date.today()
    tokens = stated_tokens(input_tokens, cached_tokens, output_tokens, tokens_of)
    served, warnings = machine(gpu, usd_per_hour, today)
    hosting = hostings(names, flows, served, utilisation, idle_hours, watts, usd_per_kwh)
    mine = _own_systems(names, hosting, flows, served, results, volume)
    models = [split_hosted(each) for each in hosted or []]
    used = prices_of([model for model, _ in models], price or [], prices, today)
    theirs = _hosted_systems(used, [name for _, name in models], tokens, results, volume, batch=batch)
    warnings += [age_warning(each.model, each.date, today) for each in used]
    for warning in filter(None, warnings):
        print(f"warning: {warning}", file=sys.stderr)
    systems = (*(system for system, _ in mine), *theirs)
    report = Report(systems=systems, break_even=tuple(crossings(mine, theirs)), prices=tuple(used))
    if page is not None:
        for file in _write_page(report, mine, flows, page, today, cascade):
            print(f"wrote {file}", file=sys.stderr)
    if publish:
        of_own = f"${served.usd_per_hour:g} an hour, {utilisation:.0%} used" if served and utilisation else ""
        paid = [(name, system, of_own) for name, (system, _) in zip(names, mine, strict=True)]
        paid += [
            (name, system, f"price of {each.model}, {each.date}")
            for (_, name), system, each in zip(models, theirs, used, strict=True)
            if name
        ]
        _publish(paid, results)
    show_cost(report, as_json=as_json)


def _own_systems(
    names: list[str], hosting: list[Hosting | None], flows: list[str], served: Device | None, results: Path,
    volume: float | None,
) -> list[tuple[System, Hosting | None]]:  # fmt: skip
    from slm.bench import own_system
    from slm.cli.cost_inputs import latency_of
    from slm.cli.published import find_file
    from slm.leaderboard import read_result

    described = "yourself"
    if served is not None:
        described += f": {served.name}, ${served.usd_per_hour:,.2f} an hour"
    found = []
    for name, each, flow in zip_longest(names, hosting, flows):
        result = read_result(find_file(name, results))
        system = own_system(result, described, each, answers_per_day=volume, latency=latency_of(flow))
        found.append((system, each))
    return found


def _hosted_systems(
    prices: list[Price], names: list[str | None], tokens: Tokens, results: Path, volume: float | None, *, batch: bool
) -> list[System]:
    from slm.bench import hosted_system
    from slm.cli.published import find_file
    from slm.leaderboard import read_result

    found = [read_result(find_file(name, results)) if name else None for name in names]
    return [
        hosted_system(price, result, tokens, batch=batch, answers_per_day=volume)
        for price, result in zip(prices, found, strict=True)
    ]


def _publish(costs: list[tuple[str, System, str]], results: Path) -> None:
    """Put costs, each of a result, with what was paid for it, into the results."""
    from slm.cli.published import find_file, publish_cost

    for name, system, paid in costs:
        publish_cost(find_file(name, results), system, paid=paid)


def _write_page(
    report: Report, own: list[tuple[System, Hosting | None]], throughput: list[str], page: Path, today: date,
    cascade: Path | None,
) -> list[Path]:  # fmt: skip
    from slm.bench.curves import cascade_curve, load_curves, volume_curves
    from slm.bench.load import read_report
    from slm.bench.page import Page, write_page

    measured = [(system, flow) for (system, _), flow in zip(own, throughput, strict=False) if Path(flow).is_file()]
    curves = [curve for system, flow in measured for curve in load_curves(system, read_report(Path(flow)))]
    curves += volume_curves(own, [system for system in report.systems if system.hosted])
    if cascade is not None:
        curves.append(cascade_curve(_read_cascade(cascade), cascade.stem))
    return write_page(Page(report=report, curves=tuple(curves)), page, today)


def _read_cascade(file: Path) -> Cascade:
    from pydantic import TypeAdapter, ValidationError

    from slm.bench.cascade import Cascade

    try:
        (found,) = TypeAdapter(tuple[Cascade]).validate_json(file.read_bytes())
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        expected = "what slm cascade SMALL LARGE SUITE --json prints"
        raise InputError(f"no cascade: {reason}", where=str(file), expected=expected) from None
    return found
