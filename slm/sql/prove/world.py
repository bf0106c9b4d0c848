"""What is known of the values of expressions: affinity, how they are stored, whether they are integers."""

from typing import cast

from slm.sql.prove.facts import Facts
from slm.sql.prove.terms import COMPARISONS, LITERALS, Block, Expr, Query, Source, Unprovable

_NUMERIC = {"INTEGER", "NUMERIC", "REAL"}
_STORAGE = {"INTEGER": "number", "NUMERIC": "number", "REAL": "real", "TEXT": "text"}
_EXACT = 2**53  # integers below it are the same as floats


class World:
    """The occurrences of tables and subqueries in one query, by number, and the database's facts."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.sources: dict[int, Source] = {}

    def add(self, table: str | None, query: Query | None) -> Source:
        """A new occurrence."""
        source = Source(len(self.sources), table, query)
        self.sources[source.occurrence] = source
        return source

    def width(self, source: Source) -> int:
        """How many columns it has."""
        if source.table is not None:
            return len(self.facts.columns[source.table])
        return len(outputs(source.query))

    def affinity(self, expr: Expr) -> str | None:
        """INTEGER, TEXT, BLOB, REAL or NUMERIC; the empty text for an expression without one; None if not known."""
        if expr[0] == "cast":
            return cast(str, expr[1])
        if expr[0] == "sub":
            return self._output_affinity(expr[1], 0)
        if expr[0] != "col":
            return ""
        source = self.sources[expr[1]]
        if source.table is not None:
            return self.facts.affinities[source.table][expr[2]]
        return self._output_affinity(source.query, expr[2])

    def _output_affinity(self, query: Query | None, place: int) -> str | None:
        if not isinstance(query, Block) or query.outputs[place][0] == "cast":  # SQLite loosens a CAST's
            return None
        return self.affinity(query.outputs[place])

    def storage(self, expr: Expr) -> str | None:
        """`number`, `real` or `text` for a table's column of such an affinity, through subqueries; else None.

        Two cells of one storage that compare equal are the same cell, and comparing them converts neither. That fails
        for columns without affinity (1 and 1.0 are equal) and between text and numbers ('1' and '01' both equal 1).
        """
        if expr[0] != "col":
            return None
        source = self.sources[expr[1]]
        if source.table is not None:
            return _STORAGE.get(self.facts.affinities[source.table][expr[2]])
        return self.storage(source.query.outputs[expr[2]]) if isinstance(source.query, Block) else None

    def is_determinate(self, expr: Expr) -> bool:
        """Whether cells of it that compare equal are always the same cell."""
        if expr[0] == "agg":
            return expr[1] in ("count", "sum", "avg") or self.is_determinate(expr[3])
        if expr[0] == "col":
            source = self.sources[expr[1]]
            if isinstance(source.query, Block):
                return self.is_determinate(source.query.outputs[expr[2]])
            return self.storage(expr) is not None
        return expr[0] in LITERALS or bool(expr[0] == "fn" and expr[1] in ("length", "lower", "upper", "substr"))

    def is_integer(self, expr: Expr) -> bool:
        """Whether its value is always an integer or NULL."""
        if expr[0] == "agg":
            return cast(bool, expr[1] == "count")
        if expr[0] == "col":
            source = self.sources[expr[1]]
            if source.table is not None:
                return (source.table, self.facts.columns[source.table][expr[2]]) in self.facts.integers
            return isinstance(source.query, Block) and self.is_integer(source.query.outputs[expr[2]])
        return bool(expr[0] == "int" or (expr[0] == "fn" and expr[1] == "length"))

    def compare(self, kind: str, left: Expr, right: Expr) -> Expr:
        """A comparison (`=`, `<>`, `<`, `<=`) with literals written as SQLite's affinity would convert them."""
        left, right = self._adapted(left, right), self._adapted(right, left)
        if kind == "<" and left[0] == "int" and self.is_integer(right):
            return ("<=", ("int", left[1] + 1), right)
        if kind == "<" and right[0] == "int" and self.is_integer(left):
            return ("<=", left, ("int", right[1] - 1))
        return (kind, left, right)

    def _adapted(self, literal: Expr, other: Expr) -> Expr:
        affinity = self.affinity(other)
        if literal[0] == "int" and affinity == "TEXT":
            return ("text", str(literal[1]))
        if literal[0] == "text" and affinity in _NUMERIC:
            digits = literal[1].removeprefix("-")
            if digits.isascii() and digits.isdigit() and str(int(literal[1])) == literal[1]:
                value = int(literal[1])
                return ("int", value) if abs(value) < _EXACT else literal
        if literal[0] == "real" and affinity in _NUMERIC and literal[1].is_integer() and abs(literal[1]) < _EXACT:
            return ("int", int(literal[1]))
        return literal

    def needs_text(self, comparison: Expr) -> bool:
        """Whether comparing converts a number to text, so that 1 and 1.0 would differ."""
        if comparison[0] not in COMPARISONS and comparison[0] not in ("is", "in"):
            return False
        left = comparison[1]
        right = outputs(comparison[2])[0] if comparison[0] == "in" else comparison[2]
        kinds = {self.affinity(side) for side in (left, right) if side[0] not in LITERALS}
        return kinds & {"TEXT", None} != set() and len(kinds) > 1


def outputs(query: Query | None) -> tuple[Expr, ...]:
    """What a query returns; of a set operation, what its first SELECT returns."""
    while query is not None:
        if isinstance(query, Block):
            return query.outputs
        query = query.operands[0]
    raise Unprovable("a source that is neither table nor query")
