"""FROM: the tables and queries that a SELECT takes, their aliases, and how they are joined."""

from collections.abc import Callable

from slm.generate.constrain.expressions import Expressions, Place, Subquery
from slm.generate.constrain.names import RefusedError, Relation, Scope, begins
from slm.generate.constrain.tokens import TextEnds, Tokens, is_closed, unquoted
from slm.generate.constrain.words import JOINS, is_alias


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
            begun = [table for table in tables if begins(table, word) and not self._misleads(table)]
            if any(mergeable or not self._scope.is_ambiguous(tables[table]) for table in begun):
                tokens.unclosed()
            raise RefusedError
        tokens.at += 1
        name = unquoted(word)
        if name not in tables or self._misleads(name):
            raise RefusedError
        return name, tables[name]

    def _misleads(self, table: str) -> bool:
        """Whether a model would join for ever behind this table, although SQLite might still get a query.

        That happens where a table is taken again while the results wait for another one, and where the table that
        would be called T2 has not the columns that were asked of T2.
        """
        scope, relation = self._scope, self._scope.names.tables[table]
        if table in self._taken and not scope.helps(relation):
            return True
        return not scope.fits(f"t{len(scope.bound) + 1}", relation)

    def _cut_alias(self, start: str, relation: Relation) -> None:
        """The text ends within an alias that may grow. Raises TextEnds or RefusedError."""
        scope = self._scope
        waiting = {reference.table for reference in scope.waiting if reference.table}
        free = is_alias(start) and start not in scope.bound and scope.fits(start, relation)
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
            common -= {unquoted(word)}
            self._scope.merge([unquoted(word)])
            tokens.at += 1
            if not common or not tokens.take(","):
                break
        tokens.expect(")")
