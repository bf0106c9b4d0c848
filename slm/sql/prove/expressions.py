"""From sqlglot's expressions to terms: one function a kind of node; any other kind is given up."""

from collections.abc import Callable
from typing import Any

from sqlglot import exp

from slm.sql.prove import functions
from slm.sql.prove.scope import Reads, Scope, only
from slm.sql.prove.terms import BOOLEANS, Block, Expr, Query, SetOp, Unprovable, all_of, any_of
from slm.sql.prove.world import World, outputs

_LARGEST = 2**63 - 1
_NOT_OPERANDS = (exp.Predicate, exp.Connector, exp.Not)  # need parentheses beside a comparison to be read alike
_ARITHMETIC: dict[type[exp.Expr], str] = {
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
    exp.Mod: "%",
    exp.DPipe: "||",
}
_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: "<",
    exp.GTE: "<=",
}
_ROWIDS = {"rowid", "oid", "_rowid_"}  # a table has these names unless a column of its own is called so
_NEGATED = {"=": "<>", "<>": "="}


def read(node: exp.Expr, scope: Scope, reader: Reads) -> Expr:
    """The term for an expression. Raises Unprovable."""
    kind = type(node)
    if kind in _READERS:
        return _READERS[kind](node, scope, reader)
    if kind in _ARITHMETIC:
        return _arithmetic(node, scope, reader)
    if kind in _COMPARISONS:
        return _comparison(node, scope, reader)
    return functions.read(node, scope, reader)


def negated(term: Expr) -> Expr:
    """NOT of a term, pushed inwards; every step holds for NULL too."""
    if term[0] in _NEGATED:
        return (_NEGATED[term[0]], *term[1:])
    if term[0] in ("<", "<="):  # SQLite orders all values, so the opposite of a < b is b <= a
        return ("<=" if term[0] == "<" else "<", term[2], term[1])
    if term[0] == "not" and term[1][0] in BOOLEANS:
        return term[1]  # type: ignore[no-any-return]
    if term[0] == "and":
        return any_of(map(negated, term[1]))
    if term[0] == "or":
        return all_of(map(negated, term[1]))
    return ("not", term)


def _operand(node: exp.Expr, scope: Scope, reader: Reads) -> Expr:
    """An operand of a comparison. SQLite and sqlglot group `a = b < c` or `a = b IN (c)` differently."""
    if isinstance(node, _NOT_OPERANDS):
        raise Unprovable("comparison of a comparison")
    return read(node, scope, reader)


def _column(node: exp.Expr, scope: Scope, reader: Reads) -> Expr:
    only(node, "this", "table")
    name, table = node.name.lower(), node.args["table"].name.lower() if node.args.get("table") else ""
    if node.this.args.get("quoted") and scope.has_unnamed():
        raise Unprovable("a quoted name that may be an expression's text")
    for level in scope.chain():
        if found := level.find(table, name):
            return checked(found, reader.world)
        if name in _ROWIDS and level.entries:
            raise Unprovable("the number of a row")
        if not table and name in level.aliases:
            aliased = level.aliases[name]
            if level is not scope or not scope.sees_aliases or aliased is None:
                raise Unprovable(f"alias {name}")
            scope.sees_aliases = False  # an alias within an alias
            term = read(aliased, scope, reader)
            scope.sees_aliases = True
            return term
    is_text = isinstance(node.this, exp.Identifier) and reader.is_double_quoted(node.this)
    if is_text and not table and reader.double_quoted_text:
        return ("text", node.name)
    raise Unprovable(f"no column {name}")


def checked(column: Expr, world: World) -> Expr:
    """The column. Raises Unprovable if nothing can be proved about it."""
    source, facts = world.sources[column[1]], world.facts
    if source.table and (source.table, facts.columns[source.table][column[2]]) in facts.opaque:
        raise Unprovable("a collation of its own")
    return column


def _literal(node: exp.Expr) -> Expr:
    if node.args["is_string"]:
        return ("text", node.name)
    if node.name.isascii() and node.name.isdigit():
        if int(node.name) > _LARGEST:
            raise Unprovable("integer beyond 64 bits")
        return ("int", int(node.name))
    try:
        value = float(node.name)
    except ValueError:
        raise Unprovable("number") from None
    if abs(value) > 1e300:
        raise Unprovable("number")
    return ("real", value)


def _negative(node: exp.Expr, scope: Scope, reader: Reads) -> Expr:
    only(node, "this")
    if not isinstance(node.this, (exp.Literal, exp.Column, exp.Paren, exp.Func)):
        raise Unprovable("sign")
    value = read(node.this, scope, reader)
    if value[0] in ("int", "real") and value[1]:
        return (value[0], -value[1])
    return ("neg", value)


