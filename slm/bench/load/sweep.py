"""Looks for the highest rate that keeps an objective: up by doubling, then by halving the gap."""

from collections.abc import Callable

from slm.errors import InputError


def find_rate(meets: Callable[[float], bool], low: float, high: float, *, steps: int = 4) -> float | None:
    """The highest rate between `low` and `high` for which `meets` was true; None if it was not even for `low`.

    The rate is doubled until one misses; then the gap between the last that met and the first that missed is halved
    (by the geometric mean) `steps` times: 4 steps leave it below 5 %. A rate is tried once.
    """
    if not 0 < low <= high:
        raise InputError(
            "no range of rates", where=f"--sweep {low:g},{high:g}", expected="LOW,HIGH with 0 < LOW <= HIGH"
        )
    if not meets(low):
        return None
    good, bad = low, None
    while bad is None and good < high:
        rate = min(2 * good, high)
        if meets(rate):
            good = rate
        else:
            bad = rate
    for _ in range(steps if bad is not None else 0):
        rate = float(f"{(good * (bad or good)) ** 0.5:.3g}")
        if not good < rate < (bad or good):
            break
        if meets(rate):
            good = rate
        else:
            bad = rate
    return good
