"""What the options of `slm cost` state, read: tokens, prices, machines and throughputs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slm.errors import InputError

if TYPE_CHECKING:
    from datetime import date

    from slm.bench import Hosting, Latency, Price, Span, Tokens
    from slm.bench.load import Figures
    from slm.train.plan.hardware import Device


def split_hosted(hosted: str) -> tuple[str, str | None]:
    """A model's name, and that of the result of its answers."""
    model, _, result = hosted.partition("=")
    return model, result or None


def stated_tokens(given: float | None, cached: float | None, output: float | None, report: Path | None) -> Tokens:
    """Of a hosted answer: those of the report where none are stated."""
    from slm.bench import Tokens

    if report is not None:
        load = _load_of(report)
        given = load.prompt_tokens if given is None else given
        cached = load.cached_tokens if cached is None else cached
        output = load.completion_tokens if output is None else output
    return Tokens(input=given, cached_input=cached or 0, output=output)


def prices_of(models: list[str], stated: list[str], folder: Path | None, today: date) -> list[Price]:
    """The price of each model: the stated one, or the newest of the sheets, those in `folder` first."""
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


def machine(gpu: str | None, usd_per_hour: float | None, today: date) -> tuple[Device | None, list[str | None]]:
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


def hostings(
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
    served = Hosting(
        usd_per_hour=device.usd_per_hour,
        watts=watts,
        usd_per_kwh=usd_per_kwh,
        utilisation=utilisation,
        idle_hours_per_day=idle_hours,
    )
    return [served.model_copy(update={"answers_per_s": _throughput(each)}) for each in throughput]


def _load_of(report: Path) -> Figures:
    """The load of a report of `slm bench` that counts."""
    from slm.bench.load import best_load, read_report

    return best_load(read_report(report))


def latency_of(throughput: str | None) -> Latency | None:
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
