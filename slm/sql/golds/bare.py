"""Finds bare columns: selected beside aggregates, and not the same in all rows of a group by any key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from slm.sql.golds.names import Names, Origin, own_nodes
from slm.sql.results import Refused, ResultSet

if TYPE_CHECKING:
    from sqlglot import exp

Keys = Mapping[str, Sequence[tuple[str, ...]]]  # of a table in lower case: its UNIQUE column groups

_Place = tuple[str, str]  # relation and column


def bare_columns(
    tree: exp.Expr, names: Names, unique: Keys, run: Callable[[str], ResultSet]
) -> Iterator[tuple[str, bool | None]]:
    """Each bare column as it is written, and whether its value varies within a group of this data (None: not known)."""
    from sqlglot import exp

    for select in tree.find_all(exp.Select):
        grouped = select.args.get("group")
        aggregates = [node for node in own_nodes(select) if _is_aggregate(node)]
        extremes = {node for node in aggregates if isinstance(node, exp.Min | exp.Max)}
        # Beside exactly one min() or max(), SQLite takes bare columns from the row that has it.
        if not (grouped or aggregates) or len(extremes) == 1:
            continue
        terms = _group_terms(select)
        fixed = _determined(select, names, terms, unique)
        seen = set()
        for column in _outside_aggregates(select, terms):
            origin = names.origin(column) if isinstance(column, exp.Column) else None
            text = column.sql(dialect="sqlite")
            if text not in seen and _is_bare(column, origin, select, names, fixed):
                seen.add(text)
                yield text, _varies(select, text, run)


def _is_aggregate(node: exp.Expr) -> bool:
    from sqlglot import exp

    several = isinstance(node, exp.Min | exp.Max) and bool(node.expressions)  # max(a, b) is a scalar function
    return isinstance(node, exp.AggFunc) and not several and not isinstance(node.parent, exp.Window)


def _group_terms(select: exp.Select) -> list[exp.Expr]:
    """GROUP BY's expressions, with ordinals and aliases resolved."""
    from sqlglot import exp

    group, terms = select.args.get("group"), []
    aliases = {item.alias.lower(): item.this for item in select.expressions if isinstance(item, exp.Alias)}
    for term in group.expressions if group else []:
        if isinstance(term, exp.Literal) and not term.is_string and int(term.this) <= len(select.expressions):
            term = select.expressions[int(term.this) - 1].unalias()
        terms.append(term)
        if isinstance(term, exp.Column) and not term.table and term.name.lower() in aliases:
            terms.append(aliases[term.name.lower()])
    return terms


def _outside_aggregates(select: exp.Select, terms: list[exp.Expr]) -> Iterator[exp.Expr]:
    """Columns and stars in SELECT, HAVING and ORDER BY that no aggregate, subquery or GROUP BY term holds."""
    from sqlglot import exp

    aliases = {item.alias.lower() for item in select.expressions if isinstance(item, exp.Alias)}

    def stops(node: exp.Expr) -> bool:
        return _is_aggregate(node) or isinstance(node, exp.Query | exp.Column) or node in terms

    behind = [select.args[part] for part in ("having", "order") if select.args.get(part)]
    for part in [*select.expressions, *behind]:
        for node in part.walk(prune=stops):
            alias = part in behind and isinstance(node, exp.Column) and not node.table and node.name.lower() in aliases
            if isinstance(node, exp.Column | exp.Star) and node not in terms and not alias:
                yield node


def _is_bare(column: exp.Expr, origin: Origin | None, select: exp.Select, names: Names, fixed: set[_Place]) -> bool:
    if origin is not None:  # a column of an outer query is the same for all rows
        return origin.relation in names.relations(select) and origin[:2] not in fixed
    if not column.is_star:
        return False
    qualifier = column.text("table").lower()
    tables = {alias: table for alias, table in names.relations(select).items() if qualifier in ("", alias)}
    places = {(alias, each.name.lower()) for alias, table in tables.items() if table for each in table.columns}
    return not places <= fixed


