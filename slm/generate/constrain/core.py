"""One SELECT up to its WHERE: its results, the tables it takes, and how many columns it has."""

from slm.generate.constrain.expressions import Expressions, Place, Subquery
from slm.generate.constrain.names import RefusedError, Relation, Scope
from slm.generate.constrain.sources import Sources
from slm.generate.constrain.tokens import Tokens, unquoted


class Core:
    """Reads one SELECT of a query, and is then what is known of it.

    `relation`: its columns. `results`: the texts and names by which an ORDER BY behind a set operation may call them.
    `aggregates`: which of them are aggregates, counted from 1.
    """

    relation: Relation

    def __init__(
        self, tokens: Tokens, expressions: Expressions, subquery: Subquery, scope: Scope, width: int | None
    ) -> None:
        """`width`: how many columns it must have."""
        self._tokens = tokens
        self._expressions = expressions
        self._sources = Sources(tokens, expressions, subquery, scope)
        self._wanted = width
        self._columns: set[str] = set()
        # Of the results that are not `*`.
        self._width = 0
        # The tables whose columns are all taken; None stands for every table.
        self._stars: list[str | None] = []
        self.scope = scope
        self.results: set[str] = set()
        self.aggregates: set[int] = set()

    def read(self) -> None:
        """From SELECT to the end of WHERE. Raises RefusedError, TextEnds or WordCut."""
        tokens, scope = self._tokens, self.scope
        if not tokens.begins("select"):
            raise RefusedError
        tokens.begins("distinct", "all")
        self._items()
        if tokens.take("from"):
            scope.opened = True
            self._sources.read(self._check_width)
        scope.close()
        self.relation = self._relation()
        if self._wanted not in (None, self.relation.width):
            raise RefusedError
        if tokens.take("where"):
            self._expressions.expression(Place(scope, aggregates=False))

    def _items(self) -> None:
        while True:
            self._item()
            more = self._tokens.peek() == ","
            if self._wanted is not None:
                full = self._width >= self._wanted
                if full if more else not full and not self._stars:
                    raise RefusedError
            if not more:
                return
            self._tokens.at += 1

    def _item(self) -> None:
        tokens, scope, start = self._tokens, self.scope, self._tokens.at
        if tokens.begins("*"):
            self._star(None)
            return
        if tokens.ahead() == "." and tokens.ahead(2) == "*":
            table = unquoted(tokens.name())
            if not scope.knows_table(table):
                raise RefusedError
            tokens.at += 3
            self._star(table)
            return
        others, scope.aggregates = scope.aggregates, False
        self._expressions.expression(Place(scope, aggregates=True))
        aggregate, scope.aggregates = scope.aggregates, scope.aggregates or others
        self._width += 1
        if aggregate:
            self.aggregates.add(self._width)
        item = tokens.tokens[start : tokens.at]
        self.results.add(" ".join(item))
        name = unquoted(item[-1]) if len(item) == 1 or (len(item) == 3 and item[1] == ".") else None
        if tokens.take("as"):
            name = tokens.alias()
            scope.labels[name] = aggregate
        if name:
            self._columns.add(name)

    def _star(self, table: str | None) -> None:
        smallest = min(relation.width for relation in self.scope.names.tables.values())
        if self._wanted is not None and self._wanted < smallest:
            raise RefusedError
        self._stars.append(table)

    def _check_width(self) -> None:
        """With `*`, each further table adds columns, unless they are merged. Raises RefusedError."""
        if self._wanted is not None and not self.scope.merged and self._whole_width() > self._wanted:
            raise RefusedError

    def _whole_width(self) -> int:
        bound = self.scope.bound
        every = sum(relation.width for relation in bound.values()) - self.scope.merged.total()
        return self._width + sum(
            every if table is None else bound[table].width for table in self._stars if table is None or table in bound
        )

    def _relation(self) -> Relation:
        """What it gives. Raises RefusedError if the table of a `*` is none of its own."""
        bound, columns = self.scope.bound, set(self._columns)
        for table in self._stars:
            if not bound or table not in (None, *bound):
                raise RefusedError
            columns.update(*(bound[name].columns for name in bound if table in (None, name)))
        self.results |= columns
        return Relation(frozenset(columns), self._whole_width())
