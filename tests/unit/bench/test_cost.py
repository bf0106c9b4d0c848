"""Costs are those of the providers' pages, add up, and break even where both sides say so."""

from datetime import date
from math import inf

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from slm.bench import (
    Hosting,
    Rates,
    Span,
    Usage,
    break_even,
    find_price,
    hosted_usd,
    machines,
    own_usd_per_answer,
    own_usd_per_day,
    per_correct,
    price_usd,
    usd_per_mtok,
)
from slm.errors import InputError
from slm.evaluate import accuracy
from slm.records import Rate, Verdict

TODAY = date(2026, 11, 26)
# 1,000 questions of 1,600 tokens, of which 1,400 are a schema that the cache holds, with answers of 40 tokens.
THOUSAND = Usage(requests=1000, input_tokens=1_600_000, cached_input_tokens=1_400_000, output_tokens=40_000)
RATES = Rates(input_usd_per_mtok=2, cached_input_usd_per_mtok=0.1, output_usd_per_mtok=10)


@pytest.mark.parametrize(
    ("model", "usage", "usd", "batch_usd"),
    [
        # https://developers.openai.com/api/docs/pricing: $1, cached $0.05, $5; batch half of it.
        ("gpt-6.1-terra", THOUSAND, 0.20 + 0.07 + 0.20, 0.235),
        # https://platform.claude.com/docs/en/about-claude/pricing: $2, cache hits $0.10, $10; batch half of it.
        ("claude-sonnet-5-5", THOUSAND, 0.40 + 0.14 + 0.40, 0.47),
        # https://ai.google.dev/gemini-api/docs/pricing: $0.30, cached $0.03, $2.50; batch $0.15, $0.02, $1.25.
        ("gemini-3.5-flash-lite", THOUSAND, 0.060 + 0.042 + 0.100, 0.030 + 0.028 + 0.050),
        # Worked out at https://dev.to/neverpaytwice/claude-batch-api-half-price-if-you-can-wait-ecg: $4, $20; half.
        ("claude-opus-5-5", Usage(requests=1, input_tokens=5000, output_tokens=800), 0.036, 0.018),
        # https://developers.openai.com/api/docs/models/gpt-4.md: $30, $60, nothing less for cached input.
        ("gpt-4", THOUSAND, 48 + 2.4, None),
    ],
)
def test_worked_examples(model, usage, usd, batch_usd):
    price = find_price(model, today=TODAY)
    assert price_usd(usage, price) == pytest.approx(usd, rel=1e-12)
    if batch_usd is None:
        with pytest.raises(InputError, match=f"{model}: no price for batches"):
            price_usd(usage, price, batch=True)
    else:
        assert price_usd(usage, price, batch=True) == pytest.approx(batch_usd, rel=1e-12)


def test_prompts_beyond_the_price_are_refused():
    price = find_price("gpt-6.1-terra", today=TODAY)
    at_most = Usage(requests=2, input_tokens=2 * 272_000, output_tokens=1)
    assert price_usd(at_most, price) > 0
    with pytest.raises(InputError, match=r"a prompt has 272,001 tokens, and above 272,000 it costs more"):
        price_usd(at_most.model_copy(update={"input_tokens": 2 * 272_001}), price)


TOKENS = st.integers(0, 10**9)
USAGES = st.builds(
    lambda requests, cached, other, output: Usage(
        requests=requests, input_tokens=cached + other, cached_input_tokens=cached, output_tokens=output
    ),
    st.integers(1, 10**6), TOKENS, TOKENS, TOKENS,
)  # fmt: skip
USD = st.floats(0, 1000)
ALL_RATES = st.builds(
    lambda given, share, output: Rates(
        input_usd_per_mtok=given,
        cached_input_usd_per_mtok=None if share is None else given * share,
        output_usd_per_mtok=output,
    ),
    USD, st.none() | st.floats(0, 1), USD,
)  # fmt: skip


@given(USAGES, USAGES, ALL_RATES)
def test_costs_add_up(one, other, rates):
    assert hosted_usd(one + other, rates) == pytest.approx(hosted_usd(one, rates) + hosted_usd(other, rates), rel=1e-9)


@given(USAGES, ALL_RATES, TOKENS, st.sampled_from(["input_tokens", "output_tokens"]))
def test_more_tokens_never_cost_less(usage, rates, more, kind):
    larger = usage.model_copy(update={kind: getattr(usage, kind) + more})
    assert hosted_usd(larger, rates) >= hosted_usd(usage, rates) * (1 - 1e-12)


@given(USAGES, ALL_RATES, st.floats(0, 1))
def test_more_of_them_cached_never_cost_more(usage, rates, share):
    uncached = usage.input_tokens - usage.cached_input_tokens
    cached = usage.model_copy(update={"cached_input_tokens": usage.cached_input_tokens + share * uncached})
    assert hosted_usd(cached, rates) <= hosted_usd(usage, rates) * (1 + 1e-12)


