"""A pool of disposable worker processes (`worker.py`) under a watchdog that kills what outlives its deadline."""

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Generic, TypeVar, cast

from slm.errors import JobError
from slm.sql.sandbox.heartbeat import SIZE, Heartbeat

T = TypeVar("T")

_START_S = 60.0  # a loaded machine may take long to start Python; no query runs yet
_POLL_S = 0.1  # how often a busy worker's heartbeat is looked at
_RESTARTS = 2
_MOST = 64  # tasks of a batch, about
_AHEAD_BYTES = 48 << 10  # of a batch for a worker that is busy: less than the 64 KiB that a pipe holds
# A stub in place of the packages' `__init__`, so that a worker loads only what it runs, and starts in 0.05 s.
_BOOT = """
import sys, types
path, folder, *arguments = sys.argv[1:]
sys.path[:] = path.split("\\n")
for name, at in (("slm", folder), ("slm.sql", folder + "/sql"), ("slm.sql.sandbox", folder + "/sql/sandbox")):
    sys.modules[name] = package = types.ModuleType(name)
    package.__path__ = [at]
from slm.sql.sandbox.worker import main
main(*arguments)
"""
# What cannot be finished is left out, and what was found before it stands.
_OPTIONAL = {"readings", "instances", "proof", "witness"}


@dataclass
class Task(Generic[T]):
    """A request for a worker; `ticket` comes back with the reply. `engine` says which kind of worker it needs.

    Tasks of one `key`, such as a database, go to the same worker if they can, since it holds what they need.
    """

    ticket: T
    engine: str
    request: dict[str, Any]
    key: Hashable = None
    restarts: int = 0


@dataclass(eq=False)
class _Worker(Generic[T]):
    engine: str
    process: subprocess.Popen[bytes]
    heartbeat: Heartbeat
    started: float = field(default_factory=time.monotonic)
    tasks: dict[int, Task[T]] = field(default_factory=dict)
    keys: set[Hashable] = field(default_factory=set)
    last: int = 0
    newest: int = 0  # the first task of the newest batch
    unfinished: bytes = b""

    def fileno(self) -> int:
        return cast(IO[bytes], self.process.stdout).fileno()

    def give(self, tasks: list[Task[T]], most_bytes: int | None = None) -> bool:
        """Send a batch, unless it is longer than that: to an idle worker, or to one that is well on with its own."""
        numbered = dict(enumerate(tasks, self.last + 1))
        line = json.dumps([[number, task.request] for number, task in numbered.items()]).encode() + b"\n"
        if most_bytes and len(line) > most_bytes:
            return False
        self.newest = self.last + 1
        self.tasks |= numbered
        self.last += len(tasks)
        self.keys.update(task.key for task in tasks)
        with suppress(BrokenPipeError):  # its end is seen when its output is read
            cast(IO[bytes], self.process.stdin).write(line)
        return True

    @property
    def is_well_on(self) -> bool:
        """Whether it has read all that was sent to it, so that a small batch more cannot block the pipe.

        It has if it is at a task of the newest batch. A pool that waits for a worker to read, while the worker waits
        for the pool to read, would wait for ever.
        """
        return self.heartbeat.read()[0] >= self.newest

    def read(self) -> list[dict[str, Any]] | None:
        """The complete lines that have come; None when the process has ended."""
        chunk = os.read(self.fileno(), 1 << 20)
        *lines, self.unfinished = (self.unfinished + chunk).split(b"\n")
        return [json.loads(line) for line in lines] if chunk else None

    def end(self) -> int:
        """Kill it; its exit status."""
        self.process.kill()
        return self.process.wait()

    def close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                cast(IO[bytes], pipe).close()


