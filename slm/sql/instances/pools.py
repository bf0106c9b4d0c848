"""Which values a column may take in a synthesised database."""

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from slm.sql.instances.constraints import ColumnFacts
from slm.sql.instances.domains import Domain
from slm.sql.instances.literals import Wanted
from slm.sql.instances.moments import MOMENTS, in_other_years, moments, moments_like
from slm.sql.instances.near import like_matches, neighbours
from slm.sql.results import Cell

_FRESH = 700
_WORDS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel")


@dataclass(frozen=True, slots=True)
class Pool:
    """A column's ordinary values, those that meet a comparison, and those that just miss one; without repetition."""

    column: ColumnFacts
    values: tuple[Cell, ...]
    match: tuple[Cell, ...]
    near: tuple[Cell, ...]
    not_null: bool
    unique: bool

    def draw(self, rng: random.Random) -> Cell:
        """One value: a known one, or any number of the range."""
        domain = self.column.domain
        if domain.low is not None and not domain.closed and rng.random() < 0.4:
            return fit(_between(domain, rng), self.column)
        return rng.choice(self.values)

    def few(self, rng: random.Random, count: int) -> list[Cell]:
        """`count` values at most, the telling ones first."""
        telling = list(dict.fromkeys([*self.match, *self.near]))
        rng.shuffle(telling)
        others = [value for value in self.values if value not in telling]
        rng.shuffle(others)
        kept = max(count - 1, 1)
        return list(dict.fromkeys([*telling[:kept], *others]))[:count] or telling[:count]

    def distinct(self, rng: random.Random, count: int) -> list[Cell]:
        """`count` different values; fewer where a closed list has no more."""
        found = dict.fromkeys(rng.sample(self.values, len(self.values)))
        for value in [*self.match, *self.near]:
            found.setdefault(value)
        for value in self._further(rng, count):
            if len(found) >= count:
                break
            found.setdefault(value)
        known = list(found)[:count]
        rng.shuffle(known)
        return known

    def _further(self, rng: random.Random, count: int) -> Iterator[Cell]:
        """Values that are not known: first of the range, then, for a declared key or of a text, beyond."""
        domain = self.column.domain
        if domain.closed:
            return
        if domain.low is not None:
            for _ in range(2 * count):
                yield fit(_between(domain, rng), self.column)
        if domain.low is None or self.column.unique != "mined":
            yield from _fresh(self.column)


def _between(domain: Domain, rng: random.Random) -> Cell:
    low, high = domain.low, domain.high
    if domain.kind == "decimal":
        return round(rng.uniform(float(low or 0), float(high or 0)), domain.decimals)
    number = rng.randint(math.ceil(low or 0), math.floor(high or 0))
    return str(number) if domain.kind == "integer_text" else number


def _fresh(column: ColumnFacts) -> Iterator[Cell]:
    """Values that a column's kind allows and that are not known, for keys: numbers from the highest on."""
    domain = column.domain
    first = int(domain.high or 0) + 1
    texts = [value for value in domain.samples if isinstance(value, str)] or list(_WORDS)
    for i in range(_FRESH):
        match domain.kind:
            case "integer":
                yield fit(first + i, column)
            case "decimal":
                yield fit(first + i + 0.5, column)
            case "integer_text":
                yield str(first + i)
            case "date":
                yield f"{2000 + i % 25}-{1 + i // 25:02}-01"
            case "datetime":
                yield f"{2000 + i % 25}-{1 + i // 25:02}-01 10:00:00"
            case "time":
                yield from moments(f"{i % 24:02}:{i // 24:02}", domain)[:1]
            case _:
                yield fit(f"{texts[i % len(texts)]} {i + 2}", column)