def test_units():
    million = Usage(requests=1, input_tokens=1_000_000, output_tokens=0)
    assert hosted_usd(million, RATES) == 2
    assert usd_per_mtok(Span.of(0.5), 250_000) == Span.of(2)
    assert usd_per_mtok(Span.of(0.5), 0) is None
    hosting = Hosting(usd_per_hour=1, watts=500, usd_per_kwh=0.2, answers_per_s=Span.of(2), utilisation=0.5)
    assert hosting.machine_usd_per_day == pytest.approx(24 + 24 * 0.5 * 0.2)
    assert hosting.machine_answers_per_day == Span.of(2 * 0.5 * 86_400)
    half_a_day = hosting.model_copy(update={"idle_hours_per_day": 12})
    assert half_a_day.machine_answers_per_day == Span.of(43_200)
    # Idle hours are paid: with half a day of them an answer costs twice as much.
    assert own_usd_per_answer(half_a_day).value == pytest.approx(2 * own_usd_per_answer(hosting).value)
    assert own_usd_per_answer(hosting).value == pytest.approx(1.1 / (2 * 0.5 * 3600)), "hourly cost over hourly answers"


def test_what_was_not_measured_gives_nothing():
    unmeasured = Hosting(usd_per_hour=1, utilisation=0.5)
    assert unmeasured.machine_usd_per_day == 24
    assert unmeasured.machine_answers_per_day is None
    assert own_usd_per_answer(unmeasured) is own_usd_per_answer(unmeasured, 100) is None
    assert machines(unmeasured, 100) is own_usd_per_day(unmeasured, 100) is break_even(unmeasured, 1) is None
    nothing_judged = Rate(right=0, total=0, value=None, low=None, high=None)
    assert per_correct(Span.of(1), nothing_judged) is None
    assert break_even(hundred_a_day(), 1, accuracies=(rate(1, 2), nothing_judged)) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"answers_per_s": Span.of(0)},
        {"answers_per_s": Span.of(1, 0, 2)},
        {"answers_per_s": Span.of(1, 1, inf)},
        {"watts": 300},
        {"utilisation": 0},
        {"utilisation": 1.1},
        {"idle_hours_per_day": 24},
    ],
)
def test_a_machine_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        Hosting(**{"usd_per_hour": 1, "utilisation": 0.5} | wrong)


def test_bounds_that_do_not_hold_the_value_and_too_many_cached_tokens_are_refused():
    with pytest.raises(ValidationError, match="the bounds do not hold"):
        Span.of(1, 2, 3)
    with pytest.raises(ValidationError, match="more cached input tokens than"):
        Usage(requests=1, input_tokens=1, cached_input_tokens=2, output_tokens=0)


def rate(right: int, total: int) -> Rate:
    return accuracy([Verdict(example_id=str(n), correct=n < right, reason="correct") for n in range(total)])


RATES_RIGHT = st.integers(1, 40).flatmap(lambda total: st.integers(0, total).map(lambda right: rate(right, total)))


def test_cost_of_a_right_answer():
    found = per_correct(Span.of(50.4), rate(739, 972))
    assert found.value == pytest.approx(50.4 * 972 / 739)
    assert found.low < found.value < found.high
    assert found.low == pytest.approx(50.4 / rate(739, 972).high)
    assert per_correct(Span.of(1), rate(0, 10)) == Span(value=None, low=1 / rate(0, 10).high, high=None)


@given(RATES_RIGHT, st.floats(1e-6, 1e3), st.floats(0, 1), st.floats(1, 3))
def test_bounds_hold_the_value(right, usd, down, up):
    exact, spread = per_correct(Span.of(usd), right), per_correct(Span.of(usd, usd * down, usd * up), right)
    assert spread.bounds[0] <= exact.bounds[0] <= exact.bounds[1] <= exact.bounds[2] <= spread.bounds[2]
    assert exact.bounds[1] == spread.bounds[1]


def hundred_a_day(**more: object) -> Hosting:
    """A machine that costs 24 USD and answers 100 questions a day."""
    return Hosting(**{"usd_per_hour": 1, "utilisation": 1, "answers_per_s": Span.of(100 / 86_400)} | more)


@pytest.mark.parametrize(
    ("answers", "count"), [(1, 1), (99, 1), (100, 1), (101, 2), (200, 2), (300, 3), (300.5, 4)]
)  # fmt: skip
def test_machines_are_whole(answers, count):
    assert machines(hundred_a_day(), answers) == Span.of(count)
    assert own_usd_per_day(hundred_a_day(), answers) == Span.of(24 * count)
    assert own_usd_per_answer(hundred_a_day(), answers).value == pytest.approx(24 * count / answers)


