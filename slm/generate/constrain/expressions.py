"""Expressions of a query: which columns they name, and where an aggregate may stand."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from slm.generate.constrain.names import Reference, RefusedError, Relation, Scope
from slm.generate.constrain.tokens import TextEnds, Tokens, is_closed, is_word, unquoted
from slm.generate.constrain.words import AGGREGATES, CONSTANTS, FUNCTIONS, OPENERS, OPERATORS

_CALLS = frozenset(AGGREGATES) | FUNCTIONS.keys()
# `|` and `!` are the beginnings of operators.
_SYMBOLS = frozenset(["+", "-", "*", "/", "%", "|", "||", "<", "<=", ">", ">=", "=", "==", "!", "!=", "<>"])
_JOINING = frozenset(["<", "<=", ">", ">=", "=", "==", "!", "!=", "<>", "and", "or"])

# What binds closer than AND does, and what no closer.
_CLOSER = _SYMBOLS | {"not", "is", "in", "between", "like", "glob", "escape"}
_LOOSER = frozenset(["", "and", "or"])

# Reads a query inside an expression: the SELECT that it stands in, how many columns it must have.
Subquery = Callable[[Scope | None, int | None], Relation]


@dataclass(frozen=True, slots=True)
class Place:
    """Where an expression stands.

    `inside` an aggregate, all columns are those of its own SELECT. `joins`: behind ON, where answers only compare.
    """

    scope: Scope
    aggregates: bool
    inside: bool = False
    joins: bool = False


def _is_zero(literal: str | None) -> bool:
    return literal is not None and literal.isdigit() and not int(literal)


def _calls(place: Place) -> Iterable[str]:
    """The functions that may be called there."""
    return _CALLS if place.aggregates else FUNCTIONS


class Expressions:
    """Reads expressions from `tokens`; raises RefusedError, TextEnds or WordCut where it cannot go on."""

    def __init__(self, tokens: Tokens, subquery: Subquery, *, double_quoted_text: bool) -> None:
        """`double_quoted_text`: whether "x" may be a text where no column is called x."""
        self._tokens = tokens
        self._subquery = subquery
        self._double_quoted_text = double_quoted_text

    def expression(self, place: Place) -> str | None:
        """Operands and what stands between them; returns the literal that it is, if it is nothing else.

        The order of evaluation only matters where SQLite reckons while it reads: it takes `1 IS NULL` and `a AND 0` for
        0, and a 0 in ORDER BY for the number of a result.
        """
        tokens, previous, between, alone = self._tokens, "", False, True
        literal = self._operand(place)
        while True:
            word = tokens.peek()
            if place.joins and word not in _JOINING:
                break
            if _is_zero(literal) and word not in _CLOSER and "and" in (previous, word) and previous in _LOOSER:
                raise RefusedError
            if word == "not":
                tokens.at += 1
                word = tokens.peek()
                if word not in ("in", "between", "like", "glob"):
                    raise RefusedError
            if word in _SYMBOLS or word in OPERATORS or (word == "escape" and previous == "like"):
                tokens.at += 1
                literal = self._operand(place)
            elif word == "is":
                self._is_null(literal)
            elif word == "in":
                tokens.at += 1
                tokens.expect("(")
                self._bracket(place)
                literal = None
            else:
                break
            alone, previous = False, "between and" if between and word == "and" else word
            between = word == "between" or (between and word != "and")
        return literal if alone else None

    def _is_null(self, literal: str | None) -> None:
        """`IS NULL` behind anything but a literal."""
        if literal is not None:
            raise RefusedError
        self._tokens.at += 1
        self._tokens.begins("not")
        if not self._tokens.begins("null"):
            raise RefusedError

    def _bracket(self, place: Place) -> str | None:
        """A query with one column, or expressions; behind the opening bracket. Returns the literal that it is."""
        place, literal = replace(place, joins=False), None
        if self._tokens.begins("select"):
            self._tokens.at -= 1
            self._subquery(place.scope, 1)
        else:
            literal = self.expression(place)
            while self._tokens.take(","):
                self.expression(place)
                literal = None
        self._tokens.expect(")")
        return literal

    def _operand(self, place: Place) -> str | None:
        """Returns the literal that it is, its sign and brackets left out."""
        tokens = self._tokens
        tokens.begins("not", "+", "-")
        word = tokens.name()
        if is_word(word):
            self._word(word, place)
        elif word[0] == '"':
            self._quoted_name(word, place)
        elif word == "(":
            tokens.at += 1
            return self._bracket(place)
        elif word[0] == "'" and word.count("'") % 2:
            tokens.unclosed()
        elif word[0] == "'" or word.replace(".", "", 1).isdigit():
            tokens.at += 1
            return word
        else:
            raise RefusedError
        return None

    def _word(self, word: str, place: Place) -> None:
        """A keyword that begins an operand, a call, or a name."""
        tokens = self._tokens
        following = tokens.ahead()
        if tokens.at == tokens.cut:
            self._cut_word(word, place)
        elif following == ".":
            self._column_of(word, place)
        elif word in _CALLS and following == "(":
            self._call(word, place)
        elif word in ("case", "cast", "exists"):
            tokens.at += 1
            {"case": self._cases, "cast": self._cast, "exists": self._exists}[word](replace(place, joins=False))
        elif word in CONSTANTS or (following is None and word in _calls(place)):
            tokens.at += 1
        else:
            tokens.at += 1
            self._refer(Reference(word, inside=place.inside), place)

    def _cut_word(self, start: str, place: Place) -> None:
        """The text ends within a word where an operand begins. Raises TextEnds or RefusedError."""
        if any(word.startswith(start) for word in (*OPENERS, *_calls(place))):
            raise TextEnds
        if place.scope.completes(start) or place.scope.completes_table(start):
            raise TextEnds
        raise RefusedError

    def _refer(self, reference: Reference, place: Place) -> None:
        place.scope.refer(reference)
        if not place.aggregates and place.scope.names_aggregate(reference):
            raise RefusedError

    def _column_of(self, table: str, place: Place) -> None:
        """A column behind the name of its table."""
        tokens = self._tokens
        if not place.scope.knows_table(table):
            raise RefusedError
        tokens.at += 2
        column = tokens.name()
        if tokens.at == tokens.cut or (column[0] == '"' and not is_closed(column)):
            if place.scope.completes(column, table):
                tokens.unclosed()
            raise RefusedError
        tokens.at += 1
        place.scope.refer(Reference(unquoted(column), table, inside=place.inside))

    def _quoted_name(self, word: str, place: Place) -> None:
        """A column or a table in double quotes, or a text."""
        tokens, scope = self._tokens, place.scope
        if not is_closed(word):
            if self._double_quoted_text or scope.completes(word) or scope.completes_table(word):
                tokens.unclosed()
            raise RefusedError
        name = unquoted(word)
        if tokens.ahead() == ".":
            self._column_of(name, place)
        elif tokens.ahead() is None and (scope.knows_table(name) or scope.completes(word)):
            raise TextEnds
        else:
            tokens.at += 1
            self._refer(Reference(name, inside=place.inside, text=self._double_quoted_text), place)

    def _call(self, name: str, place: Place) -> None:
        tokens = self._tokens
        aggregate = name in AGGREGATES
        if aggregate and not place.aggregates:
            raise RefusedError
        tokens.at += 2
        place = replace(place, joins=False)
        if aggregate:
            place.scope.aggregates = True
            # It sums up rows of its own SELECT, and no other aggregates.
            place = Place(place.scope, aggregates=False, inside=True)
        if name == "count" and tokens.begins("*"):
            tokens.expect(")")
            return
        if aggregate:
            tokens.begins("distinct")
        self.expression(place)
        while tokens.take(","):
            self.expression(place)
        tokens.expect(")")

    def _cases(self, place: Place) -> None:
        tokens = self._tokens
        if not tokens.begins("when"):
            self.expression(place)
            tokens.expect("when")
        while True:
            self.expression(place)
            tokens.expect("then")
            self.expression(place)
            if not tokens.take("when"):
                break
        if tokens.take("else"):
            self.expression(place)
        tokens.expect("end")

    def _cast(self, place: Place) -> None:
        tokens = self._tokens
        tokens.expect("(")
        self.expression(place)
        tokens.expect("as")
        tokens.name()  # the grammar knows the types
        tokens.at += 1
        tokens.expect(")")

    def _exists(self, place: Place) -> None:
        self._tokens.expect("(")
        self._subquery(place.scope, None)
        self._tokens.expect(")")
