"""Whether two results are equal.

- Rows are a multiset; in order only when the caller says that order counts.
- Both need the same number of columns. Labels are ignored, and one permutation of the prediction's columns, the same
  for every row, is accepted, as the official Spider test-suite script does. It is found column by column: a column may
  stand only where its values match, and a choice is dropped as soon as the rows, cut to the columns placed so far,
  differ. After `_SEARCH_STEPS` choices the search gives up (only highly symmetric results that differ come so far).
- Integers are equal exactly, an integer equals a float of its value, floats at 1e-6 relative or 1e-9 absolute.
- NULL equals NULL alone. Text equals a number only where it is that number's canonical text ('5' and 5, not '05').
- Text that is not UTF-8 comes with its bytes escaped (PEP 383), so it compares byte by byte. Text never equals a BLOB.

Imports nothing but the standard library, because the worker processes load it.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Cell = None | int | float | str | bytes
Row = tuple[Cell, ...]

_RELATIVE, _ABSOLUTE = 1e-6, 1e-9
_SEARCH_STEPS = 1000
_MATCH_ROWS = 200  # rows equal in all but their floats that are still matched one by one
_SHOWN = 120  # characters of a row in a message


@dataclass(frozen=True, slots=True)
class ResultSet:
    """A query's result: the number of columns (known even without rows) and its rows."""

    columns: int
    rows: Sequence[Row]


def compare(gold: ResultSet, prediction: ResultSet, *, ordered: bool) -> tuple[str, str | None]:
    """`("correct", None)`, or the first reason why the results differ and a small example of the difference."""
    if gold.columns != prediction.columns:
        return "column_count", f"the gold has {gold.columns} columns, the prediction {prediction.columns}"
    if len(gold.rows) != len(prediction.rows):
        counts = f"the gold has {len(gold.rows)} rows, the prediction {len(prediction.rows)}"
        return "row_count", f"{counts}; {_difference(gold.rows, prediction.rows)}"
    if _same_up_to_columns(gold, prediction, ordered):
        return "correct", None
    if ordered and _same_up_to_columns(gold, prediction, False):
        return "row_order", _first_mismatch(gold.rows, prediction.rows)
    return "wrong_values", _difference(gold.rows, prediction.rows)


def _same_up_to_columns(gold: ResultSet, prediction: ResultSet, ordered: bool) -> bool:
    if _same_rows(gold.rows, prediction.rows, ordered):
        return True
    if gold.columns < 2 or not gold.rows:
        return False
    theirs = [_profile(column) for column in zip(*prediction.rows, strict=True)]
    places: list[list[int]] = []
    for column in zip(*gold.rows, strict=True):
        ours = _profile(column)
        places.append([k for k, profile in enumerate(theirs) if _may_match(ours, profile)])
        if not places[-1]:
            return False
    steps = iter(range(_SEARCH_STEPS))
    return _place(gold.rows, prediction.rows, ordered, places, [], steps)


def _profile(column: Sequence[Cell]) -> tuple[Counter[Cell], list[int | float]]:
    """A column without its order: how often each cell is there that is no number, and the numbers, sorted."""
    numbers = [_as_number(cell) for cell in column]
    others = Counter(cell for cell, number in zip(column, numbers, strict=True) if number is None)
    return others, sorted(number for number in numbers if number is not None)


def _may_match(left: tuple[Counter[Cell], list[int | float]], right: tuple[Counter[Cell], list[int | float]]) -> bool:
    """Whether two columns could hold the same values; quick, and never False where they do."""
    return left[0] == right[0] and len(left[1]) == len(right[1]) and all(map(_close, left[1], right[1]))


def _place(
    gold: Sequence[Row],
    prediction: Sequence[Row],
    ordered: bool,
    places: list[list[int]],
    chosen: list[int],
    steps: Iterator[int],
) -> bool:
    """Depth first: `chosen[j]` is the prediction's column that stands for the gold's column `j`."""
    if len(chosen) == len(places):
        return True
    left = _cut(gold, range(len(chosen) + 1))
    for k in places[len(chosen)]:
        if k in chosen:
            continue
        if next(steps, None) is None:
            return False
        now = [*chosen, k]
        if _same_rows(left, _cut(prediction, now), ordered) and _place(gold, prediction, ordered, places, now, steps):
            return True
    return False


def _cut(rows: Sequence[Row], columns: Sequence[int]) -> list[Row]:
    return [tuple([row[j] for j in columns]) for row in rows]