def _arithmetic(node: exp.Expr, scope: Scope, reader: Reads) -> Expr:
    only(node, "this", "expression", "typed", "safe")
    sides = (node.this, node.args["expression"])
    for side in sides:
        mixed = isinstance(side, tuple(_ARITHMETIC)) and isinstance(node, exp.DPipe) != isinstance(side, exp.DPipe)
        if mixed or isinstance(side, (*_NOT_OPERANDS, exp.Not)):
            raise Unprovable("precedence")
    return (_ARITHMETIC[type(node)], *(read(side, scope, reader) for side in sides))


def _comparison(node: exp.Expr, scope: Scope, reader: Reads) -> Expr:
    only(node, "this", "expression")
    left, right = _operand(node.this, scope, reader), _operand(node.args["expression"], scope, reader)
    if isinstance(node, (exp.GT, exp.GTE)):
        left, right = right, left
    return reader.world.compare(_COMPARISONS[type(node)], left, right)


def _between(node: exp.Expr, scope: Scope, reader: Reads) -> Expr:
    only(node, "this", "low", "high")
    value, low, high = (_operand(node.args[key], scope, reader) for key in ("this", "low", "high"))
    return all_of((reader.world.compare("<=", low, value), reader.world.compare("<=", value, high)))


def _like(node: exp.Expr, scope: Scope, reader: Reads) -> Expr:
    only(node, "this", "expression", "negate")
    value, pattern = _operand(node.this, scope, reader), _operand(node.args["expression"], scope, reader)
    if pattern[0] == "text":  # LIKE knows upper and lower case of ASCII alone
        pattern = ("text", "".join(c.lower() if c.isascii() else c for c in pattern[1]))
    term = ("like", value, pattern)
    return negated(term) if node.args.get("negate") else term


def _is(node: exp.Expr, scope: Scope, reader: Reads) -> Expr:
    only(node, "this", "expression")
    if not isinstance(node.args["expression"], exp.Null):
        raise Unprovable("IS")
    return ("isnull", _operand(node.this, scope, reader))


def _in(node: exp.Expr, scope: Scope, reader: Reads) -> Expr:
    only(node, "this", "expressions", "query")
    value = _operand(node.this, scope, reader)
    if subquery := node.args.get("query"):
        query = _subquery(subquery, scope, reader)
        if len(outputs(query)) != 1:
            raise Unprovable("IN of several columns")
        return _in_query(value, query, reader.world)
    members = [read(member, scope, reader) for member in node.expressions]
    if not members or any(member[0] not in ("int", "real", "text") for member in members):
        raise Unprovable("IN of expressions")
    return any_of(reader.world.compare("=", value, member) for member in members)


def _in_query(value: Expr, query: Query, world: World) -> Expr:
    """IN of a UNION is IN of one or the other, for NULL too; all columns must be converted alike."""
    if isinstance(query, SetOp) and query.op in ("union", "union all") and query.limit is None and not query.offset:
        affinities = {world.affinity(outputs(operand)[0]) for operand in query.operands}
        are_alike = len(affinities) == 1 and affinities <= {"INTEGER", "NUMERIC", "REAL", "TEXT"}
        if are_alike and all(isinstance(operand, Block) for operand in query.operands):
            return any_of(("in", value, operand) for operand in query.operands)
    return ("in", value, query)


def _subquery(node: exp.Expr, scope: Scope, reader: Reads) -> Query:
    while isinstance(node, (exp.Subquery, exp.Paren)):
        only(node, "this")
        node = node.this
    return reader.query(node, scope)[0]


def _scalar(node: exp.Expr, scope: Scope, reader: Reads) -> Expr:
    query = _subquery(node, scope, reader)
    if len(outputs(query)) != 1:
        raise Unprovable("row value")
    # Only the first row counts, as if LIMIT 1 stood there.
    return ("sub", query if query.limit is not None else query._replace(limit=1))


def _exists(node: exp.Expr, scope: Scope, reader: Reads) -> Expr:
    only(node, "this")
    query = _subquery(node.this, scope, reader)
    if isinstance(query, SetOp) or query.limit == 0 or query.offset:
        raise Unprovable("EXISTS")
    query = query._replace(order=(), limit=None)
    return ("exists", query._replace(outputs=()) if query.group is None else query)


_READERS: dict[type[exp.Expr], Callable[[Any, Scope, Reads], Expr]] = {
    exp.Column: _column,
    exp.Literal: lambda node, *_: _literal(node),
    exp.Null: lambda *_: ("null",),
    exp.Paren: lambda node, scope, reader: read(node.this, scope, reader),
    exp.Neg: _negative,
    exp.And: lambda node, scope, reader: all_of(read(part, scope, reader) for part in (node.this, node.expression)),
    exp.Or: lambda node, scope, reader: any_of(read(part, scope, reader) for part in (node.this, node.expression)),
    exp.Not: lambda node, scope, reader: negated(read(node.this, scope, reader)),
    exp.Between: _between,
    exp.Like: _like,
    exp.Is: _is,
    exp.In: _in,
    exp.Subquery: _scalar,
    exp.Exists: _exists,
}
