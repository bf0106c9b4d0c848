"""When two cells are equal: exact, close or canonical text, and keys that equal cells share."""

import math
from bisect import bisect_left
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from functools import cache
from itertools import chain

from slm.sql.results import Cell, Row

Number = int | float
Decimals = tuple[int | None, ...]
Keyed = tuple[Hashable, ...]

_RELATIVE, _ABSOLUTE = 1e-6, 1e-9  # between floats
_RELATIVE_TO_INTEGER = 1e-12  # between a float and an integer, for the rounding of a computed float
_EXACT = 2**53  # beyond it floats do not tell neighbouring integers apart
_FIGURES = 17  # that tell every float from its neighbours
_LONGEST_NUMBER = 32  # characters of a number's canonical text, with room to spare


def same(left: Cell, right: Cell, decimals: int | None = None) -> bool:
    """Whether two cells are equal; `decimals` is to how many decimals the gold rounds this column, if it does.

    Closeness is not transitive: 1.0 and 1.0000018 are both close to 1.0000009, and not to one another.
    """
    if left == right:
        return True
    if isinstance(left, str):
        return isinstance(right, (int, float)) and _is_canonical(left, right)
    if isinstance(right, str):
        return isinstance(left, (int, float)) and _is_canonical(right, left)
    if not isinstance(left, (int, float)) or not isinstance(right, (int, float)):
        return False
    if isinstance(left, float) and isinstance(right, float):
        if left != left:  # NaN, which DuckDB and PostgreSQL return
            return right != right
        relative = _RELATIVE
    elif isinstance(left, float) or isinstance(right, float):
        if not (abs(left) < _EXACT and abs(right) < _EXACT):
            return False
        relative = _RELATIVE_TO_INTEGER
    else:
        return False
    if decimals is None or math.isinf(left) or math.isinf(right):
        return math.isclose(left, right, rel_tol=relative, abs_tol=_ABSOLUTE)
    return abs(left - right) <= max(reach(left, decimals), reach(right, decimals))


def same_row(gold: Row, prediction: Row, decimals: Decimals) -> bool:
    """Whether two rows are equal cell by cell; no `decimals` means that the gold rounds no column."""
    return all(map(same, gold, prediction, decimals)) if decimals else all(map(same, gold, prediction))


def reach(number: Number, decimals: int | None) -> float:
    """No number farther from this one than that is close to it. Half a decimal gets a hair of slack."""
    if decimals is None:
        return max(_RELATIVE * abs(number), _ABSOLUTE)
    return 0.5 * 10.0**-decimals + _RELATIVE_TO_INTEGER * abs(number) + _ABSOLUTE


def as_number(cell: Cell) -> Number | None:
    """A number, or the number whose canonical text this is."""
    if isinstance(cell, (int, float)):
        return cell
    if not isinstance(cell, str) or not 0 < len(cell) < _LONGEST_NUMBER or cell[0] not in "-0123456789I":
        return None
    for kind in (int, float):
        try:
            number = kind(cell)
        except ValueError:
            continue
        if _is_canonical(cell, number):
            return number
    return None


def is_loose(kinds: Collection[type]) -> bool:
    """Whether cells of these types can be equal without being equal in Python."""
    return float in kinds or (int in kinds and str in kinds)


def _is_canonical(text: str, number: Number) -> bool:
    """Whether SQLite prints the number so: in 17 digits that read back the same, or in 15 as versions before 3.5x."""
    if isinstance(number, int):
        return text == str(number)
    if not math.isfinite(number):
        return text == ("Inf" if number > 0 else "-Inf" if number < 0 else None)
    number += 0.0  # SQLite prints no negative zero
    longest = _with_point(format(number, ".17g"))
    return text in (longest, _with_point(format(number, ".15g"))) or _reads_back(text, longest, number)


def _reads_back(text: str, longest: str, number: float) -> bool:
    """Fewer digits than the longest form, or a last digit off by one as SQLite's often is, but written in its form."""
    digits, _, exponent = text.partition("e")
    whole, _, fraction = digits.partition(".")
    form, _, power = longest.partition("e")
    figures = whole.removeprefix("-") + fraction
    return (
        exponent == power
        and len(whole) == len(form.partition(".")[0])
        and figures.isascii()
        and figures.isdigit()
        and len(figures.strip("0")) <= _FIGURES
        and (fraction == "0" or (fraction != "" and fraction[-1] != "0"))
        and float(text) == number
    )


def _with_point(text: str) -> str:
    digits, e, exponent = text.partition("e")
    return f"{digits}{'' if '.' in digits else '.0'}{e}{exponent}"


class Keys:
    """Gives each cell a key that all cells equal to it share, although closeness is not transitive.

    Floats are sorted and linked where neighbours are close; a chain of links has one key. An integer joins the chain of
    a float beside it that is close. Cells that differ may share a key too, so equal keys prove nothing.
    """

    def __init__(self, cells: Iterable[Cell], decimals: Iterable[int | None]) -> None:
        self._decimals = set(decimals) or {None}
        numbers = {number for cell in cells if isinstance(number := as_number(cell), float)}
        self._floats = sorted(number for number in numbers if number == number)
        self._chains = [0] * len(self._floats)
        for i in range(1, len(self._floats)):
            self._chains[i] = self._chains[i - 1] + (not self._linked(self._floats[i - 1], self._floats[i]))

    def __call__(self, cell: Cell) -> Hashable:
        """The key. Only cells that the constructor saw have one that can be relied on."""
        number = as_number(cell)
        if number is None:
            return cell
        if number != number:
            return ("nan",)
        at = bisect_left(self._floats, number)
        for i in (at, at - 1):
            if 0 <= i < len(self._floats) and self._close(number, self._floats[i]):
                return ("near", self._chains[i])
        return number

    def _close(self, number: Number, other: float) -> bool:
        return number == other or any(same(number, other, decimals) for decimals in self._decimals)

    def _linked(self, left: float, right: float) -> bool:
        """Thrice as far as close: an integer between two floats may be close to both."""
        farthest = max(reach(number, decimals) for number in (left, right) for decimals in self._decimals)
        return math.isfinite(left) and math.isfinite(right) and right - left <= 3 * farthest


def keyed(parts: Sequence[Sequence[Row]], decimals: Decimals) -> Sequence[Sequence[Keyed]]:
    """All parts' rows with keys in place of cells, so that rows whose cells are all equal are equal in Python."""
    rows = [row for part in parts for row in part]
    if not is_loose(set(map(type, chain.from_iterable(rows)))):
        return parts
    key: Callable[[Cell], Hashable] = cache(Keys(chain.from_iterable(rows), decimals))
    return [[tuple([key(cell) for cell in row]) for row in part] for part in parts]