def pool_of(column: ColumnFacts, wanted: Iterable[Wanted], *, strict: bool) -> Pool:
    """What a column may hold. `wanted` are the queries' comparisons of it, whose literals count as in its domain."""
    domain = column.domain
    base = list(domain.samples) or _made_up(domain)
    if domain.kind in MOMENTS:
        base += in_other_years(domain)
    match: list[Cell] = []
    near: list[Cell] = []
    for one in wanted:
        if domain.kind in ("integer", "decimal", "integer_text", *MOMENTS) and not domain.closed:
            match += [v for value in one.match for v in _in_kind(value, domain)]
            near += [v for value in one.near for v in _in_kind(value, domain)]
        else:
            # A number beside a text is of its length or of a part of it, say; no such text is made of it.
            whole = one.given[:1] if domain.closed else one.given
            given = {value for value in whole if isinstance(value, str) or domain.kind != "text"}
            match += [value for value in one.match if value in given]
            near += [value for value in one.near if value in given]
            known = {fit(value, column) for value in base}
            match += [value for value in one.match if fit(value, column) in known]
            near += [value for value in one.near if fit(value, column) in known]
        dated = [moments_like(p, domain) for p in one.patterns if domain.kind in MOMENTS]
        match += [moment for matching, _ in dated for moment in matching]
        near += [moment for _, missing in dated for moment in missing]
        real = [value for value in base for p in one.patterns if like_matches(p, str(value))]
        match += real
        if one.patterns and not dated and (not real or (domain.kind == "text" and not domain.closed)):
            match += one.match
            near += [] if domain.closed else one.near
        if not one.near and not one.patterns:
            near += [value for value in base if value not in one.given][:2]
    if not strict:
        foreign = _foreign(column, match)
        base += foreign
        near += foreign if match else []
    values = _fitted([*base, *match, *near], column)
    needs = column.not_null is not None if strict else column.not_null == "declared"
    unique = column.unique is not None if strict else column.unique == "declared"
    return Pool(column, values, _fitted(match, column), _fitted(near, column), needs, unique)


def _fitted(values: Iterable[Cell], column: ColumnFacts) -> tuple[Cell, ...]:
    return tuple(dict.fromkeys(fit(value, column) for value in values))


def fit(value: Cell, column: ColumnFacts) -> Cell:
    """The value as the column stores it, so that equal values are equal before they are stored, too."""
    if column.affinity == "TEXT":
        return str(value) if isinstance(value, (int, float)) else value
    if column.affinity in ("INTEGER", "NUMERIC", "REAL"):
        if isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                return value
        if isinstance(value, float) and column.affinity != "REAL" and value.is_integer():
            return int(value)
    return value


def _in_kind(value: Cell, domain: Domain) -> list[Cell]:
    """The values of the column's kind that stand for a wanted one: whole numbers around a fraction, say."""
    if domain.kind in MOMENTS:
        return list(moments(value, domain))
    try:
        number = float(value) if isinstance(value, (int, float, str)) else math.nan
    except ValueError:
        return []
    if not math.isfinite(number) or abs(number) > 2**53:
        return []
    if domain.kind == "decimal":
        return [round(number, max(domain.decimals, 0))]
    whole: list[Cell] = [*dict.fromkeys((math.floor(number), math.ceil(number)))]
    return [str(n) for n in whole] if domain.kind == "integer_text" else whole


def _made_up(domain: Domain) -> list[Cell]:
    """Values of a column that has none."""
    match domain.kind:
        case "integer":
            return list(range(1, 13))
        case "decimal":
            return [0.5, 1.0, 1.25, 2.5, 5.0, 10.0, 12.75, 20.0]
        case "date":
            return [f"20{n:02}-0{1 + n % 9}-15" for n in range(1, 9)]
        case "datetime":
            return [f"20{n:02}-0{1 + n % 9}-15 08:30:00" for n in range(1, 9)]
        case "time":
            return [f"{n:02}:30" for n in range(1, 24, 3)]
        case _:
            return list(_WORDS)


def _foreign(column: ColumnFacts, match: list[Cell]) -> list[Cell]:
    """What the data do not show: text in other letter case or inside longer text, numbers out of the range."""
    domain = column.domain
    found: list[Cell] = []
    for value in [*match, *domain.samples[:4]]:
        if isinstance(value, str) and domain.kind in ("text", "mixed"):
            found += [value.upper(), value.lower(), value.capitalize(), f"{value} x", f"x {value}"]
    if domain.kind in ("integer", "decimal"):
        low, high = domain.low or 0, domain.high or 0
        found += [*neighbours(low)[0], *neighbours(high)[1], 0, -1]
    elif domain.kind == "text":
        found.append("")
    return found