def _same_rows(gold: Sequence[Row], prediction: Sequence[Row], ordered: bool) -> bool:
    if ordered:
        return gold == prediction or all(map(_same_row, gold, prediction))
    # Python's hashes agree with the rules for NULL, text, integers and equal floats, so most pairs end here.
    return gold == prediction or Counter(gold) == Counter(prediction) or _same_loosely(gold, prediction)


def _same_row(left: Row, right: Row) -> bool:
    return all(map(_same_cell, left, right))


def _same_cell(left: Cell, right: Cell) -> bool:
    if left == right:
        return True
    if isinstance(left, str) and isinstance(right, (int, float)):
        return left in _canonical_texts(right)
    if isinstance(right, str) and isinstance(left, (int, float)):
        return right in _canonical_texts(left)
    if (isinstance(left, float) and isinstance(right, (int, float))) or (
        isinstance(right, float) and isinstance(left, int)
    ):
        return _close(left, right)
    return False


def _close(left: int | float, right: int | float) -> bool:
    return left == right or math.isclose(left, right, rel_tol=_RELATIVE, abs_tol=_ABSOLUTE)


def _canonical_texts(number: int | float) -> tuple[str, ...]:
    """What SQLite prints for a number: the shortest text that reads back, or 15 digits as older versions do."""
    return (str(number),) if isinstance(number, int) else (repr(number), format(number, ".15g"))


def _as_number(cell: Cell) -> int | float | None:
    """A number, or the number whose canonical text this is."""
    if isinstance(cell, (int, float)):
        return cell
    if not isinstance(cell, str) or not 0 < len(cell) < 32 or cell[0] not in "-0123456789":
        return None
    for kind in (int, float):
        try:
            number = kind(cell)
        except ValueError:
            continue
        if cell in _canonical_texts(number):
            return number
    return None


def _same_loosely(gold: Sequence[Row], prediction: Sequence[Row]) -> bool:
    """Multiset equality where hashes do not tell: of floats, and of text beside numbers.

    Rows are grouped by their other cells, then matched by their numbers.
    """
    kinds = [set(map(type, column)) for column in zip(*gold, *prediction, strict=True)]
    loose = {j for j, kind in enumerate(kinds) if float in kind or {int, str} <= kind}
    if not loose:
        return False
    groups: dict[tuple[object, ...], tuple[list[Row], list[Row]]] = {}
    for side, rows in enumerate((gold, prediction)):
        for row in rows:
            key = tuple([float if j in loose and _as_number(cell) is not None else cell for j, cell in enumerate(row)])
            groups.setdefault(key, ([], []))[side].append(row)
    return all(len(left) == len(right) and _match(left, right) for left, right in groups.values())


def _match(left: list[Row], right: list[Row]) -> bool:
    """Rows of one group, in the order of their numbers; one by one where neighbours are within the tolerance."""
    if all(map(_same_row, sorted(left, key=_by_numbers), sorted(right, key=_by_numbers))):
        return True
    if len(left) == 1 or len(left) > _MATCH_ROWS:
        return False
    rest = list(right)
    for row in left:
        found = next((i for i, other in enumerate(rest) if _same_row(row, other)), None)
        if found is None:
            return False
        del rest[found]
    return True


def _by_numbers(row: Row) -> list[int | float]:
    """Rounded, so that the last bits of one float do not decide before the next cell is looked at."""
    numbers = [number for cell in row if (number := _as_number(cell)) is not None]
    return [float(f"{number:.9g}") if isinstance(number, float) else number for number in numbers]


def _difference(gold: Sequence[Row], prediction: Sequence[Row]) -> str:
    """One row that the gold has more often, and one that the prediction has."""
    ours, theirs = Counter(gold), Counter(prediction)
    rows = [next(iter(more)) for more in (ours - theirs, theirs - ours) if more]
    return "; ".join(f"{_shown(row)} is {ours[row]} × in the gold, {theirs[row]} × in the prediction" for row in rows)


def _first_mismatch(gold: Sequence[Row], prediction: Sequence[Row]) -> str:
    pairs = enumerate(zip(gold, prediction, strict=True), 1)
    number, (left, right) = next((n, pair) for n, pair in pairs if not _same_row(*pair))
    return f"row {number} of the gold is {_shown(left)}, of the prediction {_shown(right)}"


def _shown(row: Row) -> str:
    text = repr(row)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + " …"
