"""A cascade's sweep, the point that is chosen, and that a choice made elsewhere is what is reported."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm.bench.cascade import Answered, Prices, cascade
from slm.bench.cost import pareto
from slm.errors import InputError

CONFIDENCES = st.one_of(st.none(), st.sampled_from([-2.0, -1.0, -0.5]), st.floats(-5, 0))
ROWS = st.lists(st.tuples(st.booleans(), st.booleans(), CONFIDENCES), min_size=1, max_size=60)


def answered(rows, **times):
    return [
        Answered(id=f"q{n}", small_right=small, large_right=large, confidence=confidence, **times)
        for n, (small, large, confidence) in enumerate(rows)
    ]


@settings(deadline=None)
@given(rows=ROWS, within=st.floats(0, 1))
def test_the_sweep_goes_from_the_small_to_the_large_model(rows, within):
    if all(confidence is None for _, _, confidence in rows):
        rows = [*rows, (True, False, -1.0)]
    found = cascade(answered(rows), Prices(small_usd=1, large_usd=9), within=within)
    unknown = sum(confidence is None for _, _, confidence in rows)
    first, last = found.points[0], found.points[-1]
    assert (round(first.sent * len(rows)), last.sent) == (unknown, 1.0)
    assert last.accuracy == found.large
    assert unknown or first.accuracy == found.small
    assert [point.sent for point in found.points] == sorted(point.sent for point in found.points)
    assert all(point.usd_per_1000 == pytest.approx(1 + 9 * point.sent) for point in found.points)
    least = max(found.small.right, found.large.right) - within * len(rows)
    enough = [point for point in found.points if point.accuracy.right >= least]
    assert found.chosen == (enough or found.points)[0 if enough else -1]


@settings(deadline=None)
@given(rows=ROWS)
def test_the_front_has_nothing_that_another_point_beats(rows):
    found = cascade(answered([*rows, (True, True, -1.0)]), Prices(), within=0)
    front = pareto(found.points, lambda point: (point.sent, point.accuracy.right))
    assert {point.accuracy.right for point in front} <= {point.accuracy.right for point in found.points}
    for point in found.points:
        assert any(best.sent <= point.sent and best.accuracy.right >= point.accuracy.right for best in front)
    assert all(one.accuracy.right < more.accuracy.right for one, more in pairwise(front))


def test_a_confidence_that_knows_finds_exactly_what_is_wrong():
    rows = [(n % 3 > 0, True, -0.01 * (n % 7) - (n % 3 == 0)) for n in range(90)]
    found = cascade(answered(rows, small_s=0.5, large_s=2.0), Prices(large_usd=30), within=0)
    assert (found.small.right, found.large.right) == (60, 90)
    assert (found.chosen.accuracy.right, found.chosen.sent) == (90, pytest.approx(1 / 3))
    assert found.chosen.p95_s == 2.5
    assert found.chosen.usd_per_1000 is None, "the small model's price is not known"
    assert found.held_out.right == 90
    assert found.held_out_sent == pytest.approx(1 / 3)


def test_a_choice_by_luck_is_not_held_out():
    # The surest answer is the only wrong one: whoever sees that sends on everything, whoever does not sends on nothing.
    rows = [(True, True, -0.1 * n) for n in range(1, 41)]
    odd = Answered(id="odd", small_right=False, large_right=True, confidence=0.0)
    found = cascade([*answered(rows), odd], Prices(), within=0)
    assert found.chosen.accuracy.right == 41
    assert found.held_out.right == 40


def test_the_same_questions_in_another_order_give_the_same():
    rows = answered([(n % 2 == 0, n % 5 > 0, -0.1 * (n * 7 % 11)) for n in range(50)])
    assert cascade(rows, Prices(), within=0.02) == cascade(rows[::-1], Prices(), within=0.02)


def test_seconds_that_were_not_measured_stay_unknown():
    rows = [(True, True, -1.0), (False, True, -2.0)]
    found = cascade(answered(rows, small_s=0.5), Prices(), within=0)
    assert [point.p95_s for point in found.points] == [0.5, None, None]


@pytest.mark.parametrize(
    ("rows", "problem"), [([], "no question was judged for both"), ([(True, True, None)], "has a log-probability")]
)
def test_what_cannot_be_swept_is_refused(rows, problem):
    with pytest.raises(InputError, match=problem):
        cascade(answered(rows), Prices(), within=0)
