"""Figures become checks and one word; every bound is tried from both sides."""

import pytest

from slm.ops.parity.bounds import BOUNDS
from slm.ops.parity.certificate import Check, Closeness, Paired
from slm.ops.parity.verdict import check_adapter, check_end, decide, pair
from slm.records import Generation, Verdict

PASSED = Check(name="weights", outcome="pass", detail="")
FAILED = Check(name="BOS", outcome="fail", detail="none")


def closeness(same=50, kl=0.0, gap=None, answers=50) -> Closeness:
    tokens = {"tokens": 900, "same_tokens": 900}
    return Closeness(answers=answers, same_answers=same, kl_mean=kl, kl_max=kl, logprob_gap=gap, **tokens)


def paired(lost=0, won=0, both=40, questions=50) -> Paired | None:
    verdicts = [[True] * both + [True] * lost + [False] * won, [True] * both + [False] * lost + [True] * won]
    rest = questions - both - lost - won
    return pair(*([verdict(right) for right in column + [False] * rest] for column in verdicts))


def verdict(right, reason="row_count") -> Verdict:
    return Verdict(example_id="e", correct=right, reason="correct" if right else reason)


@pytest.mark.parametrize(
    ("near", "accuracy", "expected"),
    [
        (closeness(), paired(), "same"),
        (closeness(kl=BOUNDS.same_kl), paired(), "same"),
        (closeness(kl=BOUNDS.same_kl * 1.1), paired(), "equivalent"),
        (closeness(kl=0.2), paired(), "equivalent"),  # all answers the same
        (closeness(49, kl=1e-9), paired(), "equivalent"),
        (closeness(45, kl=0.01), paired(), "equivalent"),
        (closeness(44, kl=0.01), paired(), "different"),
        (closeness(49, kl=0.011), paired(), "different"),
        (closeness(99, answers=100, kl=0.1), paired(), "equivalent"),
        (closeness(98, answers=100, kl=0.1), paired(), "different"),
        (closeness(kl=None), paired(), "same"),
        (closeness(kl=None, gap=0.02), paired(), "same"),
        (closeness(kl=None, gap=0.021), paired(), "different"),
        (closeness(46, kl=None, gap=0.01), paired(), "equivalent"),
        (closeness(46, kl=None), paired(), "different"),
        (closeness(kl=0.001), paired(lost=2), "equivalent"),
        (closeness(kl=0.001), paired(lost=3), "different"),  # 6 points, though not significant
        (closeness(kl=0.001), paired(lost=6, won=4, both=30, questions=400), "equivalent"),
        (closeness(kl=0.001), paired(lost=9, won=0, both=300, questions=400), "different"),  # 2 points, significant
        (closeness(kl=0.001), paired(won=9), "equivalent"),
        (closeness(), None, "same"),  # nothing can be judged
        (None, None, "different"),
    ],
)
def test_verdicts(near, accuracy, expected):
    assert decide([PASSED], near, accuracy)[0] == expected


def test_a_failed_check_outweighs_every_figure_and_is_the_reason():
    assert decide([PASSED, FAILED], closeness(), paired()) == ("different", "BOS: none")


def test_mcnemar_s_exact_test():
    """Six questions lost and none won: 2 · 0.5^6."""
    assert paired(lost=6).p_value == pytest.approx(2 * 0.5**6)
    assert paired(lost=5, won=1).p_value == pytest.approx(2 * (1 + 6) * 0.5**6)
    assert paired().p_value == 1.0
    assert (paired(lost=2).reference.right, paired(lost=2).form.right, paired(lost=2).difference.value) == (
        42,
        40,
        -0.04,
    )


def test_what_nobody_can_judge_is_left_out_and_undecided_is_not_right():
    first = [verdict(True), verdict(None, "database_unavailable"), verdict(None, "both_empty")]
    found = pair(first, first)
    assert (found.reference.total, found.reference.right) == (2, 1)
    assert pair(first[1:2], first[1:2]) is None


@pytest.mark.parametrize(
    ("to_reference", "to_base", "apart", "expected"),
    [
        (1.5, 0.0, 1.5, "fail"),
        (1.5, 0.02, 1.5, "fail"),  # a quantized base model
        (0.1, 1.4, 1.5, "pass"),
        (1.5, 1.5, 1.5, "pass"),  # another fault
        (0.0, 0.0, 0.0, "not checked"),  # nothing was learned
    ],
)
def test_adapter(to_reference, to_base, apart, expected):
    assert check_adapter(to_reference, to_base, apart).outcome == expected


def answers(*reasons) -> dict[str, Generation]:
    return {
        str(number): Generation(example_id=str(number), text="", finish_reason=reason)
        for number, reason in enumerate(reasons)
    }


@pytest.mark.parametrize(
    ("ends", "base", "given", "own", "expected"),
    [
        ((-0.01, -0.01), -9.0, answers("stop", "stop"), answers("stop", "stop"), "pass"),
        ((-8.0, -0.01), -9.0, answers("stop", "stop"), answers("stop", "stop"), "fail"),
        ((-0.5, -0.01), -9.0, answers("stop", "stop"), answers("stop", "stop"), "pass"),
        ((-2.0, -0.01), -9.0, answers("stop", "stop"), answers("stop", "stop"), "pass"),  # nearer to the reference
        ((-0.01, -0.01), -9.0, answers("length", "stop"), answers("stop", "stop"), "fail"),
        (None, None, answers("length", "length"), answers("stop", "stop"), "fail"),
        (None, None, answers("stop", "stop"), answers("stop", "stop"), "pass"),
        ((-9.0, -9.0), -9.0, answers("length", "length"), answers("length", "length"), "not checked"),
    ],
)
def test_end(ends, base, given, own, expected):
    assert check_end(ends, base, given, own).outcome == expected
