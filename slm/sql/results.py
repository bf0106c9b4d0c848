"""Results of queries, and what a gold expects of a prediction's result. Imports the standard library only."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

Cell = None | int | float | str | bytes
Row = tuple[Cell, ...]


@dataclass(frozen=True)
class ResultSet:
    """What a query returned. `labels` are the column names as the database gives them, known even without rows.

    Text that is not UTF-8 has its bad bytes escaped as lone surrogates (PEP 383).
    """

    labels: tuple[str, ...]
    rows: Sequence[Row]

    @cached_property
    def is_undecodable(self) -> bool:
        """Whether any text is not UTF-8. A gold's result is asked this beside every prediction."""
        try:
            "".join([cell for row in self.rows for cell in row if isinstance(cell, str)]).encode()
        except UnicodeEncodeError:
            return True
        return False


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the expected result: any `take` of these `rows`, each as often as it is here, in any order."""

    rows: Sequence[Row]
    take: int


@dataclass(frozen=True, slots=True)
class Expected:
    """Every result that is right for a gold: one choice from each segment, segment after segment.

    A gold without order is one segment that takes all rows; a total order is one segment a row; rows that tie on the
    sort keys share a segment, and where LIMIT cuts through a tie, the segment takes only some of its rows.
    `decimals[j]` is to how many decimals the gold rounds column `j`, None where it does not.
    """

    labels: tuple[str, ...]
    segments: tuple[Segment, ...]
    decimals: tuple[int | None, ...] = ()

    @property
    def count(self) -> int:
        """How many rows a right result has."""
        return sum(segment.take for segment in self.segments)


class Refused(Exception):
    """A query that gave no result: a reason of `Verdict` (`syntax`, `timeout`, `forbidden` …) and a message."""

    def __init__(self, reason: str, detail: str | None = None) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def unordered(result: ResultSet) -> Expected:
    """What a gold without ORDER BY expects: these rows in any order."""
    return Expected(result.labels, (Segment(result.rows, len(result.rows)),))


def strictly_ordered(result: ResultSet) -> Expected:
    """These rows in exactly this order."""
    return Expected(result.labels, tuple(Segment((row,), 1) for row in result.rows))
