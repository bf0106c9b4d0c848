"""From a gold's result and its ranks to every result that is right for it."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby

from slm.sql.golds.plan import GoldPlan
from slm.sql.results import Cell, Expected, ResultSet, Row, Segment, strictly_ordered, unordered


def expect(plan: GoldPlan, gold: ResultSet, ranked_rows: Sequence[Row] | None) -> tuple[Expected, bool]:
    """What a prediction's result must be, and whether the gold is ambiguous: a tie at LIMIT leaves it a choice.

    `ranked_rows` is what `plan.ranked` returned, None where it was not run or failed. Without it, or where it does not
    go together with the gold's own result, a gold with ORDER BY expects exactly its own order, ties included.
    """
    decimals = plan.decimals(len(gold.labels))
    if ranked_rows is not None:
        found = Expected(gold.labels, _segments(plan, ranked_rows), decimals)
        if admits(found, gold.rows):
            return found, any(_is_choice(segment) for segment in found.segments)
    strict = strictly_ordered(gold) if plan.ordered else unordered(gold)
    return replace(strict, decimals=decimals), False


def admits(expected: Expected, rows: Sequence[Row], key: Callable[[Cell], Cell] | None = None) -> bool:
    """Whether the rows are one of the expected results, their columns in place and their cells equal under `key`."""
    if len(rows) != expected.count:
        return False

    def counted(some: Sequence[Row]) -> Counter[Row]:
        return Counter(some if key is None else [tuple(map(key, row)) for row in some])

    start = 0
    for segment in expected.segments:
        part = rows[start : start + segment.take]
        start += segment.take
        if not counted(part) <= counted(segment.rows):
            return False
    return True


def _segments(plan: GoldPlan, ranked_rows: Sequence[Row]) -> tuple[Segment, ...]:
    """Each group of ties takes as many rows as lie in the window that OFFSET and LIMIT leave."""
    first = plan.offset
    end = len(ranked_rows) if plan.limit is None else first + plan.limit
    segments, at = [], 0
    for _, group in groupby(ranked_rows, key=lambda row: row[-1]):
        rows = [row[:-1] for row in group]
        take = min(at + len(rows), end) - max(at, first)
        at += len(rows)
        if take > 0:
            segments.append(Segment(rows, take))
    return tuple(segments)


def _is_choice(segment: Segment) -> bool:
    return segment.take < len(segment.rows) and len(set(segment.rows)) > 1
