"""What a gold asks of the order, number and rounding of its rows, read off its text."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from slm.sql.golds.clauses import Query, Span, read_query
from slm.sql.golds.ranked import ranked_query

_MAX_64_BIT = 2**63 - 1


@dataclass(frozen=True, slots=True)
class GoldPlan:
    """`limit` is None for none; `ranked` is SQL for the gold without LIMIT, in its order, with one more, last column
    that is equal exactly for rows that tie on the sort keys, as the database itself sees it (rows that rank behind
    the limit may be missing). It is None where neither ORDER BY nor LIMIT asks for it, and where it is not certain.

    `first_decimals` and `last_decimals` are to how many decimals the columns before the first `*` and after the last
    `*` are rounded; without a star the first are all.
    """

    ordered: bool = False
    limit: int | None = None
    offset: int = 0
    ranked: str | None = None
    first_decimals: tuple[int | None, ...] = ()
    last_decimals: tuple[int | None, ...] = ()

    def decimals(self, columns: int) -> tuple[int | None, ...]:
        """To how many decimals the gold rounds each of its `columns` columns; empty where it rounds none."""
        between = columns - len(self.first_decimals) - len(self.last_decimals)
        if between < 0 or not any(k is not None for k in (*self.first_decimals, *self.last_decimals)):
            return ()
        return (*self.first_decimals, *[None] * between, *self.last_decimals)


@lru_cache(maxsize=4096)
def plan_gold(sql: str, dialect: str = "sqlite") -> GoldPlan:
    """Reads a gold's order, limit and rounding. Never raises: of text that cannot be read, it claims nothing."""
    lower = sql.lower()
    # Most golds have none of these, and need not be read at all.
    if not any(word in lower for word in ("order", "limit", "fetch", "offset", "round")):
        return GoldPlan()
    query = read_query(sql, dialect)
    if query is None:
        return GoldPlan()
    first, last = _decimals(query)
    window = _window(query)
    limit, offset = window or (None, 0)
    ranked = None
    if window is not None and (query.order is not None or query.window < len(query.words)):
        end = None if limit is None else offset + limit
        ranked = ranked_query(query, end)
    return GoldPlan(query.order is not None, limit, offset, ranked, first, last)


def _window(query: Query) -> tuple[int | None, int] | None:
    """The numbers of LIMIT and OFFSET; None where they are anything but plain numbers."""
    words = query.words[query.window :]
    numbers = _joined_signs(words)
    limit: str | None = None
    offset = "0"
    while numbers:
        match numbers:
            case ["LIMIT", first, ",", second, *rest]:
                limit, offset, numbers = second, first, rest
            case ["LIMIT", first, *rest]:
                limit, numbers = first, rest
            case ["OFFSET", first, "ROW" | "ROWS", *rest]:
                offset, numbers = first, rest
            case ["OFFSET", first, *rest]:
                offset, numbers = first, rest
            case ["FETCH", "FIRST" | "NEXT", "ROW" | "ROWS", "ONLY", *rest]:
                limit, numbers = "1", rest
            case ["FETCH", "FIRST" | "NEXT", first, "ROW" | "ROWS", "ONLY", *rest]:
                limit, numbers = first, rest
            case _:
                return None
    limit = None if limit == "ALL" else limit
    if not all(number is None or number.lstrip("-").isdecimal() for number in (limit, offset)):
        return None
    # SQLite takes a negative limit as none, and a negative offset as 0; the other databases refuse them.
    count = None if limit is None or int(limit) < 0 else int(limit)
    start = max(0, int(offset))
    return None if max(start, count or 0) > _MAX_64_BIT // 2 else (count, start)


def _joined_signs(words: Sequence[str]) -> list[str]:
    joined: list[str] = []
    for word in words:
        if joined and joined[-1] == "-":
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _decimals(query: Query) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
    """Before the first and after the last star; with set operations, only what all of them round alike."""
    if "ROUND" not in query.words:
        return (), ()
    sides = []
    for branch in query.branches:
        items = query.items(branch)
        stars = [at for at, item in enumerate(items) if item.star]
        first, last = (stars[0], stars[-1] + 1) if stars else (len(items), len(items))
        rounded = [_rounded(query, item.span) for item in items]
        sides.append((tuple(rounded[:first]), tuple(rounded[last:])))
    alike = all(side == sides[0] for side in sides)
    return sides[0] if alike else ((), ())


def _rounded(query: Query, span: Span) -> int | None:
    """The k of an expression that is ROUND(x, k) as a whole."""
    start, end = query.peeled(span)
    if query.words[start : start + 2] != ["ROUND", "("] or query.closing(start + 1) != end - 1:
        return None
    arguments = query.split((start + 2, end - 1), query.depth[start + 1] + 1)
    if len(arguments) == 1:
        return 0
    digits = query.words[slice(*arguments[1])]
    return int(digits[0]) if len(digits) == 1 and digits[0].isdecimal() else None
