"""The search for a permutation of columns that makes bags of rows equal, by colour refinement instead of all orders.

Columns are coloured by their cells, rows by their cells in coloured columns, columns by their cells in coloured rows,
until no class splits. While a class has several columns, one is paired with each candidate in turn and refined again
(individualisation and refinement, as programs for graph isomorphism do).
"""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

from slm.sql.compare.cells import Keyed

Permutation = tuple[int, ...]

_MOST_NODES = 2000
_MOST_CELLS = 20_000_000  # looked at over the whole search


@dataclass(frozen=True, slots=True)
class Bag:
    """Rows of both sides that must become equal; with fewer rows in the prediction, a part of the gold's."""

    gold: Sequence[Keyed]
    prediction: Sequence[Keyed]

    @property
    def is_partial(self) -> bool:
        """Whether the gold offers more rows than are taken."""
        return len(self.prediction) < len(self.gold)


@dataclass(slots=True)
class _Side:
    rows: list[tuple[int, ...]]
    tags: list[int]
    columns: list[tuple[int, ...]]


_Colours = tuple[list[int], list[int]]


class Search:
    """Finds `permutation[j]`, the prediction's column for the gold's column `j`.

    `forced` fixes some of them, `may_stand(j, k)` rules out others, `alike[k]` is the same for columns of the
    prediction that need not be told apart, and `accept` has the last word. The search gives up after 2,000 tries or
    20 million cells; then equal results whose columns are highly symmetric are called different.
    """

    def __init__(
        self,
        width: int,
        bags: Sequence[Bag],
        accept: Callable[[Permutation], bool],
        *,
        alike: Sequence[int],
        forced: Mapping[int, int] | None = None,
        may_stand: Callable[[int, int], bool] = lambda _j, _k: True,
    ) -> None:
        self._width, self._accept, self._alike, self._may_stand = width, accept, alike, may_stand
        self._partial = [bag for bag in bags if bag.is_partial]
        self._forced = dict(forced or {})
        self._nodes, self._cells = _MOST_NODES, _MOST_CELLS
        full = [bag for bag in bags if not bag.is_partial]
        tags: dict[tuple[int, int], int] = {}
        cells: dict[Hashable, int] = {}
        self._sides = [
            _side(width, [bag.gold for bag in full], tags, cells),
            _side(width, [bag.prediction for bag in full], tags, cells),
        ]
        self._base = len(cells)

    def find(self) -> Permutation | None:
        """A permutation that is accepted, or None."""
        gold, prediction = self._sides
        if len(set(self._forced.values())) < len(self._forced) or sorted(gold.tags) != sorted(prediction.tags):
            return None
        colours = ([0] * self._width, [0] * self._width)
        for colour, (j, k) in enumerate(self._forced.items(), 1):
            colours[0][j] = colours[1][k] = colour
        return self._descend(colours)

    def _descend(self, start: _Colours) -> Permutation | None:
        self._nodes -= 1
        colours = self._refine(start)
        if colours is None or not self._partial_agree(colours):
            return None
        ours, theirs = colours
        classes = [(ours.count(colour), j) for j, colour in enumerate(ours) if ours.count(colour) > 1]
        if not classes:
            permutation = tuple(theirs.index(colour) for colour in ours)
            return permutation if self._accept(permutation) else None
        j = min(classes)[1]
        tried = set()
        for k in range(self._width):
            if theirs[k] != ours[j] or self._alike[k] in tried or not self._may_stand(j, k):
                continue
            if self._nodes <= 0 or self._cells <= 0:
                return None
            tried.add(self._alike[k])
            fresh = max(ours) + 1
            found = self._descend(([*ours[:j], fresh, *ours[j + 1 :]], [*theirs[:k], fresh, *theirs[k + 1 :]]))
            if found is not None:
                return found
        return None

    def _refine(self, colours: _Colours) -> _Colours | None:
        """Splits classes until none splits; None as soon as the two sides' colours differ."""
        number = len(set(colours[0]))
        rows = [side.tags for side in self._sides]
        if number > 1:
            rows = self._row_colours(colours)
        while number < self._width:
            last, whole = number, rows[0] is not self._sides[0].tags
            colours = self._column_colours(colours, rows)
            if sorted(colours[0]) != sorted(colours[1]):
                return None
            number = len(set(colours[0]))
            if number == last and whole:
                break
            if number < self._width:
                rows = self._row_colours(colours)
        return colours

    def _row_colours(self, colours: _Colours) -> list[list[int]]:
        self._cells -= 2 * self._width * len(self._sides[0].rows)
        names: dict[tuple[int, tuple[int, ...]], int] = {}
        coloured = []
        for side, columns in zip(self._sides, colours, strict=True):
            offsets = [colour * self._base for colour in columns]
            found = []
            for tag, row in zip(side.tags, side.rows, strict=True):
                name = (tag, tuple(sorted(map(int.__add__, offsets, row))))
                found.append(names.setdefault(name, len(names)))
            coloured.append(found)
        return coloured

    def _column_colours(self, colours: _Colours, rows: list[list[int]]) -> _Colours:
        self._cells -= 2 * self._width * len(self._sides[0].rows)
        names: dict[tuple[int, tuple[int, ...]], int] = {}
        coloured = []
        for side, columns, of_rows in zip(self._sides, colours, rows, strict=True):
            offsets = [colour * self._base for colour in of_rows]
            found = []
            for colour, column in zip(columns, side.columns, strict=True):
                name = (colour, tuple(sorted(map(int.__add__, offsets, column))))
                found.append(names.setdefault(name, len(names)))
            coloured.append(found)
        return coloured[0], coloured[1]

    def _partial_agree(self, colours: _Colours) -> bool:
        """Whether the rows, cut to the columns that are paired already, are still a part of the gold's rows."""
        ours, theirs = colours
        paired = [(j, theirs.index(colour)) for j, colour in enumerate(ours) if ours.count(colour) == 1]
        return not paired or all(
            Counter([tuple([row[k] for _, k in paired]) for row in bag.prediction])
            <= Counter([tuple([row[j] for j, _ in paired]) for row in bag.gold])
            for bag in self._partial
        )


def _side(
    width: int, bags: list[Sequence[Keyed]], tags: dict[tuple[int, int], int], cells: dict[Hashable, int]
) -> _Side:
    """Different rows of each bag, with a tag for the bag and how often the row is there."""
    rows, of_rows = [], []
    for number, bag in enumerate(bags):
        for row, count in Counter(bag).items():
            rows.append(tuple([cells.setdefault(cell, len(cells)) for cell in row]))
            of_rows.append(tags.setdefault((number, count), len(tags)))
    return _Side(rows, of_rows, list(zip(*rows, strict=True)) if rows else [()] * width)
