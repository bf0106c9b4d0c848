"""Whether a prediction's rows are what a gold expects, under one order of columns."""

from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import chain

from slm.sql.compare.cells import Decimals, Keys, Number, as_number, is_loose, same_row
from slm.sql.results import Expected, ResultSet, Row, Segment

_MOST_PAIRS = 60_000  # of rows with equal keys that are still matched one by one


def matches(expected: Expected, prediction: ResultSet, permutation: tuple[int, ...] | None) -> bool:
    """Whether the prediction is right if its column `permutation[j]` stands for the gold's column `j`; None: as it is.

    More than 60,000 pairs of rows whose numbers are all nearly alike, and that sorting does not pair, are called
    different.
    """
    if len(expected.labels) != len(prediction.labels):
        return False
    rows = _as_list(prediction.rows)
    if permutation is not None:
        rows = [tuple([row[j] for j in permutation]) for row in rows]
    segments = expected.segments
    if len(segments) == 1:
        return _segment_matches(segments[0], rows, expected.decimals)
    if len(rows) != expected.count:
        return False
    if rows == list(chain.from_iterable(segment.rows for segment in segments)):
        return all(segment.take == len(segment.rows) for segment in segments)
    start = 0
    for segment in segments:
        if not _segment_matches(segment, rows[start : start + segment.take], expected.decimals):
            return False
        start += segment.take
    return True


def _as_list(rows: Sequence[Row]) -> list[Row]:
    return rows if isinstance(rows, list) else list(rows)


def _segment_matches(segment: Segment, rows: list[Row], decimals: Decimals) -> bool:
    gold = _as_list(segment.rows)
    if len(rows) != segment.take:
        return False
    if rows == gold:
        return True
    if len(gold) == 1 == len(rows):
        return same_row(gold[0], rows[0], decimals)
    if len(rows) == len(gold):
        # Python's hashes agree with the rules for NULL, text, integers and equal floats, so most pairs end here.
        return Counter(rows) == Counter(gold) or _same_loosely(gold, rows, decimals)
    return Counter(rows) <= Counter(gold) or _same_loosely(gold, rows, decimals)


def _same_loosely(gold: list[Row], rows: list[Row], decimals: Decimals) -> bool:
    """Where hashes do not tell: rows are grouped by keys that equal cells share, then matched inside their group."""
    columns = list(zip(*gold, *rows, strict=True))
    loose = {j for j, column in enumerate(columns) if is_loose(set(map(type, column)))}
    if not loose:
        return False
    keys = {j: Keys(columns[j], decimals[j : j + 1]) for j in loose}
    groups: dict[tuple[Hashable, ...], tuple[list[Row], list[Row]]] = {}
    for side, part in enumerate((gold, rows)):
        for row in part:
            key = tuple([keys[j](cell) if j in loose else cell for j, cell in enumerate(row)])
            groups.setdefault(key, ([], []))[side].append(row)
    # Where all gold rows are taken, the groups' sizes then agree too, since the totals do.
    if any(len(right) > len(left) for left, right in groups.values()):
        return False
    return all(_group_matches(left, right, decimals) for left, right in groups.values())


def _group_matches(gold: list[Row], rows: list[Row], decimals: Decimals) -> bool:
    """Whether each row has a gold row of its own: in the order of their numbers, or by the best assignment."""
    rest = iter(sorted(gold, key=_by_numbers))
    if all(any(same_row(row, other, decimals) for row in rest) for other in sorted(rows, key=_by_numbers)):
        return True
    if len(gold) == 1 or len(gold) * len(rows) > _MOST_PAIRS:
        return False
    return _assignable([[i for i, row in enumerate(gold) if same_row(row, other, decimals)] for other in rows])


def _by_numbers(row: Row) -> tuple[list[Number], list[Number]]:
    """Rounded first, so that the last bits of one float do not decide before the next cell is looked at."""
    numbers = [number for cell in row if (number := as_number(cell)) is not None and number == number]
    return [float(f"{number:.9g}") if isinstance(number, float) else number for number in numbers], numbers


def _assignable(choices: list[list[int]]) -> bool:
    """Whether each can get one of its choices and none is given twice (bipartite matching by augmenting paths)."""
    owner: dict[int, int] = {}

    def place(one: int, asked: set[int]) -> bool:
        for choice in choices[one]:
            if choice not in asked:
                asked.add(choice)
                if choice not in owner or place(owner[choice], asked):
                    owner[choice] = one
                    return True
        return False

    return all(place(one, set()) for one in range(len(choices)))
