"""The steady window of a phase: what lies between its warm-up and its drain."""

from collections.abc import Sequence

from slm.bench.load.records import Outcome
from slm.records import Record

_BATCH = 5  # as the rule's authors have it
_ENOUGH = 50  # requests; of fewer nothing can be told


class Window(Record):
    """`start_s` to `end_s` of a phase, in which `requests` were scheduled, after `warm_up` others.

    `steady`: whether the latency settled; None where there are too few requests to tell.
    """

    phase: int
    start_s: float
    end_s: float
    warm_up: int
    requests: int
    steady: bool | None


def find_window(outcomes: Sequence[Outcome]) -> Window | None:
    """The window of one phase's requests; None of none.

    The warm-up ends by MSER-5 (White 1997, doi:10.1177/003754979706900601): where the standard error of the mean of
    what follows is least. If that is half of the requests, the latency never settled, and nothing is cut off. The
    drain begins when the last request is due: from then on the load falls. Where nothing was answered by then, there
    are too few requests for a window, and it is all of them.
    """
    if not outcomes:
        return None
    ordered = sorted(outcomes, key=lambda outcome: outcome.scheduled_s)
    warm_up, steady = 0, None
    if len(ordered) >= _ENOUGH:
        cut = mser([outcome.total_s for outcome in ordered])
        steady = cut < len(ordered) // _BATCH // 2
        warm_up = _BATCH * cut if steady else 0
    start, end = ordered[warm_up].scheduled_s, ordered[-1].scheduled_s
    if not any(start < outcome.ended_s <= end for outcome in ordered):  # all at once: there is nothing but the drain
        end, steady = max(outcome.ended_s for outcome in ordered), None
    return Window(
        phase=ordered[0].phase,
        start_s=start,
        end_s=end,
        warm_up=warm_up,
        requests=len(ordered) - warm_up,
        steady=steady,
    )


def mser(values: Sequence[float]) -> int:
    """How many batches of five values at the front belong to the warm-up, of at most half of them."""
    means = [sum(values[at : at + _BATCH]) / _BATCH for at in range(0, len(values) - _BATCH + 1, _BATCH)]
    best, best_cut = float("inf"), 0
    total = squares = 0.0
    for cut in range(len(means) - 1, -1, -1):  # from the back, so that sums need one pass
        total, squares = total + means[cut], squares + means[cut] ** 2
        left = len(means) - cut
        error = max(squares - total**2 / left, 0.0) / left**2
        if cut <= len(means) // 2 and error <= best:
            best, best_cut = error, cut
    return best_cut
