"""From sqlglot's function calls, CASE and CAST to terms: those that are known to be functions of their arguments."""

from collections.abc import Callable
from typing import Any

from sqlglot import exp

from slm.sql.prove.scope import Reads, Scope, only
from slm.sql.prove.terms import Expr, Unprovable, columns, has_aggregate

_AGGREGATES: dict[type[exp.Expr], str] = {
    exp.Count: "count",
    exp.Sum: "sum",
    exp.Avg: "avg",
    exp.Min: "min",
    exp.Max: "max",
}
_CASTS = {exp.DType.INT: "INTEGER", exp.DType.DOUBLE: "REAL", exp.DType.FLOAT: "REAL", exp.DType.TEXT: "TEXT"}
_FUNCTIONS: dict[type[exp.Expr], tuple[str, tuple[str, ...]]] = {
    exp.Abs: ("abs", ("this",)),
    exp.Length: ("length", ("this",)),
    exp.Lower: ("lower", ("this",)),
    exp.Upper: ("upper", ("this",)),
    exp.Round: ("round", ("this", "decimals")),
    exp.Coalesce: ("coalesce", ("this", "expressions")),
    exp.Substring: ("substr", ("this", "start", "length")),
    exp.Nullif: ("nullif", ("this", "expression")),
    exp.Greatest: ("max", ("this", "expressions")),
    exp.Least: ("min", ("this", "expressions")),
    exp.If: ("iif", ("this", "true", "false")),
    exp.StrPosition: ("instr", ("this", "substr")),
}


def read(node: exp.Expr, scope: Scope, reader: Reads) -> Expr:
    """The term for a call. Raises Unprovable."""
    kind = type(node)
    if kind in _AGGREGATES:
        return _aggregate(node, scope, reader)
    if kind in _FUNCTIONS:
        return _function(node, scope, reader)
    if kind in _OTHERS:
        return _OTHERS[kind](node, scope, reader)
    raise Unprovable(kind.__name__)


def _aggregate(node: exp.Expr, scope: Scope, reader: Reads) -> Expr:
    only(node, "this", "big_int")
    name, argument, distinct = _AGGREGATES[type(node)], node.this, False
    if isinstance(argument, exp.Star):
        if name != "count":
            raise Unprovable("*")
        return ("agg", "count", False, None)
    if isinstance(argument, exp.Distinct):
        only(argument, "expressions")
        if len(argument.expressions) != 1:
            raise Unprovable("DISTINCT of several columns")
        argument, distinct = argument.expressions[0], name not in ("min", "max")
    term = reader.expression(argument, scope)
    # An aggregate of outer columns belongs to the outer query.
    if has_aggregate(term) or not all(map(scope.owns, columns(term))):
        raise Unprovable("aggregate of an outer query")
    return ("agg", name, distinct, term)


def _function(node: exp.Expr, scope: Scope, reader: Reads) -> Expr:
    name, keys = _FUNCTIONS[type(node)]
    only(node, *keys)
    arguments: list[exp.Expr] = []
    for key in keys:
        value = node.args.get(key)
        arguments += value if isinstance(value, list) else [value] if value is not None else []
    return ("fn", name, *(reader.expression(argument, scope) for argument in arguments))


def _year_and_such(node: exp.Expr, scope: Scope, reader: Reads) -> Expr:
    """STRFTIME(format, column). Not of a literal, which could be 'now'."""
    only(node, "this", "format")
    moment, form = node.this, node.args["format"]
    if isinstance(moment, exp.TsOrDsToTimestamp):
        only(moment, "this")
        moment = moment.this
    if not isinstance(moment, exp.Column) or not isinstance(form, exp.Literal):
        raise Unprovable("STRFTIME")
    term = reader.expression(moment, scope)
    if term[0] != "col":
        raise Unprovable("STRFTIME")
    return ("fn", "strftime", ("text", form.name), term)


def _case(node: exp.Expr, scope: Scope, reader: Reads) -> Expr:
    only(node, "this", "ifs", "default")
    parts: list[Any] = ["case"]
    for key in ("this", "default"):
        value = node.args.get(key)
        parts.append(("null",) if value is None else reader.expression(value, scope))
    parts.append(("bool", node.args.get("this") is not None))
    for branch in node.args["ifs"]:
        only(branch, "this", "true")
        parts.append((reader.expression(branch.this, scope), reader.expression(branch.args["true"], scope)))
    return tuple(parts)


def _cast(node: exp.Expr, scope: Scope, reader: Reads) -> Expr:
    only(node, "this", "to", "_type")
    target = node.args["to"]
    if target.this not in _CASTS or target.expressions:
        raise Unprovable("CAST")
    return ("cast", _CASTS[target.this], reader.expression(node.this, scope))


_OTHERS: dict[type[exp.Expr], Callable[[Any, Scope, Reads], Expr]] = {
    exp.Case: _case,
    exp.Cast: _cast,
    exp.TimeToStr: _year_and_such,
}
