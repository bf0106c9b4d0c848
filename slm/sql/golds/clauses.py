"""The clauses of the outermost SELECT as positions in a query's tokens, so that its text can be cut as written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlglot.tokenizer_core import Token

Span = tuple[int, int]  # token positions, the end not included

_AFTER_ITEMS = {"FROM", "WHERE", "GROUP BY", "HAVING", "WINDOW", "ORDER BY", "LIMIT"}
_SET_OPERATORS = {"UNION", "INTERSECT", "EXCEPT"}
_NOT_A_NAME = {"END", "NULL", "TRUE", "FALSE", "ISNULL", "NOTNULL", "CURRENT_DATE", "CURRENT_TIME", "CURRENT_TIMESTAMP"}
# Words after which an expression goes on, so that a name behind them is no alias.
_WANTS_MORE = {
    "AND",
    "OR",
    "NOT",
    "IS",
    "IN",
    "LIKE",
    "ILIKE",
    "GLOB",
    "MATCH",
    "REGEXP",
    "BETWEEN",
    "ESCAPE",
    "COLLATE",
}
_WANTS_MORE |= {"CASE", "WHEN", "THEN", "ELSE", "DISTINCT", "FROM", "ALL", "ANY", "DIV", "ZONE", "SIMILAR TO"}


@dataclass(frozen=True)
class Item:
    """One entry of a SELECT list. `alias` is in lower case; `span` leaves it out."""

    span: Span
    alias: str | None
    star: bool


class Query:
    """A statement as tokens: `words` in upper case, quoted ones as written; `depth` in brackets."""

    def __init__(self, sql: str, tokens: list[Token]) -> None:
        self.sql = sql
        while tokens and tokens[-1].text == ";":
            tokens = tokens[:-1]
        words = [_word(sql, token) for token in tokens]
        self.tokens: list[Token] = []
        self.words: list[str] = []
        for at, word in enumerate(words):
            # A comment between ORDER and BY leaves them as two tokens.
            if word == "BY" and at and words[at - 1] in ("ORDER", "GROUP"):
                self.words[-1] += " BY"
            else:
                self.tokens.append(tokens[at])
                self.words.append(word)
        self.depth = _depths(self.tokens)
        while self.words and self.words[0] == "(" and self.closing(0) == len(self.words) - 1:
            self.tokens, self.words = self.tokens[1:-1], self.words[1:-1]
            self.depth = [depth - 1 for depth in self.depth[1:-1]]

    def text(self, span: Span) -> str:
        """The query's own text from the first to the last token of `span`."""
        start, end = span
        return self.sql[self.tokens[start].start : self.tokens[end - 1].end + 1] if start < end else ""

    def closing(self, opening: int) -> int:
        """Where the bracket that opens at `opening` closes; past the end where it does not."""
        for position in range(opening + 1, len(self.words)):
            if self.depth[position] == self.depth[opening]:
                return position
        return len(self.words)

    def outside(self, words: set[str], span: Span) -> list[int]:
        """Where in `span` one of the words stands outside all brackets."""
        return [at for at in range(*span) if self.depth[at] == 0 and self.words[at] in words]

    def split(self, span: Span, depth: int = 0) -> list[Span]:
        """The parts of `span` between the commas at this depth."""
        commas = [at for at in range(*span) if self.depth[at] == depth and self.words[at] == ","]
        return list(zip([span[0], *(at + 1 for at in commas)], [*commas, span[1]], strict=True))

    @cached_property
    def order(self) -> int | None:
        """Where the outermost ORDER BY stands."""
        return next(iter(self.outside({"ORDER BY"}, (0, len(self.words)))), None)

    @cached_property
    def window(self) -> int:
        """Where the outermost LIMIT, OFFSET or FETCH begins, else the end."""
        start, end = self.order or 0, len(self.words)
        # OFFSET and FETCH may also be names of columns, so what follows decides.
        followed: dict[str, Callable[[str], bool]] = {
            "OFFSET": str.isdigit,
            "FETCH": {"FIRST", "NEXT"}.__contains__,
            "LIMIT": bool,
        }
        for at in self.outside(set(followed), (start, end - 1)):
            if followed[self.words[at]](self.words[at + 1]):
                return at
        return end

    @cached_property
    def body(self) -> Span:
        """All of the query before its ORDER BY and LIMIT, without WITH; empty if that is no SELECT."""
        end = self.window if self.order is None else self.order
        selects = self.outside({"SELECT"}, (0, end))
        plain = bool(selects) and self.words[0] in ("SELECT", "WITH") and ";" not in self.words
        return (selects[0], end) if plain else (end, end)

    @cached_property
    def branches(self) -> list[Span]:
        """The SELECTs that set operators join, from the left."""
        start, end = self.body
        found = []
        for at in self.outside(_SET_OPERATORS, self.body):
            found.append((start, at))
            start = at + 1 + (self.words[at + 1 : at + 2] in (["ALL"], ["DISTINCT"]))
        return [*found, (start, end)]

    @cached_property
    def terms(self) -> list[Span]:
        """The terms of the outermost ORDER BY."""
        return [] if self.order is None else self.split((self.order + 1, self.window))

    def items(self, branch: Span) -> list[Item]:
        """The SELECT list of a branch; empty where there is none to see."""
        start, end = self.list_span(branch)
        spans = self.split((start, end)) if start < end else []
        return [self._item(span) for span in spans] if all(a < b for a, b in spans) else []

    def list_span(self, branch: Span) -> Span:
        """Where the SELECT list of a branch stands, without SELECT, DISTINCT and ALL."""
        start, end = branch
        if start >= end or self.words[start] != "SELECT":
            return (start, start)
        start += 1
        while start < end and self.words[start] in ("DISTINCT", "ALL"):
            start += 1
        # `a IS DISTINCT FROM b` has a FROM that begins no clause.
        after = [at for at in self.outside(_AFTER_ITEMS, (start, end)) if self.words[at - 1] != "DISTINCT"]
        return (start, after[0] if after else end)

    def _item(self, span: Span) -> Item:
        start, end = span
        if self.words[start] == "*" or (self.words[end - 1] == "*" and self.words[end - 2] == "."):
            return Item(span, None, star=True)
        if end - start > 2 and self.words[end - 2] == "AS":
            return Item((start, end - 2), self.tokens[end - 1].text.lower(), star=False)
        if end - start > 1 and self._names(end - 1, quoted=True) and self._ends_an_expression(end - 2):
            return Item((start, end - 1), self.tokens[end - 1].text.lower(), star=False)
        return Item(span, None, star=False)

    def _names(self, at: int, *, quoted: bool = False) -> bool:
        """Whether the token can be a name, or a quoted one that stands where only a name can."""
        word = self.words[at]
        return word[0] in '"`[' or (quoted and word[0] == "'") or (word.isidentifier() and word not in _NOT_A_NAME)

    def _ends_an_expression(self, at: int) -> bool:
        word = self.words[at]
        value = word[0] in "\"'`[" or word[0].isalnum() or word[0] == "_" or word in (")", "]", "}")
        return (value and word not in _WANTS_MORE) or self.words[at - 1] == "."

    def name_path(self, span: Span) -> tuple[str, ...]:
        """`t.x` as ("t", "x"), in lower case; empty if the span is not just a name."""
        start, end = self.peeled(span)
        named = all(self.words[at] == "." if (at - start) % 2 else self._names(at) for at in range(start, end))
        whole = named and (end - start) % 2 == 1
        return tuple(self.tokens[at].text.lower() for at in range(start, end, 2)) if whole else ()

    def peeled(self, span: Span) -> Span:
        """The span without brackets around all of it."""
        start, end = span
        while start < end and self.words[start] == "(" and self.closing(start) == end - 1:
            start, end = start + 1, end - 1
        return start, end


def read_query(sql: str, dialect: str) -> Query | None:
    """The query's tokens; None where it cannot be read as tokens or is empty."""
    import sqlglot
    from sqlglot.errors import SqlglotError

    try:
        query = Query(sql, sqlglot.tokenize(sql, read=dialect))
    except SqlglotError:
        return None
    return query if query.words else None


def _word(sql: str, token: Token) -> str:
    text = sql[token.start : token.end + 1]
    return text if token.token_type.name in ("STRING", "IDENTIFIER") else " ".join(text.upper().split())


def _depths(tokens: list[Token]) -> list[int]:
    """Brackets have the depth of what stands around them."""
    depths, depth = [], 0
    for token in tokens:
        name = token.token_type.name
        depth -= name in ("R_PAREN", "R_BRACKET", "R_BRACE")
        depths.append(depth)
        depth += name in ("L_PAREN", "L_BRACKET", "L_BRACE")
    return depths
