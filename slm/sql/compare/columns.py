"""Which column of a prediction stands for which column of the gold."""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain

from slm.sql.compare.cells import Decimals, Number, as_number, keyed, reach
from slm.sql.compare.refine import Bag, Permutation, Search
from slm.sql.compare.rows import matches
from slm.sql.results import Cell, Expected, ResultSet, Row

Evidence = Sequence[tuple[Expected, ResultSet]]


def find_permutation(evidence: Evidence) -> Permutation | None:
    """One permutation that makes every result of the evidence right: the identity if it does, else None if none does.

    The evidence is one query pair's results on several databases, so labels are the same in all of it. Another
    permutation than the identity must not contradict the labels: a gold's label that is also the label of exactly one
    prediction column can only be that column. Without evidence there is None.
    """
    if not evidence:
        return None
    if all(matches(expected, prediction, None) for expected, prediction in evidence):
        return tuple(range(len(evidence[0][0].labels)))
    return other_permutation(evidence)


def other_permutation(evidence: Evidence) -> Permutation | None:
    """As `find_permutation`, where the identity is known to fail."""
    width = len(evidence[0][0].labels)
    if width < 2 or any(
        len(expected.labels) != width or len(prediction.labels) != width or expected.count != len(prediction.rows)
        for expected, prediction in evidence
    ):
        return None

    def accept(permutation: Permutation) -> bool:
        return all(matches(expected, prediction, permutation) for expected, prediction in evidence)

    forced = _forced(evidence[0][0].labels, evidence[0][1].labels)
    if len(forced) == width:
        only = tuple(forced[j] for j in range(width))
        return only if only != tuple(range(width)) and len(set(only)) == width and accept(only) else None
    decimals = evidence[0][0].decimals
    stretches = _stretches(evidence)
    parts = keyed([part for stretch in stretches for part in stretch], decimals)
    theirs = list(zip(*chain.from_iterable(prediction.rows for _, prediction in evidence), strict=True))
    # With types, because 1 and 1.0 are one cell to Python, but not equally close to other numbers.
    numbers: dict[tuple[tuple[Cell, ...], tuple[type, ...]], int] = {}
    search = Search(
        width,
        [Bag(gold, prediction) for gold, prediction in zip(parts[::2], parts[1::2], strict=True)],
        accept,
        alike=[numbers.setdefault((column, tuple(map(type, column))), k) for k, column in enumerate(theirs)],
        forced=forced,
        may_stand=_may_stand(stretches, decimals),
    )
    return search.find()


def _stretches(evidence: Evidence) -> list[tuple[Sequence[Row], Sequence[Row]]]:
    """The gold's rows of each segment, and the prediction's rows that stand there."""
    found = []
    for expected, prediction in evidence:
        start = 0
        for segment in expected.segments:
            found.append((segment.rows, prediction.rows[start : start + segment.take]))
            start += segment.take
    return found


def _may_stand(stretches: list[tuple[Sequence[Row], Sequence[Row]]], decimals: Decimals) -> Callable[[int, int], bool]:
    """A quick test of two columns by their sorted numbers: keys say nothing where all numbers form one chain."""
    full = [(gold, prediction) for gold, prediction in stretches if len(gold) == len(prediction)]

    @cache
    def numbers(side: int, column: int) -> list[list[Number]]:
        found = [[as_number(row[column]) for row in pair[side]] for pair in full]
        return [sorted(n for n in cells if n is not None and n == n) for cells in found]

    @cache
    def may_stand(j: int, k: int) -> bool:
        to = decimals[j] if decimals else None
        return all(
            len(left) == len(right)
            and all(a == b or abs(a - b) <= max(reach(a, to), reach(b, to)) for a, b in zip(left, right, strict=True))
            for left, right in zip(numbers(0, j), numbers(1, k), strict=True)
        )

    return may_stand


def _forced(gold: Sequence[str], prediction: Sequence[str]) -> dict[int, int]:
    """The gold's columns that their label ties to one column of the prediction."""
    ours, theirs = [_name(label) for label in gold], [_name(label) for label in prediction]
    return {j: theirs.index(name) for j, name in enumerate(ours) if theirs.count(name) == 1}


def _name(label: str) -> str:
    """`T1."Name"` and `name` are one label. The dots in an expression, such as `max(T1.age)`, part nothing."""
    last = label if "(" in label else label.rpartition(".")[2]
    return "".join(last.casefold().split()).translate(_QUOTES)


_QUOTES = str.maketrans("", "", "\"'`[]")
