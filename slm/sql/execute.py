"""A pool of disposable worker processes (`worker.py`), each with a deadline that its parent enforces with SIGKILL."""

import json
import os
import selectors
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Generic, TypeVar, cast

from slm.errors import JobError

T = TypeVar("T")

_START_S = 60.0  # a loaded machine may take long to start Python; no query runs yet
# A stub in place of the packages' `__init__`, so that a worker loads apsw and two files of ours, and starts in 0.05 s.
_BOOT = """
import sys, types
path, folder, timeout_s, max_rows = sys.argv[1:]
sys.path[:] = path.split("\\n")
for name, at in (("slm", folder), ("slm.sql", folder + "/sql")):
    sys.modules[name] = package = types.ModuleType(name)
    package.__path__ = [at]
from slm.sql.worker import main
main(float(timeout_s), int(max_rows))
"""


@dataclass
class _Job(Generic[T]):
    ticket: T
    request: dict[str, Any]
    deadline: float = 0.0
    phase: str | None = None
    retried: bool = False


class _Worker:
    def __init__(self, timeout_s: float, max_rows: int) -> None:
        paths = "\n".join(str(Path(entry).absolute()) for entry in sys.path)
        arguments = [paths, str(Path(__file__).parents[1]), str(timeout_s), str(max_rows)]
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", _BOOT, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # No secrets; the one variable that some Pythons need to start.
            env={key: value for key, value in os.environ.items() if key == "LD_LIBRARY_PATH"},
            cwd="/",
            bufsize=0,
        )
        self._in, self._out = cast(IO[bytes], self.process.stdin), cast(IO[bytes], self.process.stdout)
        self._unfinished = b""

    def fileno(self) -> int:
        return self._out.fileno()

    def write(self, request: dict[str, Any]) -> None:
        with suppress(BrokenPipeError):  # its end is seen when its output is read
            self._in.write(json.dumps(request).encode() + b"\n")

    def read(self) -> list[dict[str, Any]] | None:
        """The complete lines that have come; None when the process has ended."""
        chunk = os.read(self.fileno(), 1 << 16)
        *lines, self._unfinished = (self._unfinished + chunk).split(b"\n")
        return [json.loads(line) for line in lines] if chunk else None

    def kill(self) -> int:
        """End it; its exit status."""
        self.process.kill()
        self._in.close()
        self._out.close()
        return self.process.wait()


class Pool(Generic[T]):
    """Runs requests on up to `workers` processes. A killed or crashed process costs one reply and is replaced."""

    def __init__(self, *, timeout_s: float, max_rows: int, workers: int | None) -> None:
        self._timeout_s, self._max_rows = timeout_s, max_rows
        self._size = workers or os.cpu_count() or 1
        self._idle: list[_Worker] = []
        self._jobs: dict[_Worker, _Job[T]] = {}
        self._selector = selectors.DefaultSelector()

    @property
    def has_room(self) -> bool:
        """Whether `submit` would start at once."""
        return len(self._jobs) < self._size

    def submit(self, ticket: T, request: dict[str, Any]) -> None:
        """Start a request; its reply comes from `wait` with this ticket."""
        self._start(_Job(ticket, request))

    def wait(self) -> list[tuple[T, dict[str, Any]]]:
        """Wait until something happens; the replies that are complete. Raises JobError if a worker cannot start."""
        deadline = min(job.deadline for job in self._jobs.values())
        ready = self._selector.select(max(0.0, deadline - time.monotonic()))
        replies = [self._hear(key.data) for key, _ in ready]
        now = time.monotonic()
        late = [worker for worker, job in self._jobs.items() if job.deadline <= now]
        replies += [self._end(worker, "timeout", f"stopped after {self._timeout_s:g} s") for worker in late]
        return [reply for reply in replies if reply]

    def _start(self, job: _Job[T]) -> None:
        worker = self._idle.pop() if self._idle else _Worker(self._timeout_s, self._max_rows)
        worker.write(job.request)
        job.deadline = time.monotonic() + _START_S
        self._jobs[worker] = job
        self._selector.register(worker, selectors.EVENT_READ, worker)

    def _hear(self, worker: _Worker) -> tuple[T, dict[str, Any]] | None:
        lines, job = worker.read(), self._jobs[worker]
        if lines is None:
            return self._end(worker, "runtime_error", "the worker process died")
        for line in lines:
            if "reason" in line:
                self._release(worker)
                self._idle.append(worker)
                return job.ticket, line
            job.phase, job.deadline = line["phase"], time.monotonic() + self._timeout_s
        return None

    def _end(self, worker: _Worker, reason: str, detail: str) -> tuple[T, dict[str, Any]] | None:
        """Kill a worker; its job's reply, or None where the job had not begun and is started once more."""
        job = self._release(worker)
        status = worker.kill()
        if job.phase is None:
            if job.retried:
                raise JobError(f"the process that runs SQL does not start (exit status {status}); its message is above")
            job.retried = True
            self._start(job)
            return None
        if job.phase == "gold":
            return job.ticket, {"reason": "gold_failed", "detail": f"{reason}: {detail}"}
        return job.ticket, {"reason": reason, "detail": f"{detail} ({job.phase}, exit status {status})"}

    def _release(self, worker: _Worker) -> _Job[T]:
        self._selector.unregister(worker)
        return self._jobs.pop(worker)

    def __enter__(self) -> "Pool[T]":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for worker in [*self._idle, *self._jobs]:
            worker.kill()
        self._selector.close()
