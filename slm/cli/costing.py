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
    from slm.bench import Hosting, Latency, Price, Report, Span, System, Tokens
    from slm.bench.cascade import Cascade
    from slm.bench.load import Figures
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
    from slm.bench import Report, age_warning, crossings, hosted_system, own_system
    from slm.cli.published import find_file, publish_cost
    from slm.leaderboard import read_result

    if not own and not hosted:
        raise InputError("nothing to reckon with", where="slm cost", expected="a RESULT, or --hosted MODEL")
    tokens, today = _stated_tokens(input_tokens, cached_tokens, output_tokens, tokens_of), date.today()
    served, warnings = _served(gpu, usd_per_hour, today)
    hostings = _hostings(own or [], throughput or [], served, utilisation, idle_hours, watts, usd_per_kwh)
    mine = [
        (
            own_system(
                read_result(find_file(name, results)),
                _describe(served),
                hosting,
                answers_per_day=volume,
                latency=_latency(each),
            ),
            hosting,
        )
        for name, hosting, each in zip_longest(own or [], hostings, throughput or [])
    ]
    models = [_split(each) for each in hosted or []]
    used = _prices([model for model, _ in models], price or [], prices, today)
    theirs = [
        hosted_system(
            each, read_result(find_file(name, results)) if name else None, tokens, batch=batch, answers_per_day=volume
        )
        for each, (_, name) in zip(used, models, strict=True)
    ]
    warnings += [age_warning(each.model, each.date, today) for each in used]
    for warning in filter(None, warnings):
        print(f"warning: {warning}", file=sys.stderr)
    systems = (*(system for system, _ in mine), *theirs)
    report = Report(systems=systems, break_even=tuple(crossings(mine, theirs)), prices=tuple(used))
    if page is None and cascade is not None:
        raise InputError("there is no page to show it on", where=f"--cascade {cascade}", hint="--page FILE.md")
    if page is not None:
        for file in _write_page(report, mine, throughput or [], page, today, cascade):
            print(f"wrote {file}", file=sys.stderr)
    if publish:
        of_own = f"${served.usd_per_hour:g} an hour, {utilisation:.0%} used" if served and utilisation else ""
        for name, (system, _) in zip(own or [], mine, strict=True):
            publish_cost(find_file(name, results), system, paid=of_own)
        for (_, answers), system, each in zip(models, theirs, used, strict=True):
            if answers:
                publish_cost(find_file(answers, results), system, paid=f"price of {each.model}, {each.date}")
    show_cost(report, as_json=as_json)


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


def _split(hosted: str) -> tuple[str, str | None]:
    model, _, result = hosted.partition("=")
    return model, result or None


def _stated_tokens(given: float | None, cached: float | None, output: float | None, report: Path | None) -> Tokens:
    from slm.bench import Tokens

    if report is not None:
        load = _load_of(report)
        given = load.prompt_tokens if given is None else given
        cached = load.cached_tokens if cached is None else cached
        output = load.completion_tokens if output is None else output
    return Tokens(input=given, cached_input=cached or 0, output=output)


def _prices(models: list[str], stated: list[str], folder: Path | None, today: date) -> list[Price]:
    from slm.bench import find_price

    known = {price.model: price for price in (_stated_price(each, today) for each in stated)}
    if unused := sorted(known.keys() - set(models)):
        raise InputError(
            "no --hosted names this model", where=f"--price {unused[0]}", expected=" or ".join(models) or None
        )
    folders = [folder] if folder else []
    return [known.get(model) or find_price(model, today=today, folders=folders) for model in models]


def _stated_price(text: str, today: date) -> Price:
    from pydantic import ValidationError

    from slm.bench import Price, Rates

    model, _, prices = text.partition("=")
    numbers = _numbers(prices, "--price", text, counts=(2, 3))
    cached = numbers[1] if len(numbers) == 3 else None
    try:
        rates = Rates(input_usd_per_mtok=numbers[0], cached_input_usd_per_mtok=cached, output_usd_per_mtok=numbers[-1])
    except ValidationError as error:
        raise InputError(error.errors()[0]["msg"], where=f"--price {text}") from None
    unlimited = {"batch": None, "prompt_limit_tokens": None}
    return Price(model=model, provider="stated", realtime=rates, source="--price", date=today, **unlimited)


