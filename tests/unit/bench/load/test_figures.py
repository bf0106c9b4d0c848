"""Figures, windows and objectives of known requests."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.bench.load import (
    LoadFile,
    LoadReport,
    Outcome,
    Phase,
    Plan,
    all_figures,
    best_load,
    highest_rates,
    parse_slo,
    repeats_of,
)
from slm.bench.load.slo import quantile
from slm.bench.load.window import find_window, mser
from slm.errors import InputError

PLAN = Plan(suite="s", url="u", model="m", prompts="p", settings={})


def outcome(number: int, scheduled: float, total: float = 1.0, **more) -> Outcome:
    """Sent when it was due; first token after half of the time, 11 tokens."""
    return Outcome(
        id=f"r/{number}",
        example_id=more.pop("example_id", f"q{number}"),
        scheduled_s=scheduled,
        ended_s=scheduled + total,
        **{
            "phase": 0,
            "first_sent_s": scheduled,
            "sent_s": scheduled,
            "first_token_s": scheduled + total / 2,
            "last_token_s": scheduled + total,
            "text": "SELECT 1",
            "prompt_tokens": 100,
            "cached_tokens": 80,
            "completion_tokens": 11,
            "tokens_from": "server",
        }
        | more,
    )


def failed(number: int, scheduled: float, error: str = "http_500") -> Outcome:
    nothing = {"first_token_s": None, "last_token_s": None, "text": "", "completion_tokens": None, "tokens_from": None}
    return outcome(number, scheduled, error=error, **nothing)


def phase(number: int, name: str = "warm", requests: int = 100, **more) -> Phase:
    return Phase(number=number, name=name, cache="warm", load=name, requests=requests, started="", clock_ns=0, **more)


def figures(outcomes, slo=None, **more):
    load = LoadFile(plan=PLAN, phases=(phase(0, **more),), outcomes=tuple(outcomes))
    (found,) = all_figures(load, parse_slo(slo) if slo else None)
    return found


def test_one_request_after_the_other():
    found = figures(outcome(number, number) for number in range(100))
    assert (found.ok, found.failed, found.missing, found.steady) == (100, 0, 0, True)
    assert (found.windows[0].start_s, found.window_s, found.windows[0].warm_up) == (0, 99, 0)
    assert found.throughput.answers_per_s == 1
    assert found.throughput.answers_per_s_low == pytest.approx(1, abs=0.1)
    assert found.throughput.output_tokens_per_s == 11
    assert found.throughput.goodput_per_s is found.slo_met is None, "no objective"
    assert found.latency.ttft_s.p99 == found.latency.server_ttft_s.p50 == pytest.approx(0.5)
    assert found.latency.tpot_s.mean == pytest.approx(0.05)
    assert (found.prompt_tokens, found.cached_tokens, found.completion_tokens) == (100, 80, 11)


def test_latency_counts_from_when_a_request_was_due():
    late = [outcome(number, number, first_sent_s=number + 0.3, sent_s=number + 0.4) for number in range(3)]
    latency = figures(late).latency
    assert latency.queue_s.p50 == pytest.approx(0.3)
    assert latency.ttft_s.p50 == pytest.approx(0.5)
    assert latency.server_ttft_s.p50 == pytest.approx(0.1)


def test_warm_up_and_drain_are_left_out():
    cold = [outcome(number, number, total=5.0) for number in range(20)]
    rest = [outcome(number, number, total=1.0 + number % 7 / 100) for number in range(20, 100)]
    found = figures([*cold, *rest])
    assert found.windows[0].warm_up == 20
    assert (found.windows[0].start_s, found.windows[0].end_s) == (20, 99)
    assert found.latency.total_s.p99 < 1.1


def test_a_server_that_falls_behind_is_never_steady():
    found = figures(outcome(number, number / 10, total=1 + number / 5) for number in range(100))
    assert found.steady is False
    assert found.windows[0].warm_up == 0, "nothing is cut off to make it look better"


def test_noise_alone_is_steady():
    draw = random.Random(0)  # noqa: S311
    states = [figures(outcome(n, n, draw.gauss(1, 0.1)) for n in range(200)).steady for _ in range(50)]
    assert states.count(True) >= 45


def test_of_few_requests_nothing_is_told():
    found = figures((outcome(number, 0.0) for number in range(4)), requests=5)
    assert (found.steady, found.missing, found.window_s) == (None, 1, 1.0)
    assert found.throughput.answers_per_s == 4
    assert found.throughput.answers_per_s_low is None
    assert find_window([]) is None


def test_failed_requests_are_counted_apart_and_miss_every_objective():
    outcomes = [outcome(number, number, total=0.2) for number in range(9)] + [failed(9, 9.0)]
    found = figures(outcomes, "ttft_p90=150ms,total_p90=1s", requests=10)
    assert found.slo_met is True
    assert found.errors == {"http_500": 1}
    assert found.latency.total_s.count == 9
    assert found.throughput.goodput_per_s == pytest.approx(1.0)
    assert figures(outcomes, "ttft_p91=150ms", requests=10).slo_met is False
    assert figures(outcomes, "total_p50=100ms", requests=10).throughput.goodput_per_s == 0


def test_what_was_not_measured_keeps_no_objective():
    uncounted = [outcome(n, n, completion_tokens=None, tokens_from=None) for n in range(3)]
    assert figures(uncounted, "tpot_p95=10s", requests=3).slo_met is False
    assert figures([outcome(0, 0, completion_tokens=1)], "tpot_p95=1ms", requests=1).slo_met is True
    whole = [outcome(0, 0, total=0.4, first_token_s=None, last_token_s=None)]
    assert figures(whole, "ttft_p95=500ms", requests=1).slo_met is True
    assert figures(whole, "ttft_p95=300ms", requests=1).slo_met is False, "its first token came with the last"


def test_a_continued_phase_is_one_load():
    outcomes = [outcome(number, number % 5, phase=number // 5) for number in range(10)]
    load = LoadFile(plan=PLAN, phases=(phase(0, requests=10), phase(1, requests=10)), outcomes=tuple(outcomes))
    (found,) = all_figures(load)
    assert (found.ok, found.missing, found.window_s, found.throughput.answers_per_s) == (10, 0, 8, 1)


def test_repeats_tell_the_noise():
    outcomes = [
        outcome(n, n, example_id=f"q{n % 2}", text=text) for n, text in enumerate(["a", "b", "a", "c", "a", "b"])
    ]
    assert repeats_of(outcomes[:2]) is None
    found = repeats_of(outcomes, {("q0", "a"): True, ("q1", "b"): True, ("q1", "c"): False})
    assert (found.questions, found.other_text, found.other_verdict) == (2, 1, 1)
    same = repeats_of(outcomes, {("q0", "a"): True, ("q1", "b"): True, ("q1", "c"): True})
    assert (same.other_text, same.other_verdict) == (1, 0)
    assert repeats_of(outcomes).other_verdict is None


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50), st.floats(0.01, 0.99))
def test_a_quantile_is_one_of_the_values(values, share):
    ordered = sorted(values)
    found = quantile(ordered, share)
    assert sum(value <= found for value in ordered) >= share * len(ordered) - 1e-6
    assert sum(value < found for value in ordered) < share * len(ordered) + 1e-6


@given(st.floats(0.1, 10), st.integers(0, 8), st.lists(st.floats(0, 0.01), min_size=100, max_size=100))
def test_the_rule_finds_where_a_level_changes(level, batches, noise):
    values = [level * 10 + each for each in noise[: 5 * batches]] + [level + each for each in noise[5 * batches :]]
    assert mser(values) >= batches


@pytest.mark.parametrize(
    "text", ["", "ttft=300ms", "ttft_p95=300", "ttft_p0=1s", "p95=1s", "itl_p95=1s", "ttft_p95=1s;"]
)
def test_what_is_no_objective_is_refused(text):
    with pytest.raises(InputError, match="no objective"):
        parse_slo(text)


def test_an_objective_reads_as_it_is_written():
    slo = parse_slo("ttft_p95=0.3s, tpot_p99.9=20ms")
    assert str(slo) == "ttft_p95=300ms,tpot_p99.9=20ms"


def report(*rates: tuple[float, float]) -> LoadReport:
    """Loads at these rates, each answered within so many seconds, with an objective of one second."""
    phases = [phase(number, f"rate {rate}", 100, rate=rate) for number, (rate, _) in enumerate(rates)]
    outcomes = [
        outcome(100 * number + n, n / rate, total, phase=number)
        for number, (rate, total) in enumerate(rates)
        for n in range(100)
    ]
    load = LoadFile(plan=PLAN, phases=tuple(phases), outcomes=tuple(outcomes))
    found = all_figures(load, parse_slo("total_p95=1s"))
    return LoadReport(file="f", plan=PLAN, slo="x", loads=tuple(found), highest=tuple(highest_rates(found)))


def test_the_highest_rate_that_keeps_the_objective():
    found = report((1, 0.5), (4, 2.0), (2, 0.6), (8, 0.5))
    assert [(each.cache, each.rate) for each in found.highest] == [("warm", 2)], "a lower one missed before 8"
    assert report((1, 2.0)).highest[0].rate is None
    assert best_load(found).rate == 2


def test_which_load_counts_must_be_clear():
    with pytest.raises(InputError, match="no load of it kept the objective"):
        best_load(report((1, 2.0)))
