"""Makes small databases with the shipped schema whose rows tell near-miss queries apart."""

import random
from typing import Literal, TypeVar

from slm.sql.instances.constraints import Inclusion, TableFacts
from slm.sql.instances.plan import Plan
from slm.sql.instances.pools import Pool, fit
from slm.sql.instances.template import fill
from slm.sql.results import Cell
from slm.sql.schema import quoted

Kind = Literal["sample", "wide", "duplicates", "nulls", "empty_groups", "boundary", "tiny"]
KINDS: tuple[Kind, ...] = ("boundary", "duplicates", "nulls", "wide", "empty_groups", "sample", "tiny")

_MOST_ROWS = 640  # a table, where HAVING wants large groups
_MOST_LIMIT = 40  # rows that a LIMIT may ask for
_MANY = 25  # rows from which on the part of a key has different values, or too many rows would share a key
_FEW = 6  # rows of a group, of which every instance may have some
# How many rows meet what the queries look for, and how many cells are NULL where they may be.
_PLANTED = {"sample": 0.15, "wide": 0.35, "duplicates": 0.4, "nulls": 0.4, "empty_groups": 0.4, "boundary": 0.75}
_NULLS = {"nulls": 0.35, "wide": 0.08, "empty_groups": 0.08, "boundary": 0.06, "duplicates": 0.05, "tiny": 0.1}

_Record = dict[str, Cell]
_T = TypeVar("_T")


def synthesise(plan: Plan, kind: Kind, seed: int) -> bytes:
    """One database of a kind, as SQLite's file format has it. The same plan, kind and seed give the same bytes."""
    return _Maker(plan, kind, random.Random(f"{kind} {seed}")).make()  # noqa: S311 (nothing secret)