def _served(gpu: str | None, usd_per_hour: float | None, today: date) -> tuple[Device | None, list[str | None]]:
    """The machine, with the price that counts, and what is to be said of that price."""
    from dataclasses import replace

    from slm.bench import age_warning
    from slm.train.plan.hardware import Device, find_device

    if gpu is None and usd_per_hour is None:
        return None, []
    device = find_device(gpu) if gpu else Device("own machine", 0, on_gpu=False)
    if usd_per_hour is not None:
        return replace(device, usd_per_hour=usd_per_hour, price_note="stated"), []
    if device.usd_per_hour is None or device.price_date is None:
        raise InputError("the sheet has no price of it", where=f"--gpu {gpu}", hint="state it with --usd-per-hour")
    return device, [age_warning(f"{device.name} ({device.price_note})", device.price_date, today)]


def _describe(device: Device | None) -> str:
    return "yourself" if device is None else f"yourself: {device.name}, ${device.usd_per_hour:,.2f} an hour"


def _hostings(
    own: list[str],
    throughput: list[str],
    device: Device | None,
    utilisation: float | None,
    idle_hours: float,
    watts: float | None,
    usd_per_kwh: float | None,
) -> list[Hosting | None]:
    """How each own result is served; None where no throughput says how many answers an hour gives."""
    from slm.bench import Hosting

    if not throughput:
        return [None] * len(own)
    if len(throughput) != len(own):
        expected = f"{len(own)}, one for each RESULT"
        raise InputError(f"{len(throughput)} throughputs are given", where="--throughput", expected=expected)
    if device is None or device.usd_per_hour is None or utilisation is None:
        hint = "state --gpu or --usd-per-hour, and --utilisation"
        raise InputError("a throughput alone says nothing of the cost", where="--throughput", hint=hint)
    if (watts is None) != (usd_per_kwh is None):
        raise InputError("energy needs both", where="--watts, --usd-per-kwh")
    machine = Hosting(
        usd_per_hour=device.usd_per_hour,
        watts=watts,
        usd_per_kwh=usd_per_kwh,
        utilisation=utilisation,
        idle_hours_per_day=idle_hours,
    )
    return [machine.model_copy(update={"answers_per_s": _throughput(each)}) for each in throughput]


def _load_of(report: Path) -> Figures:
    """The load of a report of `slm bench` that counts."""
    from slm.bench.load import best_load, read_report

    return best_load(read_report(report))


def _latency(throughput: str | None) -> Latency | None:
    """Of the report that the throughput is from; None where a number was stated."""
    if throughput is None or not Path(throughput).is_file():
        return None
    from slm.bench import Latency

    total = _load_of(Path(throughput)).latency.total_s
    return Latency(p50_s=total.p50, p95_s=total.p95) if total else None


def _throughput(text: str) -> Span:
    from slm.bench import Span

    if Path(text).is_file():
        flow = _load_of(Path(text)).throughput
        return Span.of(flow.answers_per_s or 0.0, flow.answers_per_s_low or None, flow.answers_per_s_high)
    value, low, high = (_numbers(text, "--throughput", text, counts=(1, 3)) * 3)[:3]
    if not 0 < low <= value <= high:
        expected = "a number above 0, or VALUE,LOW,HIGH with the value between the others"
        raise InputError("no throughput", where=f"--throughput {text}", expected=expected)
    return Span.of(value, low, high)


def _numbers(text: str, option: str, given: str, *, counts: tuple[int, ...]) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts or not all(0 <= number < float("inf") for number in numbers):
        expected = f"{' or '.join(map(str, counts))} numbers with commas between them"
        raise InputError("not to be read", where=f"{option} {given}", expected=expected)
    return numbers
