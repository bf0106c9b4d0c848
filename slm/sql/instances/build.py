"""Chooses the further databases on which a gold's neighbours, and so near-miss predictions, show themselves."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import apsw

from slm.sql.compare import compare
from slm.sql.engines.sqlite import SqliteEngine
from slm.sql.golds import GoldPlan, admits, expect, plan_gold
from slm.sql.instances.constraints import Constraints, Inclusion, included, mine
from slm.sql.instances.domains import SUPPORT
from slm.sql.instances.instance import Instance, InstanceSet
from slm.sql.instances.literals import Literals, Wanted, find
from slm.sql.instances.plan import Plan, make_plan
from slm.sql.instances.synthesise import KINDS, Kind, synthesise
from slm.sql.results import Cell, Expected, Refused, ResultSet
from slm.sql.schema import Schema

_TRIED = 4  # candidates for each instance wanted
_QUERY_S, _MAX_ROWS = 0.2, 2000
_DIGITS = 9  # of a float, where two results are compared at first glance
_TOP_UP_TRIED = 3  # candidates for each instance of a top-up
_TOP_UP_KINDS: tuple[Kind, ...] = ("boundary", "wide", "duplicates", "empty_groups")
_TOP_UP_S = 1.0
_BROKEN = 6  # candidates on which a gold may fail before it is given up


@dataclass(slots=True)
class _Candidate:
    instance: Instance
    killed: list[str] = field(default_factory=list)
    has_rows: bool = False


def build(
    connection: apsw.Connection,
    schema: Schema,
    gold: str,
    *,
    constraints: Constraints | None = None,
    count: int = 16,
    seed: int = 0,
    deadline: float,
    double_quoted_text: bool = False,
) -> InstanceSet:
    """At most `count` strict instances and a quarter as many others; none where the gold fails on all of them.

    `deadline` is a time of `time.monotonic()`, in seconds, after which no more candidates are tried; but for that,
    the same arguments give the same instances. `double_quoted_text` lets "x" be text where no column is called x.
    `constraints` are what `mine` found in the database of `connection`; it is asked if they are not given.
    """
    from slm.sql.instances.mutate import mutants  # needs sqlglot, which stored instances do not

    constraints = constraints or mine(connection, schema)
    literals = find(gold, constraints)
    runner = _Runner(gold, double_quoted_text)
    alive = list(dict.fromkeys(mutant.sql for mutant in mutants(gold, schema)))
    ran: set[str] = set()
    joined = _mined_joins(connection, constraints, literals)
    chosen: list[_Candidate] = []
    for strict, wanted in ((True, count), (False, count // 4)):
        plan = make_plan(constraints, literals, strict=strict, mined_joins=joined)
        found = _try(runner, plan, alive, ran, wanted, seed, deadline)
        chosen += _choose(found, wanted)
        gone = {sql for candidate in chosen for sql in candidate.killed}
        alive = [sql for sql in alive if sql not in gone and (sql in ran or not chosen)]
    killed = {strict: sum(len(c.killed) for c in chosen if c.instance.strict is strict) for strict in (True, False)}
    instances = tuple(candidate.instance for candidate in chosen)
    return InstanceSet(instances, len(ran), killed[True], killed[False], tuple(sql for sql in alive if sql in ran))


def _mined_joins(connection: apsw.Connection, constraints: Constraints, literals: Literals) -> list[Inclusion]:
    """The rules that the shipped rows show for the columns that a query joins."""
    found = []
    for pair in literals.joins:
        for left, right in (pair, pair[::-1]):
            if left[0] != right[0] and (key := included(connection, constraints, left, right)):
                found.append(key)
                break
    return found


def _try(
    runner: "_Runner", plan: Plan, mutants: Sequence[str], ran: set[str], wanted: int, seed: int, deadline: float
) -> list[_Candidate]:
    """Candidates on which the gold runs, each with the mutants that it was the first to tell apart."""
    found: list[_Candidate] = []
    alive = list(mutants)
    idle = 0
    for number, kind in enumerate(itertools.islice(itertools.cycle(KINDS), _TRIED * wanted)):
        enough = len(found) >= wanted and (not alive or idle >= wanted)
        if enough or time.monotonic() > deadline or (number >= _BROKEN and not found):
            break
        candidate = runner.examine(Instance(synthesise(plan, kind, seed + number), kind, plan.strict), alive, ran)
        if candidate is None:
            continue
        found.append(candidate)
        idle = 0 if candidate.killed else idle + 1
    return found


def _choose(found: Sequence[_Candidate], count: int) -> list[_Candidate]:
    """First those that tell mutants apart, then those with rows in the gold's result, the kinds in turn."""
    useful = sorted((c for c in found if c.killed), key=lambda c: -len(c.killed))[:count]
    rest = [c for c in found if not c.killed]
    taken = {kind: sum(c.instance.kind == kind for c in useful) for kind in KINDS}
    while rest and len(useful) < count:
        best = min(rest, key=lambda c: (not c.has_rows, taken[c.instance.kind]))  # type: ignore[index]
        rest.remove(best)
        taken[best.instance.kind] += 1  # type: ignore[index]
        useful.append(best)
    return useful


