"""What answers cost: hosted by their tokens, on one's own machines by their hours. Formulas only; nothing is looked up.

`Span` carries what is not known exactly from a measurement to the figure made of it. A figure that needs a measurement
that was not made is `None`.
"""

from collections.abc import Callable, Iterable
from math import ceil, inf, isinf
from typing import Annotated, Self, TypeVar

from pydantic import Field, model_validator

from slm.bench.prices import Price, Rates
from slm.errors import InputError
from slm.records import Rate, Record

Item = TypeVar("Item")

_M = 1_000_000
_SECONDS_PER_HOUR = 3600
_HOURS_PER_DAY = 24
Count = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Span(Record):
    """A figure with its bounds, low <= value <= high. `None` is infinity, which JSON cannot hold."""

    value: float | None
    low: float | None
    high: float | None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.bounds[0] <= self.bounds[1] <= self.bounds[2]:
            raise ValueError("the bounds do not hold the value")
        return self

    @classmethod
    def of(cls, value: float, low: float | None = None, high: float | None = None) -> Self:
        """A figure with bounds that may be infinite; without bounds it is exact."""
        bounds = (value, value if low is None else low, value if high is None else high)
        finite = [None if isinf(bound) else bound for bound in bounds]
        return cls(value=finite[0], low=finite[1], high=finite[2])

    def text(self, form: str, *, infinite: str, between: str = " – ") -> str:
        """`1.2 (1.1 – 1.3)`, or the value alone where it is exact; `form` is that of a number."""
        low, value, high = (infinite if isinf(bound) else form.format(bound) for bound in self.bounds)
        return value if low == value == high else f"{value} ({low}{between}{high})"

    @property
    def bounds(self) -> tuple[float, float, float]:
        """Low, value and high as numbers that can be reckoned with."""
        low, value, high = (inf if bound is None else bound for bound in (self.low, self.value, self.high))
        return low, value, high

    def over(self, divisor: "Span") -> "Span":
        """This divided by another: low by its high, high by its low. What is divided by zero is infinite."""
        pairs = zip(self.bounds, reversed(divisor.bounds), strict=True)
        low, value, high = (above / below if below else inf for above, below in pairs)
        return Span.of(value, low, high)

    def times(self, factor: float) -> "Span":
        """This, multiplied by a number that is known exactly."""
        low, value, high = (bound * factor if factor else 0.0 for bound in self.bounds)
        return Span.of(value, low, high)


class Usage(Record):
    """What requests took, all together: `input_tokens` with those of the cache, `cached_input_tokens` of them alone.

    Not whole where it was made of means.
    """

    requests: Positive
    input_tokens: Count
    cached_input_tokens: Count = 0
    output_tokens: Count

    @model_validator(mode="after")
    def _cached_are_input(self) -> Self:
        if self.cached_input_tokens > self.input_tokens:
            raise ValueError("more cached input tokens than input tokens")
        return self

    def __add__(self, other: "Usage") -> "Usage":
        """Both together."""
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in Usage.model_fields})


class Hosting(Record):
    """One kind of machine that a model is served on, and how it is used.

    `usd_per_hour` is paid for all hours of all days. `watts`, with `usd_per_kwh`: the mean draw over these hours, where
    energy is paid apart. `answers_per_s`: what one machine was measured to answer while it kept the objective for its
    latency, None where that was not measured. `utilisation`: the share of it that comes in on average in the hours in
    which anything comes in; in `idle_hours_per_day` of the 24 nothing does.
    """

    usd_per_hour: Positive
    watts: Positive | None = None
    usd_per_kwh: Positive | None = None
    answers_per_s: Span | None = None
    utilisation: Annotated[float, Field(gt=0, le=1)]
    idle_hours_per_day: Annotated[float, Field(ge=0, lt=24)] = 0

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.watts is None) != (self.usd_per_kwh is None):
            raise ValueError("energy needs both watts and usd_per_kwh")
        if self.answers_per_s is not None and (
            self.answers_per_s.bounds[0] <= 0 or isinf(self.answers_per_s.bounds[2])
        ):
            raise ValueError("answers_per_s must be above 0 and finite")
        return self

    @property
    def machine_usd_per_day(self) -> float:
        """24 h x (USD per hour + W / 1000 x USD per kWh), whether the machine is used or not."""
        return _HOURS_PER_DAY * (self.usd_per_hour + (self.watts or 0) / 1000 * (self.usd_per_kwh or 0))

    @property
    def machine_answers_per_day(self) -> Span | None:
        """answers/s x 3600 x utilisation x (24 - idle hours)."""
        hours = _HOURS_PER_DAY - self.idle_hours_per_day
        return self.answers_per_s and self.answers_per_s.times(_SECONDS_PER_HOUR * self.utilisation * hours)


def hosted_usd(usage: Usage, rates: Rates) -> float:
    """((input - cached) x input price + cached x cached price + output x output price) / 1,000,000.

    Without a price for cached input it costs as other input. What some providers charge for writing to the cache, or
    for keeping it, is not in it.
    """
    cached = rates.cached_input_usd_per_mtok
    cached = rates.input_usd_per_mtok if cached is None else cached
    return (
        (usage.input_tokens - usage.cached_input_tokens) * rates.input_usd_per_mtok
        + usage.cached_input_tokens * cached
        + usage.output_tokens * rates.output_usd_per_mtok
    ) / _M


