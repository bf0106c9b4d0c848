"""Queries: SELECTs, the set operations between them, and what ORDER BY and LIMIT may name."""

from slm.generate.constrain.core import Core
from slm.generate.constrain.expressions import Expressions, Place
from slm.generate.constrain.names import Names, RefusedError, Relation, Scope
from slm.generate.constrain.tokens import END, TextEnds, Tokens, WordCut
from slm.generate.constrain.words import SET_OPERATIONS

_AFTER_TERM = frozenset([END, ",", ")", ";", "asc", "desc", "limit"])


class Queries:
    """Reads queries from `tokens`; raises RefusedError, TextEnds or WordCut where it cannot go on."""

    def __init__(self, names: Names, tokens: Tokens, *, double_quoted_text: bool) -> None:
        self._names = names
        self._tokens = tokens
        self._expressions = Expressions(tokens, self.query, double_quoted_text=double_quoted_text)

    def statement(self) -> None:
        """The whole text."""
        tokens = self._tokens
        self.query(None, None)
        tokens.take(";")
        tokens.expect(END)

    def query(self, outer: Scope | None, width: int | None) -> Relation:
        """SELECT … UNION SELECT … ORDER BY … LIMIT …; `width`: how many columns it must have."""
        tokens = self._tokens
        cores = [self._core(outer, width)]
        first = cores[0]
        while tokens.peek() in SET_OPERATIONS:
            tokens.at += 1
            tokens.begins("all")
            cores.append(self._core(outer, first.relation.width))
        if tokens.take("order"):
            tokens.expect("by")
            if len(cores) > 1:
                self._results(cores)
            else:
                self._terms(first, order=True)
        if tokens.take("limit"):
            tokens.number()
            if tokens.take("offset", ","):
                tokens.number()
        return first.relation

    def _core(self, outer: Scope | None, width: int | None) -> Core:
        core = Core(self._tokens, self._expressions, self.query, Scope(self._names, outer), width)
        core.read()
        if self._tokens.take("group"):
            self._tokens.expect("by")
            self._terms(core, order=False)
            core.scope.aggregates = True
            if self._tokens.take("having"):
                self._expressions.expression(Place(core.scope, aggregates=True))
        return core

    def _terms(self, core: Core, *, order: bool) -> None:
        """What ORDER BY or GROUP BY goes by."""
        tokens = self._tokens
        place = Place(core.scope, aggregates=order and core.scope.aggregates)
        while True:
            start, literal = tokens.at, None
            if order and self._is_alias(core):
                tokens.at += 1
            else:
                literal = self._expressions.expression(place)
            if literal and literal.isdigit():
                # With a sign or in brackets it is a number of a result, too, to SQLite; nobody means that.
                self._check_number(int(literal) if tokens.at == start + 1 else 0, core, order=order)
            tokens.take("asc", "desc")
            if not tokens.take(","):
                return

    def _is_alias(self, core: Core) -> bool:
        """Whether the next term of an ORDER BY is an alias of a result, which comes before columns of that name."""
        tokens = self._tokens
        if tokens.at == tokens.cut or tokens.name() not in core.scope.labels:
            return False
        if tokens.at + 1 == tokens.cut and any(word.startswith(str(tokens.ahead())) for word in _AFTER_TERM):
            raise TextEnds
        return tokens.ahead() is None or tokens.ahead() in _AFTER_TERM

    def _check_number(self, number: int, core: Core, *, order: bool) -> None:
        """A plain number names a result. Raises RefusedError."""
        if not 1 <= number <= core.relation.width or (not order and number in core.aggregates):
            raise RefusedError

    def _results(self, cores: list[Core]) -> None:
        """ORDER BY behind a set operation goes by results alone: their numbers, their names or what stands there."""
        tokens = self._tokens
        options = {str(number + 1) for number in range(cores[0].relation.width)}
        options = options.union(*(core.results for core in cores))
        while True:
            self._result(options)
            tokens.take("asc", "desc")
            if not tokens.take(","):
                return

    def _result(self, options: set[str]) -> None:
        tokens, start, depth = self._tokens, self._tokens.at, 0
        while tokens.at < tokens.end:
            word = tokens.tokens[tokens.at]
            depth += word.count("(") - word.count(")")
            if depth < 0 or (not depth and tokens.at != tokens.cut and word in _AFTER_TERM):
                break
            tokens.at += 1
        term = " ".join(tokens.tokens[start : tokens.at])
        if tokens.at < tokens.end and term in options:
            return
        if tokens.at == tokens.end:
            if any(option.startswith(term) for option in options):
                raise TextEnds
            if tokens.cut > start and " ".join(tokens.tokens[start : tokens.cut]) in options:
                raise WordCut
        raise RefusedError
