"""A cascade: the small model answers first, and questions that it is unsure of go on to the large one.

Everything is reckoned from recorded answers. A question is sent on where the small model's confidence in its answer is
below a threshold; it then costs both answers, and takes the time of both.
"""

import hashlib
from collections.abc import Sequence

from slm.bench.load.slo import quantile
from slm.errors import InputError
from slm.records import Rate, Record

_FOLDS = 10


class Answered(Record):
    """One question as both systems answered it, judged. Confidence: of the small model, higher is surer; None: none.

    Seconds are those of each answer alone; None where they were not measured.
    """

    id: str
    small_right: bool
    large_right: bool
    confidence: float | None
    small_s: float | None = None
    large_s: float | None = None


class Prices(Record):
    """USD for 1,000 answers of each; None where it is not known."""

    small_usd: float | None = None
    large_usd: float | None = None


class Point(Record):
    """The cascade at one threshold: answers with a lower confidence are sent on; None sends on every one.

    `usd_per_1000` and `p95_s` are None where a part of them is not known.
    """

    threshold: float | None
    sent: float
    accuracy: Rate
    usd_per_1000: float | None
    p95_s: float | None


class Cascade(Record):
    """The sweep, from nothing sent on to everything, with both models alone.

    `chosen` is the point with the fewest questions sent on whose accuracy is at most `within` below the better model's.
    It was chosen by these questions and so flatters itself; `held_out` is the accuracy of the same choice when the
    threshold of each tenth of the questions is chosen by the others, `held_out_sent` the share that is then sent on.
    """

    questions: int
    within: float
    small: Rate
    large: Rate
    points: tuple[Point, ...]
    chosen: Point
    held_out: Rate
    held_out_sent: float


def cascade(answered: Sequence[Answered], prices: Prices, *, within: float) -> Cascade:
    """`within`: the accuracy that may be lost against the better of the two models, as a share.

    Raises InputError without questions, or where the small model's answers have no confidence.
    """
    if not answered:
        raise InputError("no question was judged for both systems", expected="results on the same questions")
    if all(one.confidence is None for one in answered):
        raise InputError(
            "none of the small model's answers has a log-probability, so nothing says which ones it is unsure of",
            expected="answers of slm generate, or of a server that gives log-probabilities",
        )
    points = [_point(answered, threshold, prices) for threshold in _thresholds(answered)]
    routed = [
        _sent(one, threshold)
        for fold in range(_FOLDS)
        if (tested := [one for one in answered if _fold(one.id) == fold])
        for threshold in [_choose([one for one in answered if _fold(one.id) != fold] or tested, within)]
        for one in sorted(tested, key=lambda each: each.id)
    ]
    by_fold = sorted(answered, key=lambda one: (_fold(one.id), one.id))
    chosen = _choose(answered, within)
    return Cascade(
        questions=len(answered),
        within=within,
        small=Rate.of(sum(one.small_right for one in answered), len(answered)),
        large=Rate.of(sum(one.large_right for one in answered), len(answered)),
        points=tuple(points),
        chosen=next(point for point in points if point.threshold == chosen),
        held_out=Rate.of(sum(map(_right, by_fold, routed)), len(answered)),
        held_out_sent=sum(routed) / len(answered),
    )


def _thresholds(answered: Sequence[Answered]) -> list[float | None]:
    """One below which nothing is, one for each confidence, and None."""
    known = sorted({one.confidence for one in answered if one.confidence is not None})
    return [*known, None]


def _sent(one: Answered, threshold: float | None) -> bool:
    return threshold is None or one.confidence is None or one.confidence < threshold


def _right(one: Answered, sent: bool) -> bool:
    return one.large_right if sent else one.small_right


def _choose(answered: Sequence[Answered], within: float) -> float | None:
    """The lowest threshold that is right often enough."""
    better = max(sum(one.small_right for one in answered), sum(one.large_right for one in answered))
    # One question more crosses the threshold at a time, so that the sum need not be made anew for each.
    surest_last = sorted(answered, key=lambda one: (one.confidence is not None, one.confidence or 0.0))
    right, place = sum(one.small_right for one in answered), 0
    for threshold in _thresholds(answered):
        while place < len(surest_last) and _sent(surest_last[place], threshold):
            one = surest_last[place]
            right, place = right + one.large_right - one.small_right, place + 1
        if right >= better - within * len(answered):
            return threshold
    return None  # the small model is the better one, but too many of its answers have no confidence


def _point(answered: Sequence[Answered], threshold: float | None, prices: Prices) -> Point:
    sent = [_sent(one, threshold) for one in answered]
    share = sum(sent) / len(answered)
    small, large = prices.small_usd, prices.large_usd
    seconds = [_seconds(one, goes) for one, goes in zip(answered, sent, strict=True)]
    known = [one for one in seconds if one is not None]
    return Point(
        threshold=threshold,
        sent=share,
        accuracy=Rate.of(sum(map(_right, answered, sent)), len(answered)),
        usd_per_1000=None if small is None or large is None else small + share * large,
        p95_s=quantile(sorted(known), 0.95) if len(known) == len(seconds) else None,
    )


def _seconds(one: Answered, sent: bool) -> float | None:
    if one.small_s is None or (sent and one.large_s is None):
        return None
    return one.small_s + (one.large_s or 0.0) * sent


def _fold(name: str) -> int:
    """By the question's name alone, so that it is the same for every system and at any time."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % _FOLDS
