"""What BIRD's script and the Spider test-suite script say of the same two results, their quirks included."""

from collections import Counter
from itertools import chain

from slm.sql.compare.refine import Bag, Permutation, Search
from slm.sql.results import Cell, ResultSet, Row


def bird(gold: ResultSet, prediction: ResultSet) -> bool:
    """BIRD's execution accuracy: the sets of rows are equal, as Python compares tuples.

    Quirks: neither order nor multiplicity counts; two empty results are equal whatever their columns, so a query that
    returns nothing, even DELETE, is right where the gold returns nothing; columns must stand in the gold's order;
    floats are compared to the last bit; text that is not UTF-8, in either result, fails in Python's sqlite3 and so
    counts as wrong, even beside itself.
    """
    if gold.rows != prediction.rows and set(gold.rows) != set(prediction.rows):
        return False
    return not gold.is_undecodable and not prediction.is_undecodable


def test_suite(gold: ResultSet, prediction: ResultSet, *, ordered: bool) -> bool:
    """`result_eq` of the Spider test-suite script; `ordered` is what `test_suite_ordered` says of the gold.

    Quirks: two empty results are equal whatever their columns; bytes that are not UTF-8 are dropped from text; any
    permutation of columns is accepted, whatever the labels; floats are compared to the last bit; cells are first sorted
    inside each row by their text and type, so rows with an integer on one side and the equal float on the other can be
    rejected (`(1, 1.5)` beside `(1.0, 1.5)`), and a row with -0.0 beside one with 0.0.

    The script tries orders of columns one by one, choosing rows at random to rule some out; this finds the same answer
    by colour refinement.
    """
    if len(gold.rows) != len(prediction.rows):
        return False
    if not gold.rows:
        return True
    ours, theirs = _decoded(gold), _decoded(prediction)
    width = len(ours[0])
    if len(theirs[0]) != width:
        return False
    if ours == theirs and _printed_alike(ours, theirs):
        return True
    left, right = [_sorted_cells(row) for row in ours], [_sorted_cells(row) for row in theirs]
    if ordered:
        return left == right and Counter(zip(*ours, strict=True)) == Counter(zip(*theirs, strict=True))
    return set(left) == set(right) and (Counter(ours) == Counter(theirs) or _same_up_to_columns(ours, theirs))


def _same_up_to_columns(ours: list[Row], theirs: list[Row]) -> bool:
    bag = Counter(ours)

    def accept(permutation: Permutation) -> bool:
        return Counter([tuple([row[k] for k in permutation]) for row in theirs]) == bag

    numbers: dict[tuple[Cell, ...], int] = {}
    alike = [numbers.setdefault(column, k) for k, column in enumerate(zip(*theirs, strict=True))]
    return Search(len(ours[0]), [Bag(ours, theirs)], accept, alike=alike).find() is not None


def _sorted_cells(row: Row) -> Row:
    return row if len(row) == 1 else tuple(sorted(row, key=lambda cell: str(cell) + str(type(cell))))


def _printed_alike(ours: list[Row], theirs: list[Row]) -> bool:
    """Whether equal rows are also of equal text: floats print in other ways than the integers that they equal."""
    kinds = set(map(type, chain(chain.from_iterable(ours), chain.from_iterable(theirs))))
    return float not in kinds or repr(ours) == repr(theirs)


def _decoded(result: ResultSet) -> list[Row]:
    """The rows as the script's text factory gives them: bytes that are not UTF-8 are left out."""
    if not result.is_undecodable:
        return result.rows if isinstance(result.rows, list) else list(result.rows)
    return [
        tuple([cell.encode(errors="ignore").decode() if isinstance(cell, str) else cell for cell in row])
        for row in result.rows
    ]