def top_up(
    constraints: Constraints,
    gold: str,
    prediction: str,
    *,
    count: int = 4,
    seed: int = 0,
    double_quoted_text: bool = False,
) -> list[Instance]:
    """Instances for one pair, made from what both queries look for; one that tells the two apart ends the list.

    None where the prediction looks for nothing but what the gold looks for. A text of the prediction that neither the
    gold nor the data have is used in one last instance alone, which is not strict.
    """
    ours, theirs = find(gold, constraints), find(prediction, constraints)
    merged = ours.with_tables_of(theirs)
    new = [one for one in theirs.wanted if one not in ours.wanted]
    likely = [kept for one in new if (kept := _likely(one, ours, constraints))]
    if merged == ours and not new:
        return []
    merged.wanted = [*ours.wanted, *likely]
    # Whether joined columns are tied by a rule was not asked, so no row is left without a partner.
    plan = make_plan(constraints, merged, strict=True, orphans=False)
    plans = [plan] * (_TOP_UP_TRIED * count)
    if likely != new:
        wider = replace(merged, wanted=[*ours.wanted, *new])
        plans.append(make_plan(constraints, wider, strict=False, orphans=False))
    runner, deadline = _Runner(gold, double_quoted_text), time.monotonic() + _TOP_UP_S
    found: list[Instance] = []
    for number, used in enumerate(plans):
        if time.monotonic() > deadline:
            break
        kind = _TOP_UP_KINDS[number % len(_TOP_UP_KINDS)]
        instance = Instance(synthesise(used, kind, seed + 1000 + number), kind, used.strict)
        candidate = runner.examine(instance, [prediction], set())
        if candidate and (candidate.killed or len(found) < count):
            found = [*found[: count - 1], instance]
        if candidate and candidate.killed:
            break
    return found


def _likely(one: Wanted, ours: Literals, constraints: Constraints) -> Wanted | None:
    """What of the values that the prediction looks for may stand in a strict instance: those that the data or the gold
    have, and numbers inside the data's range or next to a number of the gold; where the rows are too few to show what
    else there may be, any.
    """
    column = constraints.column(*one.column)
    if column is None:
        return None
    domain = column.domain
    is_free = constraints.by_name[one.column[0].lower()].count < SUPPORT and not domain.closed
    golds: list[Cell] = [value for other in ours.wanted if other.column == one.column for value in other.given]
    words = {value.lower() for value in (*golds, *domain.samples) if isinstance(value, str)}
    numbers = [number for value in golds if (number := _number(value)) is not None]

    def may_be(value: Cell) -> bool:
        if value in golds or value in domain.samples:
            return True
        if is_free:  # but not the same words in other letters
            return not isinstance(value, str) or value.lower() not in words
        number = _number(value)
        if number is None or (domain.low is None and domain.samples):
            return False
        inside = domain.low is None or domain.low <= number <= (domain.high or 0)
        return inside or any(abs(number - other) <= 1 for other in numbers)

    given, match, near = (tuple(filter(may_be, values)) for values in (one.given, one.match, one.near))
    return Wanted(one.column, given, match, near, one.patterns) if match or near or one.patterns else None


def _number(value: Cell) -> float | None:
    try:
        return float(value) if isinstance(value, (int, float, str)) else None
    except ValueError:
        return None


class _Runner:
    """Runs a gold and its mutants on candidates."""

    def __init__(self, gold: str, double_quoted_text: bool) -> None:
        self._gold, self._plan, self._text = gold, plan_gold(gold), double_quoted_text

    def examine(self, instance: Instance, alive: list[str], ran: set[str]) -> _Candidate | None:
        """The mutants told apart, which leave `alive`; a mutant that does not run leaves it, too.

        None where the gold fails, or gives another result when the tables are read backwards.
        """
        engine = SqliteEngine(instance.image, double_quoted_text=self._text)
        try:
            expected = self._expected(engine, self._plan)
            engine.reverse(True)
            if not _equal(expected, _query(engine, self._gold)):
                return None
            engine.reverse(False)
            candidate = _Candidate(instance, has_rows=expected.count > 0)
            for sql in list(alive):
                try:
                    result = _query(engine, sql)
                except Refused as refusal:
                    if refusal.reason not in ("timeout", "too_many_rows", "memory"):
                        alive.remove(sql)
                        ran.discard(sql)
                    continue
                ran.add(sql)
                if not _equal(expected, result):
                    alive.remove(sql)
                    candidate.killed.append(sql)
            return candidate
        except Refused:
            return None
        finally:
            engine.close()

    def _expected(self, engine: SqliteEngine, plan: GoldPlan) -> Expected:
        result, ranked = _query(engine, self._gold), None
        if plan.ranked:
            try:
                ranked = _query(engine, plan.ranked).rows
            except Refused:
                ranked = None
        return expect(plan, result, ranked)[0]


def _query(engine: SqliteEngine, sql: str) -> ResultSet:
    return engine.query(sql, timeout_s=_QUERY_S, max_rows=_MAX_ROWS)


def _equal(expected: Expected, result: ResultSet) -> bool:
    if len(expected.labels) == len(result.labels) and admits(expected, result.rows, _rounded):
        return True
    return compare(expected, result).reason == "equal"


def _rounded(cell: Cell) -> Cell:
    return float(f"{cell:.{_DIGITS}g}") if isinstance(cell, float) else cell
