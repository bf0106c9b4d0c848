"""Pairs of gold and predicted SQL in, verdicts out."""

from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby, islice
from pathlib import Path
from types import TracebackType
from typing import Any

from slm.files import sha256_file
from slm.records import Readings, Verdict
from slm.sql.engines.sqlite import database_uri
from slm.sql.hints import with_hint
from slm.sql.pairs import Pair
from slm.sql.sandbox.pool import Pool, Task
from slm.sql.store import Store

_AHEAD = 2048  # pairs that are read at most while an earlier one is awaited
_CHUNK = 1024  # pairs that are read at a time; of them, those of one gold are judged together
_BATCH = 48  # pairs that a worker gets at a time
_DETAIL = 500  # characters
_REMEMBERED = 50_000  # verdicts, for predictions that come again
_RIGHT = {"correct", "gold_ambiguous"}
_UNDECIDED = {"database_unavailable", "gold_failed", "both_empty", "internal_error"}

_Key = tuple[Any, ...]


@dataclass(slots=True, eq=False)
class _Slot:
    """A pair whose verdict is awaited; `twins` are further pairs that only differ in their ids."""

    pair: Pair
    key: _Key = ()
    verdict: Verdict | None = None
    twins: list["_Slot"] = field(default_factory=list)


class Judge:
    """Judges pairs in worker processes that stay between calls; to be used in a `with` statement.

    Golds and predictions run in `workers` processes (default: one a core), each query for at most `timeout_s` seconds
    and `max_rows` rows; `slm.sql.sandbox.worker` says what they are kept from. With `instances`, what is right on the
    shipped database is proved, or else tried on so many further ones; what is made for it is kept in `store`, a file.
    With `witness`, the smallest data that shows a difference is looked for. `transpile_from`: the dialect that the
    queries are written in, where it is not the database's.
    """

    def __init__(
        self,
        *,
        timeout_s: float = 30.0,
        max_rows: int = 100_000,
        workers: int | None = None,
        instances: int = 0,
        witness: bool = False,
        transpile_from: str | None = None,
        store: Path | None = None,
    ) -> None:
        self._pool = Pool[_Slot](timeout_s=timeout_s, max_rows=max_rows, workers=workers)
        self._options: dict[str, Any] = {"instances": instances, "witness": witness, "transpile_from": transpile_from}
        self._store = Store(store) if instances else None
        self._known: OrderedDict[_Key, Verdict] = OrderedDict()

    def judge(self, pairs: Iterable[Pair]) -> Iterator[Verdict]:
        """One verdict a pair, in the order of the pairs, as they come.

        `slm.records.Verdict` says what is in it. Raises JobError if the processes cannot start.
        """
        source, slots = iter(pairs), deque[_Slot]()
        exhausted = False
        while slots or not exhausted:
            if not exhausted and self._pool.is_hungry and len(slots) <= _AHEAD - _CHUNK:
                fresh = [_Slot(pair) for pair in islice(source, _CHUNK)]
                exhausted = len(fresh) < _CHUNK
                slots.extend(fresh)
                for batch in self._batches(fresh):
                    self._pool.add(batch)
            while slots and (verdict := slots[0].verdict):
                slots.popleft()
                yield verdict
            if slots and not slots[0].verdict:
                for slot, reply in self._pool.wait():
                    self._settle(slot, reply)

    def _batches(self, fresh: list[_Slot]) -> Iterator[list[Task[_Slot]]]:
        """Tasks for what is not known yet. Pairs of one gold go together, because they need the same databases."""
        first: dict[_Key, _Slot] = {}
        states: dict[Any, tuple[str, int] | None] = {None: None}
        for slot in fresh:
            pair = slot.pair
            if pair.database not in states:
                states[pair.database] = _state(pair)
            state = states[pair.database]
            slot.key = (pair.dialect, state, pair.script, pair.gold, pair.prediction, pair.double_quoted_text)
            if pair.script is None and state is None:
                slot.verdict = _verdict(pair, _missing(pair))
            elif known := self._known.get(slot.key):
                slot.verdict = known.model_copy(update={"example_id": pair.id})
            elif slot.key in first:
                first[slot.key].twins.append(slot)
            else:
                first[slot.key] = slot
        tasks = [
            Task(slot, slot.pair.dialect, self._request(slot.pair, slot.key[1]), key=slot.key[1] or slot.pair.script)
            for slot in first.values()
        ]
        tasks.sort(key=lambda task: (task.engine, str(task.key), task.ticket.pair.gold))
        size = max(1, min(_BATCH, len(tasks) // (2 * self._pool.size)))
        for _, same in groupby(tasks, key=lambda task: (task.engine, task.key)):
            while batch := list(islice(same, size)):
                yield batch

    def _request(self, pair: Pair, state: tuple[str, int] | None) -> dict[str, Any]:
        request = {
            "kind": "judge",
            "engine": pair.dialect,
            "source": state and state[0],
            "changed": state and state[1],
            "script": pair.script,
            "golds": pair.gold,
            "prediction": pair.prediction,
            "double_quoted_text": pair.double_quoted_text,
        }
        if self._store and pair.dialect == "sqlite":
            request["store"] = str(self._store.path)
            request["hash"] = None if pair.script else hash_of(Path(str(pair.database)))
        return request | {key: value for key, value in self._options.items() if value}

    def _settle(self, slot: _Slot, reply: dict[str, Any]) -> None:
        if (made := reply.pop("made", None)) and self._store:
            self._store.put(made)
        slot.verdict = _verdict(slot.pair, reply)
        self._known[slot.key] = slot.verdict
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        for twin in slot.twins:
            twin.verdict = slot.verdict.model_copy(update={"example_id": twin.pair.id})

    def __enter__(self) -> "Judge":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._pool.close()
        if self._store:
            self._store.close()


def judge(
    pairs: Iterable[Pair],
    *,
    timeout_s: float = 30.0,
    max_rows: int = 100_000,
    workers: int | None = None,
    instances: int = 0,
    witness: bool = False,
    transpile_from: str | None = None,
    store: Path | None = None,
) -> Iterator[Verdict]:
    """One verdict a pair, in the order of the pairs, as they come; `Judge` says what the options mean."""
    with Judge(
        timeout_s=timeout_s,
        max_rows=max_rows,
        workers=workers,
        instances=instances,
        witness=witness,
        transpile_from=transpile_from,
        store=store,
    ) as session:
        yield from session.judge(pairs)


def _state(pair: Pair) -> tuple[str, int] | None:
    """How a worker opens the pair's database, and when its file was changed; None where there is no such file."""
    source = source_of(pair.dialect, pair.database)
    if source is None:
        return None
    if pair.dialect == "postgres":
        return source, 0
    path = Path(str(pair.database))
    return (source, path.stat().st_mtime_ns) if path.is_file() else None


def _missing(pair: Pair) -> dict[str, Any]:
    return {"reason": "database_unavailable", "detail": f"no such file: {pair.database}" if pair.database else None}


def source_of(dialect: str, database: Path | str | None) -> str | None:
    """How a worker opens a database: a URI for SQLite, a path for DuckDB, the DSN for PostgreSQL."""
    if database is None or dialect == "postgres":
        return None if database is None else str(database)
    path = Path(database)
    return database_uri(path) if dialect == "sqlite" else str(path.absolute())


def hash_of(path: Path) -> str:
    """Hex sha256 of a database file, read once as long as the file stays as it is."""
    state = path.stat()
    return _hash(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=1024)
def _hash(path: Path, _changed: int, _size: int) -> str:
    return sha256_file(path)


def _verdict(pair: Pair, reply: dict[str, Any]) -> Verdict:
    reason, detail = reply["reason"], reply.get("detail")
    if detail and reason in ("unknown_table", "unknown_column") and pair.dialect == "sqlite" and pair.database:
        detail = with_hint(detail, pair.prediction, Path(pair.database))
    if detail is not None:
        detail = detail.encode(errors="replace").decode()
        detail = detail if len(detail) <= _DETAIL else detail[:_DETAIL] + " …"
    correct = None if reason in _UNDECIDED else reason in _RIGHT
    readings = reply.get("readings")
    level = reply.get("level") or ("equal_on_shipped_data" if correct else None)
    return Verdict(
        example_id=pair.id,
        correct=correct,
        level="wrong" if correct is False else level if correct else None,
        reason=reason,
        detail=detail,
        readings=Readings(**readings) if readings else None,
        shipped=reply.get("shipped", correct),
        fragile=reply.get("fragile", False),
        witness=reply.get("witness"),
        gold_ms=reply.get("gold_ms"),
        prediction_ms=reply.get("prediction_ms"),
    )
