"""Beyond one database: further instances, a proof, and the smallest data that tells a wrong answer from a right one."""

import base64
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from slm.sql.compare import Outcome as Comparison
from slm.sql.compare import find_permutation, matches
from slm.sql.engines.sqlite import SqliteEngine
from slm.sql.instances import Constraints, Instance, InstanceSet, build, decode, encode, mine, top_up
from slm.sql.prove import prove_equal, read_facts
from slm.sql.results import Expected, ResultSet
from slm.sql.sandbox.database import Database
from slm.sql.sandbox.heartbeat import Heartbeat
from slm.sql.sandbox.judging import Gold, content_key, expected_of, gold_of, is_same
from slm.sql.sandbox.witness import Contest, shown_results, smallest
from slm.sql.store import StoreReader, store_key

Reply = dict[str, Any]

_BUILD_S, _CHECK_S, _PROOF_S, _WITNESS_S = 30.0, 30.0, 5.0, 3.0
_INSTANCE_S = 1.0  # for a query on an instance of a few rows
_MAX_ROWS = 10_000
_KEPT_SETS = 32
_NO_DIFFERENCE = {"correct", "gold_ambiguous", "both_empty"}
_LARGEST_COPY = 8 << 20  # bytes of a shipped database that is cut down for a witness


class _Around:
    """What is known around a database: what it is called in the store, what it declares, what its rows suggest."""

    def __init__(self, database: Database, key: str) -> None:
        engine = database.connection("gold")
        assert isinstance(engine, SqliteEngine)  # noqa: S101 - only SQLite has instances
        self.key, self.engine, self.schema = key, engine, engine.schema()
        with engine.unguarded() as connection:
            self.facts = read_facts(connection, self.schema)

    @cached_property
    def constraints(self) -> Constraints:
        """Mined once, and only when something has to be made; a second or so for large databases."""
        with self.engine.unguarded() as connection:
            return mine(connection, self.schema)


@dataclass(slots=True)
class _Look:
    """One pair under a further look; `made` is what the store shall keep."""

    request: Reply
    database: Database
    around: _Around
    gold: Gold
    prediction: str
    result: ResultSet
    count: int
    made: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Found:
    """What the instances say: the number and data of the first that separates, and the permutation that all allow."""

    checked: int = 0
    separated: int | None = None
    image: bytes | None = None
    results: tuple[ResultSet, ResultSet] | None = None
    fragile: bool = False
    has_rows: bool = False
    permutation: tuple[int, ...] | None = None
    evidence: list[tuple[Expected, ResultSet]] = field(default_factory=list)


