"""What all synthesised databases for one gold have in common: their tables, references and possible values."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from slm.sql.instances.constraints import Constraints, Inclusion, TableFacts
from slm.sql.instances.literals import ColumnName, Literals, Wanted
from slm.sql.instances.pools import Pool, pool_of

_MOST_TABLES = 40  # of a larger schema the tables that the queries do not reach stay empty


@dataclass(frozen=True, slots=True)
class Plan:
    """What all instances for one gold have in common. `tables` come parents first; `reached` have more rows.

    `references` gives by table what its columns must be drawn from, `loose` those of them that may be broken.
    """

    constraints: Constraints
    literals: Literals
    strict: bool
    tables: tuple[TableFacts, ...]
    reached: frozenset[str]
    references: dict[str, tuple[Inclusion, ...]]
    loose: frozenset[Inclusion]
    pools: dict[ColumnName, Pool]
    wanted: dict[str, tuple[str, ...]]


def make_plan(
    constraints: Constraints,
    literals: Literals,
    *,
    strict: bool,
    mined_joins: Iterable[Inclusion] = (),
    orphans: bool = True,
) -> Plan:
    """Prepare instances. `mined_joins` are rules that the queries' joins suggest and the shipped rows obey.

    `orphans`: whether columns that the queries join and no rule ties may have values that the other side lacks.
    `strict` instances obey declared and mined rules; others only the declared ones, and use values that the data lack.
    """
    ruled = list(dict.fromkeys([*constraints.inclusions, *mined_joins]))
    joined = [*ruled, *_joins(constraints, literals, ruled)]
    loose = frozenset(
        i for i in joined if (i not in ruled and orphans) or (i in ruled and i.origin == "mined" and not strict)
    )
    reached = _closure(literals.tables, joined)
    if len(constraints.tables) <= _MOST_TABLES:
        chosen = list(constraints.tables)
    else:
        chosen = [table for table in constraints.tables if table.name in reached]
    wanted = _wanted(literals, joined)
    pools = {
        (table.name, column.name): pool_of(column, wanted.get((table.name, column.name), ()), strict=strict)
        for table in chosen
        for column in table.columns
        if not column.generated
    }
    tables = _parents_first(chosen, joined)
    names = {table.name for table in tables}
    references = {t.name: tuple(i for i in joined if i.table == t.name and i.parent in names) for t in tables}
    looked_at = {t.name: tuple(c.name for c in t.columns if (t.name, c.name) in wanted) for t in tables}
    return Plan(constraints, literals, strict, tuple(tables), reached, references, loose, pools, looked_at)


def _joins(constraints: Constraints, literals: Literals, ruled: list[Inclusion]) -> list[Inclusion]:
    """Columns that the queries compare and no rule ties: one takes values of the other, so that rows meet."""
    children = {(key.table, column) for key in ruled for column in key.columns}
    same: dict[ColumnName, ColumnName] = {}  # column to one that it shares values with, in the end to one for all

    def root(column: ColumnName) -> ColumnName:
        while column in same:
            column = same[column]
        return column

    for key in ruled:
        for child, parent in zip(key.columns, key.parent_columns, strict=True):
            if (ours := root((key.table, child))) != (theirs := root((key.parent, parent))):
                same[ours] = theirs
    found = []
    for left, right in literals.joins:
        facts = constraints.column(*left)
        if left[0] == right[0] or root(left) == root(right) or (left in children and right in children):
            continue
        free = left not in children and not (right not in children and facts and facts.unique)
        taker, giver = (left, right) if free else (right, left)
        same[root(taker)] = root(giver)
        children.add(taker)
        found.append(Inclusion(taker[0], (taker[1],), giver[0], (giver[1],), "mined"))
    return found


def _closure(tables: Iterable[str], inclusions: Iterable[Inclusion]) -> frozenset[str]:
    reached, todo = set(tables), list(tables)
    parents: dict[str, list[str]] = {}
    for key in inclusions:
        parents.setdefault(key.table, []).append(key.parent)
    while todo:
        new = [name for name in parents.get(todo.pop(), []) if name not in reached]
        reached.update(new)
        todo += new
    return frozenset(reached)


def _wanted(literals: Literals, inclusions: list[Inclusion]) -> dict[ColumnName, list[Wanted]]:
    """By column; a value wanted of a child column is wanted of what it refers to as well."""
    found: dict[ColumnName, list[Wanted]] = {}
    for one in literals.wanted:
        found.setdefault(one.column, []).append(one)
    for _ in range(3):
        for key in inclusions:
            for child, parent in zip(key.columns, key.parent_columns, strict=True):
                mine = found.get((key.table, child), [])
                theirs = found.setdefault((key.parent, parent), []) if mine else []
                theirs += [replace(one, column=(key.parent, parent)) for one in mine if not _has(theirs, one)]
    return found


def _has(wanted: list[Wanted], one: Wanted) -> bool:
    return any((w.given, w.match, w.patterns) == (one.given, one.match, one.patterns) for w in wanted)


def _parents_first(tables: list[TableFacts], inclusions: list[Inclusion]) -> list[TableFacts]:
    """In a cycle, in the order of creation; the references backwards are then filled last."""
    done: dict[str, TableFacts] = {}
    names = {table.name for table in tables}
    while len(done) < len(tables):
        rest = [table for table in tables if table.name not in done]
        free = [
            t
            for t in rest
            if all(
                i.parent in done or i.parent not in names or i.parent == t.name for i in inclusions if i.table == t.name
            )
        ]
        for table in free or rest[:1]:
            done[table.name] = table
    return list(done.values())