@pytest.mark.parametrize(
    ("usd", "first", "lasting"),
    [
        (0.48, 50, 50),  # hosted costs twice what a full machine does: each further machine pays at once
        (0.36, 66.67, 133.33),  # 1.5 times: from 100 to 133 answers the second machine makes hosted cheaper again
        (0.30, 80, 320),  # 1.25 times: so it is up to the fourth machine
        (0.24, 100, None),  # as much as full machines: only they break even
        (0.23, None, None),
        (0, None, None),
    ],
)
def test_break_even_with_whole_machines(usd, first, lasting):
    even = break_even(hundred_a_day(), usd)
    expected = [None if each is None else pytest.approx(each, rel=1e-3) for each in (first, lasting)]
    assert [even.first.value, even.lasting.value] == expected
    volumes = [volume for volume in range(1, 1000) if own_usd_per_day(hundred_a_day(), volume).value > usd * volume]
    dearer = max(volumes)  # the last volume at which hosted is cheaper
    assert (lasting is None and dearer > 990) or (lasting is not None and dearer == int(lasting - 1e-9))


HOSTINGS = st.builds(
    lambda hourly, answers, utilisation, idle: Hosting(
        usd_per_hour=hourly, answers_per_s=Span.of(answers), utilisation=utilisation, idle_hours_per_day=idle
    ),
    st.floats(0.01, 100), st.floats(0.001, 1000), st.floats(0.05, 1), st.floats(0, 20),
)  # fmt: skip


def on_the_day(hosting: Hosting, hosted: float, answers: float) -> tuple[float, float]:
    """USD of the day with one's own machines, and hosted."""
    return own_usd_per_day(hosting, answers).bounds[1], hosted * answers


@given(HOSTINGS, st.floats(1e-6, 1), st.floats(1e-6, 50))
@example(Hosting(usd_per_hour=1, utilisation=1, answers_per_s=Span.of(100 / 86_400)), 0.3, 0.01)
def test_break_even_is_the_same_from_both_sides(hosting, hosted, beyond):
    even, capacity = break_even(hosting, hosted), hosting.machine_answers_per_day.value
    if even.first.value is None:
        own, theirs = on_the_day(hosting, hosted, capacity * beyond)
        assert own >= theirs * (1 - 1e-6)
        return
    own, theirs = on_the_day(hosting, hosted, even.first.value)
    assert own == pytest.approx(theirs, rel=1e-9)
    own, theirs = on_the_day(hosting, hosted, even.first.value * (1 - 1e-6))
    assert own > theirs
    assume(even.first.value * (1 + 1e-6) <= capacity)
    own, theirs = on_the_day(hosting, hosted, even.first.value * (1 + 1e-6))
    assert own < theirs


@given(HOSTINGS, st.floats(1.01, 50), st.floats(1e-6, 50))
@example(Hosting(usd_per_hour=1, utilisation=1, answers_per_s=Span.of(100 / 86_400)), 1.25, 0.01)
@example(Hosting(usd_per_hour=1.01, utilisation=1, answers_per_s=Span.of(1)), 1.5, 1)
def test_above_the_lasting_volume_hosted_is_never_cheaper_again(hosting, gain, beyond):
    capacity, machine = hosting.machine_answers_per_day.value, hosting.machine_usd_per_day
    hosted = gain * machine / capacity
    lasting = break_even(hosting, hosted).lasting.value
    own, theirs = on_the_day(hosting, hosted, lasting * (1 + beyond))
    assert own <= theirs * (1 + 1e-6)
    count = round(lasting * hosted / machine)
    own, theirs = on_the_day(hosting, hosted, ((count - 1) * capacity + lasting) / 2)
    assert own >= theirs * (1 - 1e-6), "between the machine before and this volume hosted is cheaper"


@given(HOSTINGS, st.floats(1e-6, 1), RATES_RIGHT, RATES_RIGHT, st.floats(0.1, 1), st.floats(1, 10))
def test_uncertainty_is_carried_to_the_break_even(hosting, hosted, mine, theirs, down, up):
    answers = hosting.answers_per_s.value
    unsure = hosting.model_copy(update={"answers_per_s": Span.of(answers, answers * down, answers * up)})
    for accuracies in (None, (mine, theirs)):
        sure, spread = (break_even(each, hosted, accuracies=accuracies) for each in (hosting, unsure))
        if sure is None:
            assert mine.right == theirs.right == 0
            continue
        for name in ("first", "lasting"):
            inner, outer = getattr(sure, name).bounds, getattr(spread, name).bounds
            assert inner[1] == outer[1]
            assert outer[0] <= inner[0] <= inner[1] <= inner[2] <= outer[2]


def test_right_answers_decide_between_models_that_are_not_as_good():
    """Half as many right answers: an own one is worth half of a hosted one."""
    half = break_even(hundred_a_day(), 0.96, accuracies=(rate(40, 100), rate(80, 100)))
    assert half.first.value == pytest.approx(break_even(hundred_a_day(), 0.48).first.value)
    assert half.first.low < half.first.value < half.first.high
    none = break_even(hundred_a_day(), 0.96, accuracies=(rate(0, 100), rate(80, 100)))
    assert none.first.value is none.lasting.value is None
