"""From sqlglot's FROM and JOIN to sources and conditions: tables, subqueries, CTEs, ON, USING and NATURAL."""

from sqlglot import exp

from slm.sql.prove.scope import Entry, Reads, Scope, only
from slm.sql.prove.terms import Conditions, Expr, Left, Source, Unprovable, all_of, columns, conjuncts

_MOST_OCCURRENCES = 40  # a CTE is read again wherever it is used


def read_from(node: exp.Select, scope: Scope, reader: Reads) -> tuple[tuple[Source, ...], tuple[Left, ...], Conditions]:
    """The inner-joined sources, the left-joined ones, and the conditions of inner joins; `scope` learns the names."""
    inner: list[Source] = []
    lefts: list[tuple[Source, list[Expr], exp.Expr | None, set[int]]] = []
    where: list[Expr] = []
    waiting: list[exp.Expr] = []
    if (first := node.args.get("from_")) is None:
        return (), (), frozenset()
    only(first, "this")
    scope.add(_entry(first.this, scope, reader))
    inner.append(scope.entries[0].source)
    for join in node.args.get("joins") or []:
        only(join, "this", "on", "using", "side", "kind", "method")
        is_left = join.side == "LEFT"
        if (join.side and not is_left) or join.kind not in ("", "INNER", "CROSS", "OUTER"):
            raise Unprovable("join")
        if join.method not in ("", "NATURAL"):
            raise Unprovable("join")
        entry = _entry(join.this, scope, reader)
        equal = _using(join, entry, scope, reader)
        scope.add(entry)
        before = {other.source.occurrence for other in scope.entries}
        if is_left:
            lefts.append((entry.source, equal, join.args.get("on"), before))
            continue
        inner.append(entry.source)
        where += equal
        if on := join.args.get("on"):
            waiting.append(on)
    for on in waiting:  # every ON is read when all tables are known, as SQLite does
        where.append(reader.expression(on, scope))
    return tuple(inner), tuple(_left(scope, reader, *left) for left in lefts), conjuncts(all_of(where))


def _left(
    scope: Scope, reader: Reads, source: Source, equal: list[Expr], on: exp.Expr | None, before: set[int]
) -> Left:
    conditions = [*equal, reader.expression(on, scope)] if on else equal
    if any(scope.owns(column) and column[1] not in before for column in columns(tuple(conditions))):
        raise Unprovable("ON names a later table")
    return Left(source, conjuncts(all_of(conditions)))


def _using(join: exp.Join, entry: Entry, scope: Scope, reader: Reads) -> list[Expr]:
    """The equalities of USING and NATURAL; the columns on the right are hidden from bare names and `*`."""
    names = [name.name.lower() for name in join.args.get("using") or []]
    if join.method == "NATURAL":
        known = {name for other in scope.entries for name in other.names}
        if None in known or None in entry.names:
            raise Unprovable("NATURAL with unnamed columns")
        names = [name for name in entry.names if name is not None and name in known]
    equal = []
    for name in names:
        left, right = scope.find("", name), entry.places(name)
        if left is None or len(right) != 1:
            raise Unprovable("USING")
        entry.hidden.add(right[0])
        equal.append(reader.world.compare("=", left, ("col", entry.source.occurrence, right[0])))
    return equal


def _entry(node: exp.Expr, scope: Scope, reader: Reads) -> Entry:
    if len(reader.world.sources) >= _MOST_OCCURRENCES:
        raise Unprovable("too many tables")
    alias = node.args.get("alias")
    if alias:
        only(alias, "this")
    if isinstance(node, exp.Subquery):
        only(node, "this", "alias")
        query, names = reader.query(node.this, scope.parent)
        return Entry(node.alias.lower() or f"({len(scope.entries)})", reader.world.add(None, query), names)
    if not isinstance(node, exp.Table) or not isinstance(node.this, exp.Identifier):
        raise Unprovable("FROM")
    only(node, "this", "alias")
    name = node.name.lower()
    shown = node.alias.lower() or name
    if name in reader.ctes:
        return _cte(name, shown, reader)
    facts = reader.world.facts
    if name not in facts.columns:
        raise Unprovable(f"no table {name}")
    return Entry(shown, reader.world.add(name, None), list(facts.columns[name]))


def _cte(name: str, shown: str, reader: Reads) -> Entry:
    found = reader.ctes[name]
    if found is None:
        raise Unprovable("recursion")
    body, names, visible = found
    outer, reader.ctes = reader.ctes, visible
    query, own = reader.query(body, None)
    reader.ctes = outer
    if names and len(names) != len(own):
        raise Unprovable("CTE columns")
    return Entry(shown, reader.world.add(None, query), names or own)
