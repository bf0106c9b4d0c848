"""Whether a prediction's result is right, and if not, the first reason and a small example."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from slm.sql.compare.cells import keyed, same_row
from slm.sql.compare.columns import other_permutation
from slm.sql.compare.rows import matches
from slm.sql.results import Expected, ResultSet, Row, Segment, unordered

Reason = Literal["equal", "columns", "multiplicity_only", "row_count", "order", "values"]

_SHOWN = 80  # characters of a row in a message
_DETAIL = 300  # characters of a message


@dataclass(frozen=True, slots=True)
class Outcome:
    """`equal`, or the first thing that is wrong, with an example of at most 300 characters.

    `permutation[j]` is the prediction's column that stands for the gold's column `j`; None where they stand alike.
    """

    reason: Reason
    detail: str | None = None
    permutation: tuple[int, ...] | None = None


def compare(expected: Expected, prediction: ResultSet) -> Outcome:
    """Compares on one database; a permutation of columns that is found here must then hold on every other one too.

    `columns` is another number of columns, `order` the right rows in a wrong order, `multiplicity_only` the right rows
    with other multiplicities (even if that changes their number), `row_count` another number of rows, and `values` all
    else.
    """
    ours, theirs = len(expected.labels), len(prediction.labels)
    if ours != theirs:
        return Outcome("columns", f"the gold has {ours} columns, the prediction {theirs}")
    if matches(expected, prediction, None):
        return Outcome("equal")
    permutation = other_permutation([(expected, prediction)])
    if permutation is not None:
        return Outcome("equal", None, permutation)
    gold = list(chain.from_iterable(segment.rows for segment in expected.segments))
    both = _Keyed(expected, gold, prediction.rows)
    reason = _reason(expected, gold, prediction, both)
    if reason == "order":
        return Outcome(reason, _first_mismatch(expected, prediction.rows)[:_DETAIL])
    difference = both.difference(whole=expected.count == len(gold))
    if expected.count != len(prediction.rows):
        counts = f"the gold has {expected.count} rows, the prediction {len(prediction.rows)}"
        difference = f"{counts}; {difference}" if difference else counts
    return Outcome(reason, (difference or _first_mismatch(expected, prediction.rows))[:_DETAIL])


def _reason(expected: Expected, gold: list[Row], prediction: ResultSet, both: "_Keyed") -> Reason:
    same_count = expected.count == len(prediction.rows)
    if same_count and len(expected.segments) > 1 and _right_as_bag(expected, gold, prediction, both):
        return "order"
    if expected.count == len(gold) and _same_distinct(expected, prediction, both):
        return "multiplicity_only"
    return "values" if same_count else "row_count"


def _right_as_bag(expected: Expected, gold: list[Row], prediction: ResultSet, both: "_Keyed") -> bool:
    """Whether only the order is wrong. Where LIMIT cuts a tie, the columns must stand as they are."""
    if expected.count == len(gold):
        bag = Expected(expected.labels, (Segment(gold, len(gold)),), expected.decimals)
        return matches(bag, prediction, None) or other_permutation([(bag, prediction)]) is not None
    rest: defaultdict[Hashable, list[Row]] = defaultdict(list)
    for key, row in zip(both.prediction, prediction.rows, strict=True):
        rest[key].append(row)
    keys = iter(both.gold)
    places = [(segment, [next(keys) for _ in segment.rows], list[Row]()) for segment in expected.segments]
    # Rows that must be there are placed before those that are one choice of several.
    for segment, of_segment, found in sorted(places, key=lambda place: place[0].take < len(place[0].rows)):
        for key in of_segment:
            if rest[key] and len(found) < segment.take:
                found.append(rest[key].pop())
    ordered = list(chain.from_iterable(found for _, _, found in places))
    return matches(expected, ResultSet(prediction.labels, ordered), None)


def _same_distinct(expected: Expected, prediction: ResultSet, both: "_Keyed") -> bool:
    ours = list(dict(zip(both.gold, both.gold_rows, strict=True)).values())
    theirs = list(dict(zip(both.prediction, prediction.rows, strict=True)).values())
    if len(ours) != len(theirs) or len(ours) == len(both.gold_rows) == len(prediction.rows):
        return False
    once, distinct = unordered(ResultSet(expected.labels, ours)), ResultSet(prediction.labels, theirs)
    once = Expected(once.labels, once.segments, expected.decimals)
    return matches(once, distinct, None) or other_permutation([(once, distinct)]) is not None


class _Keyed:
    """Both sides' rows with keys in place of cells, so that rows are counted although their floats are only close."""

    def __init__(self, expected: Expected, gold: list[Row], prediction: Sequence[Row]) -> None:
        self.gold_rows, self.rows = gold, prediction
        self.gold, self.prediction = keyed((gold, prediction), expected.decimals)

    def difference(self, *, whole: bool) -> str:
        """One row that the gold has more often, if the `whole` of it is expected, and one of the prediction."""
        ours, theirs = Counter(self.gold), Counter(self.prediction)
        shown = []
        for more, keys, rows in (
            (ours - theirs, self.gold, self.gold_rows),
            (theirs - ours, self.prediction, self.rows),
        ):
            if more and (whole or more.keys() <= theirs.keys()):
                key = next(iter(more))
                times = f"{ours[key]} × in the gold, {theirs[key]} × in the prediction"
                shown.append(f"{_shown(rows[keys.index(key)])} is {times}")
        return "; ".join(shown)


def _first_mismatch(expected: Expected, rows: Sequence[Row]) -> str:
    """The first row that is none of those that may stand at its place."""
    places = [segment for segment in expected.segments for _ in range(segment.take)]
    for number, (segment, row) in enumerate(zip(places, rows, strict=True), 1):
        if not any(same_row(other, row, expected.decimals) for other in segment.rows):
            return f"row {number} of the gold is {_shown(segment.rows[0])}, of the prediction {_shown(row)}"
    return "no row is new, but some are there too often"


def _shown(row: Row) -> str:
    text = repr(row)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + " …"
