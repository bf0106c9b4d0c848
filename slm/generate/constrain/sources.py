"""FROM: the tables and queries that a SELECT takes, their aliases, and how they are joined."""

from collections.abc import Callable

from slm.generate.constrain.expressions import Expressions, Place, Subquery
from slm.generate.constrain.names import RefusedError, Relation, Scope, begins
from slm.generate.constrain.tokens import TextEnds, Tokens, is_closed, unquoted
from slm.generate.constrain.words import JOINS, LONGEST_WORD


class Sources:
    """Reads what stands behind FROM, and binds it in `scope`."""

    def __init__(self, tokens: Tokens, expressions: Expressions, subquery: Subquery, scope: Scope) -> None:
        self._tokens = tokens
        self._expressions = expressions
        self._subquery = subquery
        self._scope = scope
        self._taken: set[str] = set()

    def read(self, check: Callable[[], None]) -> None:
        """All tables and their joins; `check` is called with each one. Raises RefusedError, TextEnds or WordCut."""
        tokens, scope, join = self._tokens, self._scope, ","
        while True:
            before = frozenset[str]().union(*(relation.columns for relation in scope.bound.values()))
            constrained = join in ("join", "left", "inner")
            common = before & self._source(mergeable=constrained or join == "natural").columns
            if join == "natural":
                scope.merge(common)
            merging = constrained and bool(common) and tokens.take("using")
            if merging:
                self._using(common)
            check()
            if scope.is_ambiguous():
                raise RefusedError
            if constrained and not merging and tokens.take("on"):
                self._expressions.expression(Place(scope, aggregates=False, joins=True))
            join = tokens.peek()
            if join not in JOINS:
                return
            tokens.at += 1
            if join == "left":
                tokens.take("outer")
            if join not in ("join", ","):
                tokens.expect("join")

    def _source(self, *, mergeable: bool) -> Relation:
        """A table or a query, with its alias; it is bound. Without merging, no column may become ambiguous."""
        tokens, scope = self._tokens, self._scope
        name, relation = self._table_or_query(mergeable=mergeable)
        if not mergeable and scope.is_ambiguous(relation):
            raise RefusedError
        self._taken.add(name or "")
        if tokens.take("as"):
            if tokens.at == tokens.cut:
                self._cut_alias(tokens.name(), relation)
            name = tokens.alias()
        scope.bind(name or f"({len(scope.bound)})", relation)
        return relation

    def _table_or_query(self, *, mergeable: bool) -> tuple[str | None, Relation]:
        tokens, tables = self._tokens, self._scope.names.tables
        word = tokens.name()
        if word == "(":
            tokens.at += 1
            relation = self._subquery(self._scope.outer, None)
            tokens.expect(")")
            return None, relation
        if tokens.at == tokens.cut or (word[0] == '"' and not is_closed(word)):
            begun = [table for table in tables if begins(table, word) and not self._repeats(table)]
            if any(mergeable or not self._scope.is_ambiguous(tables[table]) for table in begun):
                tokens.unclosed()
            raise RefusedError
        tokens.at += 1
        name = unquoted(word)
        if name not in tables or self._repeats(name):
            raise RefusedError
        return name, tables[name]

    def _repeats(self, table: str) -> bool:
        """Whether it is there already while a column waits for another: a model could join it again for ever."""
        return table in self._taken and self._scope.lacks_column()

    def _cut_alias(self, start: str, relation: Relation) -> None:
        """The text ends within an alias that may grow. Raises TextEnds or RefusedError."""
        scope = self._scope
        waiting = {reference.table for reference in scope.waiting if reference.table}
        if len(start) > LONGEST_WORD:
            raise RefusedError
        free = start not in scope.bound and scope.fits(start, relation)
        if free or any(name.startswith(start) and name != start for name in waiting):
            raise TextEnds
        raise RefusedError

    def _using(self, common: frozenset[str]) -> None:
        tokens = self._tokens
        tokens.expect("(")
        while True:
            word = tokens.name()
            if tokens.at == tokens.cut or (word[0] == '"' and not is_closed(word)):
                if any(begins(column, word) for column in common):
                    tokens.unclosed()
                raise RefusedError
            if unquoted(word) not in common:
                raise RefusedError
            self._scope.merge([unquoted(word)])
            tokens.at += 1
            if not tokens.take(","):
                break
        tokens.expect(")")