class _Maker:
    def __init__(self, plan: Plan, kind: Kind, rng: random.Random) -> None:
        self._plan, self._kind, self._rng = plan, kind, rng
        self._records: dict[str, list[_Record]] = {}
        self._planted: dict[str, list[_Record]] = {}
        self._grouped = {table for table, _ in plan.literals.grouped}

    def make(self) -> bytes:
        plan = self._plan
        later = []
        for table in plan.tables:
            self._records[table.name] = self._table(table)
            later += [key for key in plan.references[table.name] if key.parent not in self._records]
            later += [key for key in plan.references[table.name] if key.parent == table.name]
        for key in later:
            self._refer_late(key)
        rows = []
        for table in plan.tables:
            names = [column.name for column in table.columns if not column.generated]
            rows.append((table.name, names, [tuple(record[c] for c in names) for record in self._records[table.name]]))
        firm = [key for keys in plan.references.values() for key in keys if key not in plan.loose]
        return fill(plan.constraints.template, rows, [_repair(key) for key in firm])

    def _size(self, table: TableFacts) -> int:
        rng, literals = self._rng, self._plan.literals
        if self._kind == "tiny":
            return rng.randint(1, 2)
        if table.name not in self._plan.reached:
            return rng.randint(3, 6)
        size = rng.randint(5, 14) + (4 if self._plan.references[table.name] else 0)
        if literals.limit and self._kind != "sample":
            size = max(size, min(literals.limit, _MOST_LIMIT) + rng.randint(1, 4))
        if literals.group_sizes and (self._plan.references[table.name] or table.name in self._grouped):
            largest = max(literals.group_sizes)
            if largest <= _FEW or (self._kind == "boundary" and rng.random() < 0.4):
                size = min(max(size, 3 * largest + 4), _MOST_ROWS)
        return size

    def _table(self, table: TableFacts) -> list[_Record]:
        size = self._size(table)
        records = self._real(table, size) if self._kind == "sample" and table.rows else self._made(table, size)
        self._plant(table, records)
        referring = {c for key in self._plan.references[table.name] for c in key.columns}
        done = {column.name for column in table.columns} - referring
        for key in self._plan.references[table.name]:
            if key.parent in self._records:
                self._refer(table, key, records, done)
                done |= set(key.columns)
        self._blank(table, records)
        self._repeat(table, records)
        return self._without_repeated_keys(table, records)

    def _real(self, table: TableFacts, size: int) -> list[_Record]:
        names = [column.name for column in table.columns]
        columns = {column.name: column for column in table.columns}
        rows = self._rng.sample(table.rows, min(size, len(table.rows)))
        return [{name: fit(cell, columns[name]) for name, cell in zip(names, row, strict=True)} for row in rows]

    def _made(self, table: TableFacts, size: int) -> list[_Record]:
        cells: dict[str, list[Cell]] = {}
        for column in table.columns:
            if column.generated:
                continue
            pool = self._plan.pools[table.name, column.name]
            if pool.unique or (size > _MANY and any(column.name in key for key in table.keys)):
                cells[column.name] = pool.distinct(self._rng, size)
                size = min(size, len(cells[column.name]))
            else:
                cells[column.name] = self._drawn(table.name, pool, size)
        return [{name: values[i] for name, values in cells.items()} for i in range(size)]

    def _drawn(self, table: str, pool: Pool, size: int) -> list[Cell]:
        rng, column = self._rng, (table, pool.column.name)
        if column in self._plan.literals.grouped and self._kind in ("boundary", "duplicates"):
            return _in_groups(pool.few(rng, size), self._group_sizes(), size, rng)
        if self._kind == "duplicates":
            return rng.choices(pool.few(rng, rng.randint(1, 3)), k=size)
        if self._kind == "boundary" and (pool.match or column in self._plan.literals.ordered):
            return rng.choices(pool.few(rng, rng.randint(3, 6)), k=size)
        return [pool.draw(rng) for _ in range(size)]

    def _group_sizes(self) -> list[int]:
        """Groups just below, at and above what HAVING asks for; else two largest groups of one size."""
        if sizes := self._plan.literals.group_sizes:
            k = self._rng.choice(sizes)
            return [size for size in (k, k + 1, k - 1, k, 1) if 0 < size <= _MOST_ROWS]
        return self._rng.choice([[3, 3, 2, 1], [2, 2, 1, 1], [4, 3, 1], [3, 2, 2]])

    def _plant(self, table: TableFacts, records: list[_Record]) -> None:
        """Let some rows meet all that the queries look for in this table, and some all but one thing."""
        rng, columns = self._rng, self._plan.wanted[table.name]
        planted = self._planted[table.name] = []
        share = _PLANTED.get(self._kind, 0.6)
        if not columns:
            planted += [record for record in records if rng.random() < share]
            return
        for record in records:
            if rng.random() >= share:
                continue
            missed = rng.choice(columns) if rng.random() < 0.45 else None
            for name in columns:
                pool = self._plan.pools[table.name, name]
                values = pool.near if name == missed else pool.match
                if values and not (pool.unique and any(other[name] in values for other in records)):
                    record[name] = rng.choice(values)
            if missed is None:
                planted.append(record)

    def _refer(self, table: TableFacts, key: Inclusion, records: list[_Record], done: set[str]) -> None:
        """Give each row a parent; a row that must have one and finds none is dropped. `done` columns have their value.

        A parent is avoided that would repeat a key of the table.
        """
        rng, facts = self._rng, {column.name: column for column in table.columns}
        pairs = list(zip(key.columns, key.parent_columns, strict=True))
        parents, planned = self._parents(table, key, len(records))
        planted = self._planted[key.parent]
        hot = {id(parent) for parent in planted}
        cold = {id(record) for record in records} - {id(record) for record in self._planted[table.name]}
        fixed = [(c, p) for c, p in pairs if c in done]
        known = done | set(key.columns)
        keys = [k for k in self._keys(table) if set(key.columns) & set(k) and set(k) <= known]
        used: dict[tuple[str, ...], set[tuple[Cell, ...]]] = {k: set() for k in keys}
        kept = []
        for i, record in enumerate(records):
            if key in self._plan.loose and self._kind == "empty_groups" and rng.random() < 0.3:
                kept.append(record)  # an orphan
                continue
            order = rng.sample(parents, len(parents))
            if planned and rng.random() < 0.9:
                order.insert(0, planned[i])
            elif id(record) not in cold and rng.random() < 0.6:
                order.sort(key=lambda parent: id(parent) not in hot)
            for parent in order:
                if any(fit(parent[p], facts[c]) != record[c] for c, p in fixed):
                    continue
                trial = record | {c: fit(parent[p], facts[c]) for c, p in pairs}
                values = {k: tuple(trial.get(c) for c in k) for k in keys}
                if not any(values[k] in used[k] for k in keys):
                    record.update(trial)
                    kept.append(record)
                    for k in keys:
                        used[k].add(values[k])
                    break
        records[:] = kept

    def _parents(self, table: TableFacts, key: Inclusion, count: int) -> tuple[list[_Record], list[_Record]]:
        """The parents to choose from, of which some may get no child, and one for each row if groups are wanted."""
        rng, kind = self._rng, self._kind
        parents = [p for p in self._records[key.parent] if all(p[c] is not None for c in key.parent_columns)]
        rng.shuffle(parents)
        unique = any(set(k) <= set(key.columns) for k in self._keys(table))
        if parents and (kind == "empty_groups" or (kind in ("boundary", "nulls") and rng.random() < 0.5)):
            parents = parents[: max(1, len(parents) * (2 if unique else 1) // (3 if unique else 2))]
        grouped = kind in ("boundary", "duplicates") or (
            self._plan.literals.group_sizes and kind != "sample" and rng.random() < 0.5
        )
        if grouped and parents and not unique:
            hot = {id(parent) for parent in self._planted[key.parent]}
            first = sorted(parents, key=lambda parent: id(parent) not in hot)
            return parents, _in_groups(first, self._group_sizes(), count, rng)
        return parents, []

    def _keys(self, table: TableFacts) -> list[tuple[str, ...]]:
        single = [(c.name,) for c in table.columns if not c.generated and self._plan.pools[table.name, c.name].unique]
        return list(dict.fromkeys([*table.keys, *single]))

    def _refer_late(self, key: Inclusion) -> None:
        """References within a table, or back to one that came later."""
        facts = next(table for table in self._plan.tables if table.name == key.table)
        columns = {column.name: column for column in facts.columns}
        parents = self._records[key.parent]
        nullable = not any(self._plan.pools[key.table, column].not_null for column in key.columns)
        for record in self._records[key.table]:
            blank = nullable and self._rng.random() < 0.2
            parent = None if blank or not parents else self._rng.choice(parents)
            for column, source in zip(key.columns, key.parent_columns, strict=True):
                record[column] = fit(parent[source], columns[column]) if parent else None

    def _blank(self, table: TableFacts, records: list[_Record]) -> None:
        rng, share = self._rng, _NULLS.get(self._kind, 0.0)
        referring = {c for key in self._plan.references[table.name] for c in key.columns}
        for column in table.columns:
            if column.generated or self._plan.pools[table.name, column.name].not_null:
                continue
            here = share * rng.choice((0, 1, 1, 2))  # a single NULL empties a NOT IN
            if column.name in referring:
                here = rng.choice((0, 0.25)) if self._kind in ("nulls", "empty_groups") else min(here, 0.15)
            for record in records:
                if rng.random() < here:
                    record[column.name] = None

    def _repeat(self, table: TableFacts, records: list[_Record]) -> None:
        """Let a few rows be like another in all that no key forbids."""
        if self._kind not in ("duplicates", "wide") or len(records) < 3:
            return
        keys = {c for key in self._keys(table) for c in key}
        for _ in range(len(records) // 4 + 1):
            source = self._rng.choice(self._planted[table.name] or records)
            target = self._rng.choice(records)
            target.update({name: cell for name, cell in source.items() if name not in keys})

    def _without_repeated_keys(self, table: TableFacts, records: list[_Record]) -> list[_Record]:
        kept = records
        for key in self._keys(table):
            seen: set[tuple[Cell, ...]] = set()
            unseen = []
            for record in kept:
                values = tuple(record.get(c) for c in key)
                if None in values or values not in seen:
                    unseen.append(record)
                seen.add(values)
            kept = unseen
        self._rng.shuffle(kept)
        return kept


def _in_groups(values: list[_T], sizes: list[int], count: int, rng: random.Random) -> list[_T]:
    """`count` values in groups of these sizes, over and over."""
    found: list[_T] = []
    i = 0
    while len(found) < count:
        found += [values[i % len(values)]] * sizes[i % len(sizes)]
        i += 1
    found = found[:count]
    rng.shuffle(found)
    return found


def _repair(key: Inclusion) -> str:
    """A statement that deletes rows which refer to nothing."""
    child, parent = quoted(key.table), quoted(key.parent)
    pairs = list(zip(map(quoted, key.columns), map(quoted, key.parent_columns), strict=True))
    there = " AND ".join(f"{child}.{c} IS NOT NULL" for c, _ in pairs)
    equal = " AND ".join(f"p.{p} = {child}.{c}" for c, p in pairs)
    return f"DELETE FROM {child} WHERE {there} AND NOT EXISTS (SELECT 1 FROM {parent} AS p WHERE {equal})"  # noqa: S608
