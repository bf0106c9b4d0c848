"""The table of `slm cost`: what each system costs, with its accuracy, and from which volume on the own ones pay."""

from collections.abc import Sequence
from itertools import product

from slm.bench.cost import (
    BreakEven,
    Hosting,
    Span,
    Usage,
    break_even,
    machines,
    own_usd_per_answer,
    own_usd_per_day,
    per_correct,
    price_usd,
    usd_per_mtok,
)
from slm.bench.prices import Price
from slm.errors import InputError
from slm.records import Rate, Record, Result

SHOWN = 1000  # answers that a cost is given for: that of one is too small a number to read


class Tokens(Record):
    """Mean tokens of a hosted answer, as stated; None: not stated. `cached_input` of `input` come from the cache."""

    input: float | None = None
    cached_input: float = 0
    output: float | None = None


class Latency(Record):
    """Seconds from when a request was due to the end of its answer, under the load whose throughput counts."""

    p50_s: float
    p95_s: float


class System(Record):
    """A row: a model, how it is served, and what its answers cost. None: what that needs was not measured or stated.

    `usd_per_mtok_input`, `_output` and `_blended` are each the whole cost, over these tokens. Of the own machines the
    figures are those of the volume if one is given, of fully used machines otherwise.
    """

    system: str
    served: str
    hosted: bool
    suite: str | None = None
    questions: str | None = None
    instances: int | None = None
    accuracy: Rate | None = None
    input_tokens: float | None = None
    cached_input_tokens: float | None = None
    output_tokens: float | None = None
    usd_per_1000_answers: Span | None = None
    usd_per_1000_correct: Span | None = None
    usd_per_mtok_input: Span | None = None
    usd_per_mtok_output: Span | None = None
    usd_per_mtok_blended: Span | None = None
    machines: Span | None = None
    usd_per_day: Span | None = None
    latency: Latency | None = None


class Crossing(Record):
    """From how many answers a day on an own system costs no more than a hosted one: an answer, and a right answer."""

    own: str
    hosted: str
    answers: BreakEven | None
    correct: BreakEven | None


class Report(Record):
    """All of it, with the prices that were used."""

    systems: tuple[System, ...]
    break_even: tuple[Crossing, ...]
    prices: tuple[Price, ...]


def hosted_system(
    price: Price, result: Result | None, stated: Tokens, *, batch: bool = False, answers_per_day: float | None = None
) -> System:
    """What a hosted model's answers cost by their tokens: those of the result, where it has none those stated."""
    tokens = _tokens(result, stated)
    cost = None
    if tokens.input is not None and tokens.output is not None:
        usage = Usage(
            requests=1, input_tokens=tokens.input, cached_input_tokens=tokens.cached_input, output_tokens=tokens.output
        )
        cost = Span.of(price_usd(usage, price, batch=batch))
    day = cost.times(answers_per_day) if cost and answers_per_day else None
    served = f"{price.provider}: {price.model}{', batch' if batch else ''}"
    return _system(result.run if result else price.model, served, result, tokens, cost, hosted=True, day=day)


def own_system(
    result: Result,
    served: str,
    hosting: Hosting | None,
    *,
    answers_per_day: float | None = None,
    latency: Latency | None = None,
) -> System:
    """What a model's answers cost on one's own machines; nothing is known of it without `hosting`."""
    tokens = _tokens(result, Tokens())
    cost = own_usd_per_answer(hosting, answers_per_day) if hosting else None
    count = machines(hosting, answers_per_day) if hosting and answers_per_day else None
    day = own_usd_per_day(hosting, answers_per_day) if hosting and answers_per_day else None
    if hosting and hosting.answers_per_s:
        served += f", {hosting.answers_per_s.bounds[1]:g} answers/s of which {hosting.utilisation:.0%} are used"
    system = _system(result.run, served, result, tokens, cost, hosted=False, count=count, day=day)
    return system.model_copy(update={"latency": latency})


def crossings(own: Sequence[tuple[System, Hosting | None]], hosted: Sequence[System]) -> list[Crossing]:
    """Every own system against every hosted one. Right answers are compared where both were judged alike."""
    found = []
    for (mine, hosting), theirs in product(own, hosted):
        answers = correct = None
        if hosting and theirs.usd_per_1000_answers:
            per_answer = theirs.usd_per_1000_answers.bounds[1] / SHOWN
            answers = break_even(hosting, per_answer)
            judged_alike = (mine.questions, mine.instances) == (theirs.questions, theirs.instances)
            if mine.accuracy and theirs.accuracy and judged_alike:
                correct = break_even(hosting, per_answer, accuracies=(mine.accuracy, theirs.accuracy))
        found.append(Crossing(own=mine.system, hosted=theirs.system, answers=answers, correct=correct))
    return found


def _system(
    name: str,
    served: str,
    result: Result | None,
    tokens: Tokens,
    cost: Span | None,
    *,
    hosted: bool,
    count: Span | None = None,
    day: Span | None = None,
) -> System:
    both = None if tokens.input is None or tokens.output is None else tokens.input + tokens.output
    accuracy = result.accuracy if result else None
    return System(
        system=name,
        served=served,
        hosted=hosted,
        suite=result.suite if result else None,
        questions=result.questions_fingerprint if result else None,
        instances=result.instances if result else None,
        accuracy=accuracy,
        input_tokens=tokens.input,
        cached_input_tokens=tokens.cached_input if hosted else None,
        output_tokens=tokens.output,
        usd_per_1000_answers=cost and cost.times(SHOWN),
        usd_per_1000_correct=per_correct(cost.times(SHOWN), accuracy) if cost and accuracy else None,
        usd_per_mtok_input=usd_per_mtok(cost, tokens.input) if cost and tokens.input else None,
        usd_per_mtok_output=usd_per_mtok(cost, tokens.output) if cost and tokens.output else None,
        usd_per_mtok_blended=usd_per_mtok(cost, both) if cost and both else None,
        machines=count,
        usd_per_day=day,
    )


def _tokens(result: Result | None, stated: Tokens) -> Tokens:
    """What was recorded goes before what is stated."""
    recorded = (result.prompt_tokens_per_question, result.completion_tokens_per_question) if result else (None, None)
    given, output = (
        fact if fact is not None else said for fact, said in zip(recorded, (stated.input, stated.output), strict=True)
    )
    if given is not None and stated.cached_input > given:
        raise InputError(
            f"{stated.cached_input:,.0f} cached tokens of an answer's {given:,.0f} input tokens",
            where="--cached-tokens",
            expected="part of the input tokens",
        )
    return Tokens(input=given, cached_input=stated.cached_input, output=output)