class Further:
    """Keeps instances open; one for each worker's judge."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        self._heartbeat = heartbeat
        self._sets: OrderedDict[str, tuple[InstanceSet, dict[int, Database]]] = OrderedDict()
        self._reader: StoreReader | None = None

    def look(
        self, request: Reply, database: Database, gold: Gold, result: ResultSet, comparison: Comparison, verdict: Reply
    ) -> Reply:
        """The verdict on the shipped database, with what a proof or further data make of it, and what was made."""
        skip = request.get("skip", ())
        pair = self.begin(request, database, gold, result)
        found = _Found(permutation=comparison.permutation)
        if comparison.reason == "equal":
            if request.get("instances") and "proof" not in skip and self._proved(pair, found.permutation):
                verdict = {**verdict, "reason": gold.right, "level": "proved"}
            else:
                if pair.count:
                    self._check(pair, found)
                verdict = _weigh(pair, found, verdict)
        if request.get("witness") and "witness" not in skip and verdict["reason"] not in _NO_DIFFERENCE:
            images = self._images(pair, found)
            with self._heartbeat.phase("witness", _BUILD_S):
                verdict = {**verdict, "witness": _witness(pair, found, images)}
        return {**verdict, "made": pair.made} if pair.made else verdict

    def begin(self, request: Reply, database: Database, gold: Gold, result: ResultSet) -> _Look:
        """A pair, and what is known around its database."""
        if database.around is None:
            database.around = _Around(database, store_key(content_key(request), database.double_quoted_text))
        count = 0 if "instances" in request.get("skip", ()) else request.get("instances", 0)
        return _Look(request, database, database.around, gold, request["prediction"], result, count)

    def instances(self, pair: _Look) -> InstanceSet:
        """The further instances of a pair's gold."""
        return self._instances(pair)[0]

    def _check(self, pair: _Look, found: _Found) -> None:
        """Ask both queries of every instance until one tells them apart; then of those that break mined constraints."""
        instances, opened = self._instances(pair)
        found.evidence.append((expected_of(pair.database, pair.gold), pair.result))
        with self._heartbeat.phase("instances", _CHECK_S):
            strict = [k for k, each in enumerate(instances.instances) if each.strict]
            found.checked = len(strict)
            for number, k in enumerate(strict, 1):
                instance = instances.instances[k]
                if not _is_same_on(self._opened(opened, k, instance, pair), instance, number, pair, found):
                    return
            for number, instance in enumerate(self._topped_up(pair), len(strict) + 1):
                with closing(self._open(instance, pair)) as database:
                    if not _is_same_on(database, instance, number, pair, found) and instance.strict:
                        return
            for k, each in enumerate(instances.instances):
                if not each.strict and not found.fragile:
                    _is_same_on(self._opened(opened, k, each, pair), each, 0, pair, found)

    def _proved(self, pair: _Look, permutation: tuple[int, ...] | None) -> bool:
        def prove() -> bytes:
            with self._heartbeat.phase("proof", _PROOF_S):
                proved = prove_equal(
                    pair.gold.sql,
                    pair.prediction,
                    pair.around.facts,
                    ordered=pair.gold.plan.ordered,
                    permutation=permutation,
                    double_quoted_text=pair.database.double_quoted_text,
                )
            return b"1" if proved else b"0"

        key = store_key("proof", pair.around.key, pair.gold.sql, pair.prediction, permutation)
        return self._kept(pair, key, prove) == b"1"

    def _instances(self, pair: _Look) -> tuple[InstanceSet, dict[int, Database]]:
        """The instances of a gold, from the store or made now, and those that are open."""

        def make() -> bytes:
            with self._heartbeat.phase("instances", _BUILD_S):
                constraints = pair.around.constraints
                with pair.around.engine.unguarded() as connection:
                    made = build(
                        connection,
                        pair.around.schema,
                        pair.gold.sql,
                        constraints=constraints,
                        count=pair.count,
                        deadline=time.monotonic() + _BUILD_S / 2,
                        double_quoted_text=pair.database.double_quoted_text,
                    )
            return encode(made)

        key = store_key("instances", pair.around.key, pair.gold.sql, pair.count)
        if key not in self._sets:
            self._sets[key] = decode(self._kept(pair, key, make)), {}
            if len(self._sets) > _KEPT_SETS:
                for old in self._sets.popitem(last=False)[1][1].values():
                    old.close()
        self._sets.move_to_end(key)
        return self._sets[key]

    def _topped_up(self, pair: _Look) -> tuple[Instance, ...]:
        """Further instances for what only the prediction looks for."""

        def make() -> bytes:
            quoted = pair.database.double_quoted_text
            made = top_up(pair.around.constraints, pair.gold.sql, pair.prediction, double_quoted_text=quoted)
            return encode(InstanceSet(tuple(made), 0, 0, 0))

        key = store_key("top-up", pair.around.key, pair.gold.sql, pair.prediction)
        return decode(self._kept(pair, key, make)).instances

    def _kept(self, pair: _Look, key: str, make: Callable[[], bytes]) -> bytes:
        """What the store has under a key, or what is made now and goes there."""
        if key in pair.made:
            return base64.b64decode(pair.made[key])
        if self._reader is None and pair.request.get("store"):
            self._reader = StoreReader(pair.request["store"])
        if self._reader and (value := self._reader.get(key)) is not None:
            return value
        value = make()
        pair.made[key] = base64.b64encode(value).decode()
        return value

    def _opened(self, opened: dict[int, Database], number: int, instance: Instance, pair: _Look) -> Database:
        if number not in opened:
            opened[number] = self._open(instance, pair)
        return opened[number]

    def _open(self, instance: Instance, pair: _Look) -> Database:
        return Database(
            "sqlite",
            instance.image,
            double_quoted_text=pair.database.double_quoted_text,
            timeout_s=_INSTANCE_S,
            max_rows=_MAX_ROWS,
        )

    def _images(self, pair: _Look, found: _Found) -> list[tuple[int | None, bytes]]:
        """Databases that may tell the two apart, the best first, each with the number of its instance."""
        if found.image is not None:
            return [(found.separated, found.image)]
        images: list[tuple[int | None, bytes]] = []
        if pair.count:
            instances, _ = self._instances(pair)
            images += [(k, each.image) for k, each in enumerate(instances.instances, 1) if each.strict]
        if shipped := pair.around.engine.image(_LARGEST_COPY):
            images.append((None, shipped))
        return images


def _is_same_on(database: Database, instance: Instance, number: int, pair: _Look, found: _Found) -> bool:
    """Whether one instance leaves the two equal, under one permutation of columns for all that was seen so far."""
    ours, theirs = gold_of(database, pair.gold.sql), database.run(pair.prediction, "prediction")
    if ours.outcome.result is None or theirs.result is None:
        return True  # an instance on which a query fails says nothing about the other's answer
    if instance.strict and (ours.result.rows or theirs.result.rows):
        found.has_rows = True
    if found.permutation is None and is_same(ours, theirs.result):
        return True
    expected = expected_of(database, ours)
    if not matches(expected, theirs.result, found.permutation):
        permutation = find_permutation([*found.evidence, (expected, theirs.result)])
        if permutation is None:
            found.fragile = not instance.strict
            if instance.strict:
                found.separated, found.image = number, instance.image
                found.results = ours.result, theirs.result
            return False
        found.permutation = permutation
    if instance.strict:
        found.evidence.append((expected, theirs.result))
    return True


def _witness(pair: _Look, found: _Found, images: list[tuple[int | None, bytes]]) -> Reply:
    """The first of the databases that tells the two apart, cut down; else only the results."""
    contest = Contest(pair.gold.sql, pair.gold.plan, pair.prediction, found.permutation)
    for number, image in images:
        quoted = pair.database.double_quoted_text
        if small := smallest(image, contest, double_quoted_text=quoted, seconds=_WITNESS_S):
            return {"instance": number} | small
    ours, theirs = found.results or (pair.gold.result, pair.result)
    return {"instance": found.separated, "tables": None} | shown_results(ours, theirs)


def _weigh(pair: _Look, found: _Found, verdict: Reply) -> Reply:
    """What the instances make of a verdict that the shipped data found equal."""
    if found.separated is not None:
        detail = f"equal on the shipped database, but not on further instance {found.separated}"
        return {"reason": "separated_on_instance", "detail": detail}
    verdict = verdict | ({"fragile": True} if found.fragile else {})
    if verdict["reason"] == "both_empty" and not found.has_rows and pair.gold.sql != pair.prediction:
        where = ", and so on every instance" if found.checked else ""
        return {**verdict, "detail": f"both results are empty{where}"}
    return {**verdict, "reason": pair.gold.right} | (
        {"level": f"equal_on_{found.checked}_instances"} if found.checked else {}
    )