class Pool(Generic[T]):
    """Runs tasks on up to `workers` processes. A killed or crashed process costs one reply and is replaced."""

    def __init__(self, *, timeout_s: float, max_rows: int, workers: int | None) -> None:
        self._timeout_s, self._max_rows = timeout_s, max_rows
        self.size = workers or os.cpu_count() or 1
        self._queue: list[list[Task[T]]] = []
        self._idle: list[_Worker[T]] = []
        self._busy: list[_Worker[T]] = []
        self._selector = selectors.DefaultSelector()

    @property
    def is_hungry(self) -> bool:
        """Whether more tasks should be added, so that no worker runs out of them."""
        return len(self._queue) < 2 * self.size

    def add(self, tasks: list[Task[T]]) -> None:
        """Queue a batch of tasks, all of one engine and key; the replies come from `wait`."""
        self._queue.append(tasks)

    def wait(self) -> list[tuple[T, dict[str, Any]]]:
        """Wait until something happens; the replies that are complete. Raises JobError if a worker cannot start."""
        self._assign()
        replies: list[tuple[T, dict[str, Any]]] = []
        for key, _ in self._selector.select(_POLL_S):
            replies += self._hear(key.data)
        now = time.monotonic()
        for worker in list(self._busy):
            task, _, deadline = worker.heartbeat.read()
            if (deadline and deadline < now) or (not task and worker.started + _START_S < now):
                replies += self._bury(worker, "timeout", f"stopped after {self._timeout_s:g} s", late=True)
        return replies

    def _assign(self) -> None:
        """Give what is queued to idle workers, then a batch ahead to those that are well on with theirs."""
        while self._queue and (len(self._busy) < self.size):
            self._send(self._free(self._queue[0][0].engine), limit=None)
        for worker in self._busy:
            if self._queue and len(worker.tasks) <= _MOST and worker.is_well_on:
                self._send(worker, limit=_AHEAD_BYTES)

    def _send(self, worker: _Worker[T], limit: int | None) -> None:
        batch = self._choose(worker)
        if batch is None or not worker.give(batch, limit):
            return
        self._queue.remove(batch)
        if worker not in self._busy:
            self._busy.append(worker)
            self._selector.register(worker, selectors.EVENT_READ, worker)

    def _choose(self, worker: _Worker[T]) -> list[Task[T]] | None:
        """The first batch of a key that the worker knows, or that nobody knows, or the first of all."""
        fitting = [batch for batch in self._queue if batch[0].engine == worker.engine]
        known = set[Hashable]().union(*(other.keys for other in [*self._busy, *self._idle]))
        ours = (batch for batch in fitting if batch[0].key in worker.keys)
        new = (batch for batch in fitting if batch[0].key not in known)
        return next(ours, None) or next(new, None) or next(iter(fitting), None)

    def _free(self, engine: str) -> _Worker[T]:
        """An idle worker for the engine, if possible one that knows what is queued; else a new one."""
        fitting = [worker for worker in self._idle if worker.engine == engine]
        if fitting:
            queued = {batch[0].key for batch in self._queue}
            worker = next((worker for worker in fitting if worker.keys & queued), fitting[0])
            self._idle.remove(worker)
            return worker
        if self._idle and len(self._idle) + len(self._busy) >= self.size:
            spare = self._idle.pop()
            spare.end()
            spare.close()
        return self._start(engine)

    def _start(self, engine: str) -> _Worker[T]:
        with tempfile.TemporaryFile() as memory:
            memory.truncate(SIZE)
            paths = "\n".join(str(Path(entry).absolute()) for entry in sys.path)
            limits = [str(memory.fileno()), engine, str(self._timeout_s), str(self._max_rows)]
            process = subprocess.Popen(
                [sys.executable, "-I", "-c", _BOOT, paths, str(Path(__file__).parents[2]), *limits],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # No secrets; the one variable that some Pythons need to start.
                env={key: value for key, value in os.environ.items() if key == "LD_LIBRARY_PATH"},
                cwd="/",
                bufsize=0,
                pass_fds=[memory.fileno()],
            )
            return _Worker(engine, process, Heartbeat(memory.fileno()))

    def _hear(self, worker: _Worker[T]) -> list[tuple[T, dict[str, Any]]]:
        if (lines := worker.read()) is None:
            return self._bury(worker, "runtime_error", "the worker process died")
        replies = self._accept(worker, lines)
        if not worker.tasks:
            self._release(worker)
            self._idle.append(worker)
        return replies

    def _accept(self, worker: _Worker[T], lines: list[dict[str, Any]]) -> list[tuple[T, dict[str, Any]]]:
        return [(worker.tasks.pop(line.pop("task")).ticket, line) for line in lines]

    def _bury(
        self, worker: _Worker[T], reason: str, detail: str, *, late: bool = False
    ) -> list[tuple[T, dict[str, Any]]]:
        """Kill a worker: its finished replies, one for the task that it hung or died on; the others start anew."""
        status = worker.end()
        replies = []
        while (lines := worker.read()) is not None:
            replies += self._accept(worker, lines)
        number, phase, deadline = worker.heartbeat.read()
        self._release(worker)
        worker.close()
        rest = worker.tasks
        went_on = late and (not deadline or deadline > time.monotonic())  # just before it was killed
        if not went_on and rest:
            detail = f"{detail} ({phase}, exit status {status})"
            replies += self._blame(rest, number, phase, _failed(phase, reason, detail), status)
        if rest:
            self._queue.insert(0, list(rest.values()))
        return replies

    def _blame(
        self, rest: dict[int, Task[T]], number: int, phase: str, failed: dict[str, Any], status: int
    ) -> list[tuple[T, dict[str, Any]]]:
        """The reply for the task during which a worker ended, which then leaves `rest`; none if it is tried again."""
        if phase in _OPTIONAL and (task := rest.get(number)):
            task.request = {**task.request, "skip": [*task.request.get("skip", []), phase]}
            return []
        if phase != "idle" and number in rest:
            return [(rest.pop(number).ticket, failed)]
        # It died between two stages: nobody's fault, unless it happens again.
        first = rest.get(number) or rest[min(rest)]
        first.restarts += 1
        if first.restarts <= _RESTARTS:
            return []
        if number <= 0:
            raise JobError(f"the process that runs SQL does not start (exit status {status}); its message is above")
        ticket = rest.pop(number if number in rest else min(rest)).ticket
        return [(ticket, {"reason": "internal_error", "detail": "the judge itself failed; its message is above"})]

    def _release(self, worker: _Worker[T]) -> None:
        self._selector.unregister(worker)
        self._busy.remove(worker)

    def close(self) -> None:
        """End all workers."""
        for worker in [*self._idle, *self._busy]:
            worker.end()
            worker.close()
        self._idle, self._busy = [], []
        self._selector.close()

    def __enter__(self) -> "Pool[T]":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()


def _failed(phase: str, reason: str, detail: str) -> dict[str, Any]:
    """The reply for a task whose worker had to be killed, or died, in this phase."""
    if phase == "gold":
        return {"reason": "gold_failed", "detail": f"{reason}: {detail}"}
    if phase == "script":
        return {"reason": "database_unavailable", "detail": f"{reason}: {detail}"}
    return {"reason": reason, "detail": detail}