def _determined(select: exp.Select, names: Names, terms: list[exp.Expr], unique: Keys) -> set[_Place]:
    """What is the same in all rows of a group: the GROUP BY columns, what equals them, and what hangs on their keys."""
    from sqlglot import exp

    origins = [names.origin(term) for term in terms if isinstance(term, exp.Column)]
    fixed = {origin[:2] for origin in origins if origin}
    rules = list(_equalities(select, names))
    for alias, table in names.relations(select).items():
        if table is None:
            continue
        columns = {(alias, column.name.lower()) for column in table.columns}
        keys = filter(None, [table.primary_key, *unique.get(table.name.lower(), ())])
        rules += [({(alias, name.lower()) for name in key}, columns) for key in keys]
    before = -1
    while before < len(fixed):
        before = len(fixed)
        for needed, given in rules:
            if needed <= fixed:
                fixed |= given
    return fixed


def _equalities(select: exp.Select, names: Names) -> Iterator[tuple[set[_Place], set[_Place]]]:
    """(if these are the same in a group, so are those), from `a = b` in WHERE and in the ON of joins."""
    from sqlglot import exp

    where = select.args.get("where")
    certain = list(_conjuncts(where.this if where else None))
    for join in select.args.get("joins") or []:
        conditions = list(_conjuncts(join.args.get("on")))
        if join.side == "":
            certain += conditions
        elif join.side == "LEFT" and len(conditions) == 1:
            # The joined side has the same value or, where it has none, NULL.
            places = _sides(conditions[0], names)
            joined = [place for place in places if place[0] == join.this.alias_or_name.lower()]
            if len(places) == 2 and len(joined) == 1:
                yield set(places) - set(joined), set(joined)
        for name in join.args.get("using") or [] if join.side == "" else []:
            same = {(alias, name.name.lower()) for alias in names.relations(select)}
            yield from (({place}, same) for place in same)
    for condition in certain:
        places = _sides(condition, names)
        constant = isinstance(condition, exp.EQ) and any(
            isinstance(side.unnest(), exp.Literal) or _is_text(side.unnest(), names)
            for side in (condition.this, condition.expression)
        )
        if len(places) == 2:
            yield from (({place}, set(places)) for place in places)
        elif len(places) == 1 and constant:
            yield set(), set(places)


def _sides(condition: exp.Expr, names: Names) -> list[_Place]:
    """The columns that `a = b` compares."""
    from sqlglot import exp

    if not isinstance(condition, exp.EQ):
        return []
    columns = [side for each in (condition.this, condition.expression) if isinstance(side := each.unnest(), exp.Column)]
    return [origin[:2] for column in columns if (origin := names.origin(column))]


def _conjuncts(condition: exp.Expr | None) -> Iterator[exp.Expr]:
    from sqlglot import exp

    if isinstance(condition, exp.And | exp.Paren):
        for side in condition.args.values():
            if isinstance(side, exp.Expr):
                yield from _conjuncts(side)
    elif condition is not None:
        yield condition


def _is_text(node: exp.Expr, names: Names) -> bool:
    """Whether a double-quoted name is a text."""
    from sqlglot import exp

    return isinstance(node, exp.Column) and node.this.quoted and not node.table and names.origin(node) is None


def _varies(select: exp.Select, text: str, run: Callable[[str], ResultSet]) -> bool | None:
    """Asks the data, by the query's own FROM, WHERE and GROUP BY."""
    if text.endswith("*"):
        return None
    trial = select.copy()
    for part in ("having", "order", "limit", "offset", "distinct"):
        trial.set(part, None)
    trial = trial.select("1", append=False).having(f"count(DISTINCT {text}) > 1 OR count({text}) NOT IN (0, count(*))")
    try:
        return bool(run(trial.limit(1).sql(dialect="sqlite")).rows)
    except Refused:
        return None
