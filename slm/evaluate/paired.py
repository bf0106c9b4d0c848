"""Two systems on the same questions: the difference counts only where they differ."""

from collections.abc import Sequence

from slm.records import Record, Verdict

_Z = 1.959963984540054  # of a 95 % interval


class Difference(Record):
    """How much more of the same questions the second system has right, with its 95 % interval; shares, not percent.

    `gained` of the `total` questions only the second has right, `lost` only the first.
    """

    value: float
    low: float
    high: float
    gained: int
    lost: int
    total: int


def paired_difference(first: Sequence[Verdict], second: Sequence[Verdict]) -> Difference:
    """The second's accuracy minus the first's, on the same questions in the same order.

    The interval is Wald's after half a question was added to each cell of the table, which keeps its promise on small
    samples (Agresti and Min 2005, doi:10.1002/sim.1781). Raises ValueError for other questions, or none.
    """
    if not first or [each.example_id for each in first] != [each.example_id for each in second]:
        raise ValueError("paired verdicts must be on the same questions, and at least one")
    pairs = [(bool(one.correct), bool(other.correct)) for one, other in zip(first, second, strict=True)]
    gained, lost, total = pairs.count((False, True)), pairs.count((True, False)), len(pairs)
    centre = (gained - lost) / (total + 2)
    half = _Z * ((gained + lost + 1 - (gained - lost) ** 2 / (total + 2)) ** 0.5) / (total + 2)
    return Difference(
        value=(gained - lost) / total,
        low=max(-1.0, centre - half),
        high=min(1.0, centre + half),
        gained=gained,
        lost=lost,
        total=total,
    )


def mcnemar(difference: Difference) -> float:
    """The two-sided p-value of McNemar's exact test (McNemar 1947): could the difference be chance?"""
    from scipy.stats import binomtest  # takes most of a second to import

    told = difference.gained + difference.lost
    return float(binomtest(difference.lost, told).pvalue) if told else 1.0
