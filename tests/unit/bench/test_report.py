"""A row holds what is known of a system, and nothing that is not."""

from datetime import date

import pytest

from slm.bench import Hosting, Span, Tokens, crossings, find_price, hosted_system, own_system
from slm.errors import InputError
from slm.records import Rate, Result

PRICE = find_price("gpt-6.1-terra", today=date(2026, 11, 26))
HOSTING = Hosting(usd_per_hour=1, utilisation=1, answers_per_s=Span.of(1, 0.5, 2))
DAY = 86_400


def result(
    run: str = "run", *, right: int = 50, questions: str = "same", tokens: bool = True, instances: int = 0
) -> Result:
    return Result(
        run=run,
        suite="suite",
        model="model",
        examples=100,
        unavailable=0,
        questions_fingerprint=questions,
        accuracy=Rate(right=right, total=100, value=right / 100, low=right / 100 - 0.1, high=right / 100 + 0.1),
        instances=instances,
        by_reason={},
        by_tag={},
        prompt_tokens_per_question=300.0 if tokens else None,
        completion_tokens_per_question=20.0 if tokens else None,
        card={},
    )


def test_a_hosted_system_is_priced_by_its_recorded_tokens():
    system = hosted_system(PRICE, result(), Tokens(input=9, output=9, cached_input=200), answers_per_day=1000)
    assert (system.system, system.served, system.suite) == ("run", "openai: gpt-6.1-terra", "suite")
    assert (system.input_tokens, system.cached_input_tokens, system.output_tokens) == (300, 200, 20)
    usd = 0.1 + 0.01 + 0.1  # 100,000 tokens at $1, 200,000 at $0.05, 20,000 at $5 a million
    assert system.usd_per_1000_answers.value == pytest.approx(usd)
    assert system.usd_per_1000_correct.value == pytest.approx(2 * usd)
    assert system.usd_per_1000_correct.high == pytest.approx(usd / 0.4)
    assert system.usd_per_mtok_input.value == pytest.approx(usd / 0.3)
    assert system.usd_per_mtok_output.value == pytest.approx(usd / 0.02)
    assert system.usd_per_mtok_blended.value == pytest.approx(usd / 0.32)
    assert system.usd_per_day.value == pytest.approx(usd)
    batch = hosted_system(PRICE, result(), Tokens(cached_input=200), batch=True)
    assert batch.usd_per_1000_answers.value == pytest.approx(usd / 2)
    assert batch.served.endswith(", batch")
    assert batch.usd_per_day is None


def test_without_tokens_there_is_no_cost_and_stated_ones_stand_in_for_what_was_not_recorded():
    unknown = hosted_system(PRICE, result(tokens=False), Tokens(output=10), answers_per_day=1000)
    assert unknown.input_tokens is unknown.usd_per_1000_answers is unknown.usd_per_1000_correct is None
    assert unknown.usd_per_mtok_blended is unknown.usd_per_day is None
    stated = hosted_system(PRICE, result(tokens=False), Tokens(input=1000, output=10))
    assert stated.usd_per_1000_answers.value == pytest.approx(1.05)
    alone = hosted_system(PRICE, None, Tokens(input=1000, output=10))
    assert (alone.system, alone.accuracy, alone.usd_per_1000_correct) == ("gpt-6.1-terra", None, None)
    with pytest.raises(InputError, match="301 cached tokens of an answer's 300 input tokens"):
        hosted_system(PRICE, result(), Tokens(cached_input=301))


def test_an_own_system_costs_what_its_machines_do():
    system = own_system(result(), "yourself", HOSTING)
    assert system.usd_per_1000_answers.bounds == pytest.approx((24 / 172.8, 24 / 86.4, 24 / 43.2))
    assert system.cached_input_tokens is system.machines is system.usd_per_day is None
    volume = own_system(result(), "yourself", HOSTING, answers_per_day=DAY)
    assert volume.machines == Span.of(1, 1, 2)
    assert volume.usd_per_day == Span.of(24, 24, 48)
    little = own_system(result(), "yourself", HOSTING, answers_per_day=10)
    assert little.usd_per_1000_answers.value == pytest.approx(2400), (
        "a machine that is hardly used is paid all the same"
    )
    unknown = own_system(result(), "yourself", None, answers_per_day=DAY)
    assert unknown.usd_per_1000_answers is unknown.machines is unknown.usd_per_day is None
    assert unknown.input_tokens == 300


def test_right_answers_are_compared_only_where_they_were_judged_alike():
    mine = [(own_system(result("mine", right=25), "yourself", HOSTING), HOSTING)]
    theirs = [
        hosted_system(PRICE, result("same"), Tokens()),
        hosted_system(PRICE, result("other", questions="other"), Tokens()),
        hosted_system(PRICE, result("strict", instances=16), Tokens()),
        hosted_system(PRICE, None, Tokens(input=300, output=20)),
        hosted_system(PRICE, None, Tokens()),
    ]
    same, other, strict, alone, unknown = crossings(mine, theirs)
    assert (same.own, same.hosted) == ("mine", "same")
    usd = 0.0004  # 300 tokens at $1, 20 at $5 a million
    assert [each.answers.first.value for each in (same, other, strict, alone)] == pytest.approx([24 / usd] * 4)
    assert same.correct.first.low == pytest.approx(24 / (usd * 0.35 / 0.4))
    assert same.correct.first.value is None, "half as good, it would pay from more answers than a machine can give"
    assert other.correct is strict.correct is alone.correct is unknown.answers is unknown.correct is None
    assert crossings([(mine[0][0], None)], theirs)[0].answers is None