def price_usd(usage: Usage, price: Price, *, batch: bool = False) -> float:
    """`hosted_usd` at once or as a batch. Raises InputError if there is no batch, or for prompts beyond the limit."""
    rates = price.batch if batch else price.realtime
    if rates is None:
        raise InputError("no price for batches is known", where=price.model, hint="leave --batch away")
    limit = price.prompt_limit_tokens
    if limit is not None and (mean := usage.input_tokens / usage.requests) > limit:
        raise InputError(
            f"a prompt has {mean:,.0f} tokens, and above {limit:,} it costs more than the price says",
            where=price.model,
            hint="state the price of long prompts: --price MODEL=INPUT,OUTPUT",
        )
    return hosted_usd(usage, rates)


def usd_per_mtok(usd: Span, tokens: float) -> Span | None:
    """All of `usd` over `tokens`, per million; None where there are none.

    Over the input tokens, the output tokens or both (blended) these are three views of one cost, not parts of it.
    """
    return usd.times(_M / tokens) if tokens else None


def own_usd_per_answer(hosting: Hosting, answers_per_day: float | None = None) -> Span | None:
    """USD per answer, of machines that are all as busy as they may be, or, at a volume, of as many as it needs."""
    if hosting.machine_answers_per_day is None:
        return None
    if answers_per_day is None:
        return Span.of(hosting.machine_usd_per_day).over(hosting.machine_answers_per_day)
    per_day = own_usd_per_day(hosting, answers_per_day)
    return per_day and per_day.times(1 / answers_per_day)


def machines(hosting: Hosting, answers_per_day: float) -> Span | None:
    """Whole machines that a volume needs: ceil(answers per day / answers per machine and day), and at least one."""
    capacity = hosting.machine_answers_per_day
    if capacity is None:
        return None
    # A volume that fills its machines exactly needs no more, whatever the last digit says.
    low, value, high = (max(1, ceil(round(answers_per_day / bound, 9))) for bound in reversed(capacity.bounds))
    return Span.of(value, low, high)


def own_usd_per_day(hosting: Hosting, answers_per_day: float) -> Span | None:
    """Machines x USD per machine and day: a machine costs the same however little it is used."""
    count = machines(hosting, answers_per_day)
    return count and count.times(hosting.machine_usd_per_day)


def per_correct(usd: Span, accuracy: Rate) -> Span | None:
    """`usd` of an answer, or of so many, over the share that is right; None where nothing was judged.

    The low bound is the low cost over the high bound of the accuracy, the high bound the opposite: worst with worst. Of
    two 95 % intervals that holds with 90 % at least (Bonferroni), and of an exact cost with 95 %.
    """
    share = _share(accuracy)
    return share and usd.over(share)


class BreakEven(Record):
    """Answers a day from which one's own machines cost no more than the hosted model; a `None` in a span: never.

    `first` is the smallest such volume. Above it each machine that is added may make the hosted model cheaper again
    for a while; above `lasting` it never is.
    """

    first: Span
    lasting: Span


def break_even(
    hosting: Hosting, hosted_usd_per_answer: float, *, accuracies: tuple[Rate, Rate] | None = None
) -> BreakEven | None:
    """From which volume on one's own machines are cheaper; None where throughput or accuracies are not known.

    With M the cost of a machine a day, C its answers a day and h the hosted cost of an answer, n machines cost what the
    hosted model does at n M / h answers, which they can give if n M / h <= n C. So `first` is M / h if M / h <= C, and
    never otherwise. Just above (n - 1) C answers the n-th machine is new, and the hosted model is cheaper if
    (n - 1) C h < n M; `lasting` is n M / h for the last such n.

    With `accuracies` (own, hosted) it is between equal numbers of right answers: h is multiplied by own / hosted. The
    volume is of one's own answers. Bounds put worst with worst, as in `per_correct`.
    """
    capacity = hosting.machine_answers_per_day
    worth = Span.of(hosted_usd_per_answer)
    if accuracies is not None:
        own, hosted = map(_share, accuracies)
        if own is None or hosted is None or own.value == hosted.value == 0:
            return None
        worth = own.over(hosted).times(hosted_usd_per_answer)
    if capacity is None:
        return None
    # The more an own answer saves and the more of them a machine gives, the earlier it pays.
    cases = [
        (_first(hosting, h, c), _lasting(hosting, h, c)) for h, c in zip(worth.bounds, capacity.bounds, strict=True)
    ]
    (first_high, lasting_high), (first, lasting), (first_low, lasting_low) = cases
    return BreakEven(first=Span.of(first, first_low, first_high), lasting=Span.of(lasting, lasting_low, lasting_high))


def _first(hosting: Hosting, worth_usd: float, capacity: float) -> float:
    volume = hosting.machine_usd_per_day / worth_usd if worth_usd else inf
    return volume if volume <= capacity else inf


def _lasting(hosting: Hosting, worth_usd: float, capacity: float) -> float:
    gain = worth_usd * capacity / hosting.machine_usd_per_day  # hosted over own cost, of a full machine
    if gain <= 1:
        return inf
    if isinf(gain):
        return 0
    # (n - 1) gain < n holds for n < gain / (gain - 1), up to the last digits of what may be a whole number.
    last = max(1, ceil(round(gain / (gain - 1), 9)) - 1)
    return last * hosting.machine_usd_per_day / worth_usd


def _share(accuracy: Rate) -> Span | None:
    if accuracy.value is None or accuracy.low is None or accuracy.high is None:
        return None
    return Span.of(accuracy.value, accuracy.low, accuracy.high)


def pareto(items: Iterable[Item], place: Callable[[Item], tuple[float, float]]) -> list[Item]:
    """Those that no other beats, from the cheapest on; `place` gives the cost and the gain of each."""
    best: list[Item] = []
    for item in sorted(items, key=lambda each: (place(each)[0], -place(each)[1])):
        if not best or place(item)[1] > place(best[-1])[1]:
            best.append(item)
    return best
