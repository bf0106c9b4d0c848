"""From SQL text to a query of terms: FROM, joins, CTEs, stars, ordinals and set operations."""

import sqlglot
from sqlglot import TokenType, exp

from slm.sql.prove.expressions import checked, read
from slm.sql.prove.facts import Facts
from slm.sql.prove.joins import read_from
from slm.sql.prove.scope import Ctes, Names, Scope, only
from slm.sql.prove.terms import (
    LITERALS,
    WHOLE,
    Block,
    Conditions,
    Expr,
    OrderKey,
    Query,
    SetOp,
    Unprovable,
    conjuncts,
    has_aggregate,
)
from slm.sql.prove.world import World, outputs

_SET_OPS = {exp.Union: "union", exp.Intersect: "intersect", exp.Except: "except"}
_MOST_NODES = 600


class Reader:
    """Reads one SQLite query. `world` then holds its tables. Raises Unprovable, sqlglot's errors and RecursionError."""

    def __init__(self, sql: str, facts: Facts, *, double_quoted_text: bool) -> None:
        self.sql = sql
        self.double_quoted_text = double_quoted_text
        self.world = World(facts)
        self.ctes: Ctes = {}

    def whole(self) -> Query:
        """The query that the text is."""
        tokens = sqlglot.tokenize(self.sql, read="sqlite")
        trees = [
            tree for tree in sqlglot.parse(self.sql, read="sqlite") if tree and not isinstance(tree, exp.Semicolon)
        ]
        if len(trees) != 1 or trees[0] is None:
            raise Unprovable("not one statement")
        if sum(1 for _ in trees[0].walk()) > _MOST_NODES:
            raise Unprovable("too large")
        # sqlglot drops a sign such as +x, which takes away the column's affinity.
        if sum(token.token_type is TokenType.PLUS for token in tokens) != len(list(trees[0].find_all(exp.Add))):
            raise Unprovable("sign")
        return self.query(trees[0], None)[0]

    def is_double_quoted(self, name: exp.Identifier) -> bool:
        """Whether it is written in double quotes, not in backticks or brackets."""
        start = name.meta.get("start")
        return isinstance(start, int) and self.sql[start : start + 1] == '"'

    def expression(self, node: exp.Expr, scope: Scope) -> Expr:
        """The term for an expression."""
        return read(node, scope, self)

    def query(self, node: exp.Expr, parent: Scope | None) -> tuple[Query, Names]:
        """A SELECT or set operation and the names of its columns."""
        outer = self.ctes
        try:
            if with_ := node.args.get("with_"):
                self.ctes = self._with(with_)
            if isinstance(node, exp.Select):
                return self._select(node, parent)
            if isinstance(node, exp.SetOperation):
                return self._set_op(node, parent)
        finally:
            self.ctes = outer
        raise Unprovable(type(node).__name__)

    def _with(self, node: exp.Expr) -> Ctes:
        only(node, "expressions")
        ctes: Ctes = {**self.ctes, **{cte.alias.lower(): None for cte in node.expressions}}
        for cte in node.expressions:
            only(cte, "this", "alias")
            only(cte.args["alias"], "this", "columns")
            names: Names = [name.name.lower() for name in cte.args["alias"].args.get("columns") or []]
            ctes[cte.alias.lower()] = (cte.this, names, dict(ctes))
        return ctes

    def _set_op(self, node: exp.SetOperation, parent: Scope | None) -> tuple[Query, Names]:
        only(node, "this", "expression", "distinct", "order", "limit", "offset", "with_")
        left = node.this
        while isinstance(left, exp.Subquery):  # sqlglot's own brackets; SQLite has none here
            only(left, "this")
            left = left.this
        if not isinstance(node.expression, exp.Select):
            raise Unprovable("set operation on the right")
        for side in (left, node.expression):
            if any(side.args.get(key) for key in ("order", "limit", "offset")):
                raise Unprovable("ORDER BY before a set operation")
        first, names = self.query(left, parent)
        second, _ = self.query(node.expression, parent)
        if len(outputs(first)) != len(outputs(second)):
            raise Unprovable("operands of different width")
        op = _SET_OPS[type(node)]
        if not node.args.get("distinct"):
            if op != "union":
                raise Unprovable("ALL")
            op = "union all"
        limit, offset = _limit(node)
        return SetOp(op, (first, second), self._positions(node, names), limit, offset), names

    def _positions(self, node: exp.Expr, names: Names) -> tuple[OrderKey, ...]:
        """ORDER BY of a set operation: by number, or by the name of a column of the first SELECT."""
        keys: list[OrderKey] = []
        first = node.find(exp.Select)
        for item in _order_items(node):
            term = item.this.unnest()
            if isinstance(term, exp.Literal) and not term.is_string:
                place = int(term.name) - 1 if term.name.isdigit() else -1
            elif isinstance(term, exp.Column) and not term.table and names.count(term.name.lower()) == 1:
                place = names.index(term.name.lower())
                if first is None or (first.args.get("joins") and not isinstance(first.expressions[place], exp.Alias)):
                    raise Unprovable("ORDER BY of a set operation by a column that two tables may have")
            else:
                raise Unprovable("ORDER BY of a set operation")
            if not 0 <= place < len(names):
                raise Unprovable("ORDER BY out of range")
            keys.append((("out", place), bool(item.args.get("desc")), bool(item.args.get("nulls_first"))))
        return tuple(keys)

    def _select(self, node: exp.Select, parent: Scope | None) -> tuple[Query, Names]:
        keys = ("expressions", "from_", "joins", "where", "group", "having", "order", "limit", "offset", "distinct")
        only(node, *keys, "with_")
        scope = Scope(parent)
        for item in node.expressions:
            if isinstance(item, exp.Alias):
                name = item.alias.lower()
                scope.aliases[name] = None if name in scope.aliases else item.this
        sources, lefts, where = read_from(node, scope, self)
        listed, names = self._outputs(node, scope)
        selected = tuple(listed)
        scope.sees_aliases = True
        if condition := node.args.get("where"):
            where |= conjuncts(read(condition.this, scope, self))
        group = self._group(node, scope, selected)
        having = conjuncts(read(node.args["having"].this, scope, self)) if node.args.get("having") else frozenset()
        order = self._order(node, scope, selected)
        if has_aggregate(where) or has_aggregate(group) or any(has_aggregate(left.on) for left in lefts):
            raise Unprovable("misplaced aggregate")
        if group is None and has_aggregate((selected, having, order)):
            group = frozenset({WHOLE})
        if having and group is None:
            raise Unprovable("HAVING without groups")
        if distinct := node.args.get("distinct"):
            only(distinct)
        limit, offset = _limit(node)
        block = Block(sources, lefts, where, group, having, selected, distinct is not None, order, limit, offset)
        return block, names

    def _outputs(self, node: exp.Select, scope: Scope) -> tuple[list[Expr], Names]:
        selected: list[Expr] = []
        names: Names = []
        for item in node.expressions:
            if isinstance(item, exp.Star) or (isinstance(item, exp.Column) and isinstance(item.this, exp.Star)):
                only(item, *([] if isinstance(item, exp.Star) else ["this", "table"]))
                table = None if isinstance(item, exp.Star) else item.table.lower()
                for column, name in scope.star(table):
                    selected.append(checked(column, self.world))
                    names.append(name)
                continue
            value = item.this if isinstance(item, exp.Alias) else item
            selected.append(read(value, scope, self))
            if isinstance(item, exp.Alias):
                names.append(item.alias.lower())
            else:
                bare = value.unnest()  # SQLite names `(code)` after its column too
                is_column = isinstance(bare, exp.Column) and selected[-1][0] != "text"
                names.append(bare.name.lower() if is_column else None)
        return selected, names

    def _group(self, node: exp.Select, scope: Scope, selected: tuple[Expr, ...]) -> Conditions | None:
        if (group := node.args.get("group")) is None:
            return None
        only(group, "expressions")
        keys = [self._ordinal(item, selected) or read(item, scope, self) for item in group.expressions]
        return frozenset(key for key in keys if key[0] not in LITERALS)

    def _order(self, node: exp.Select, scope: Scope, selected: tuple[Expr, ...]) -> tuple[OrderKey, ...]:
        keys: list[OrderKey] = []
        for item in _order_items(node):
            term = item.this.unnest()
            value = self._ordinal(term, selected)
            if value is None and isinstance(term, exp.Column) and not term.table and term.name.lower() in scope.aliases:
                aliased = scope.aliases[term.name.lower()]  # in ORDER BY an alias goes before a column
                if aliased is None:
                    raise Unprovable("alias given twice")
                scope.sees_aliases = False
                value = read(aliased, scope, self)
                scope.sees_aliases = True
            if value is None:
                value = read(term, scope, self)
            if value[0] not in LITERALS:
                keys.append((value, bool(item.args.get("desc")), bool(item.args.get("nulls_first"))))
        return tuple(keys)

    def _ordinal(self, node: exp.Expr, selected: tuple[Expr, ...]) -> Expr | None:
        node = node.unnest()
        if isinstance(node, exp.Neg):
            raise Unprovable("negative ordinal")
        if not isinstance(node, exp.Literal) or node.is_string or not node.name.isdigit():
            return None
        if not 1 <= int(node.name) <= len(selected):
            raise Unprovable("ordinal out of range")
        return selected[int(node.name) - 1]


def _order_items(node: exp.Expr) -> list[exp.Expr]:
    order = node.args.get("order")
    if order is None:
        return []
    only(order, "expressions")
    for item in order.expressions:
        if not isinstance(item, exp.Ordered):
            raise Unprovable("ORDER BY")
        only(item, "this", "desc", "nulls_first")
    return list(order.expressions)


def _limit(node: exp.Expr) -> tuple[int | None, int]:
    """LIMIT and OFFSET, if they are plain numbers."""
    numbers: list[int] = []
    for key in ("limit", "offset"):
        clause = node.args.get(key)
        if clause is None:
            numbers.append(-1)
            continue
        only(clause, "expression")
        value = clause.args["expression"]
        if not isinstance(value, exp.Literal) or value.is_string or not value.name.isdigit():
            raise Unprovable("LIMIT")
        numbers.append(int(value.name))
    return (None if numbers[0] < 0 else numbers[0]), max(numbers[1], 0)
