"""The process that runs untrusted SQL: `Pool` in `pool.py` starts it and nothing imports it.

What stands between a hostile query and this machine:

- A SQLite database is opened read-only and immutable, with `query_only`; an authorizer lets only SELECT, reads of
  tables, functions (but those that load code or touch files) and recursion pass. So no ATTACH, PRAGMA, DDL, DML,
  transaction, temporary table or VACUUM INTO. `slm.sql.engines` says what the other engines are kept from.
- One statement, and it must be a query: whatever the engine does not call read-only is refused before it runs.
- Golds and predictions have connections of their own. Text in double quotes is text only where the pair says so.
- Strings and rows of at most 1 MiB, a limit of rows and cells, 192 MiB for SQLite and 512 MiB of address space for the
  process (with DuckDB, 384 MiB of data).
- Every stage has a deadline. The engine stops at it by itself if it can; if it is in one long operation, as `instr` on
  megabytes, the watchdog sees the heartbeat's deadline pass and kills the process. If the watchdog is gone, the
  process's own alarm ends it.
- The process cannot make a file longer than 0 bytes and has no environment.

A crash, a hang or a memory bomb costs one verdict and a restart; the other tasks of the batch run again.

Not covered: a bug in SQLite, DuckDB, libpq or Python that runs code as the user of this process (there is no other
user, no container and no system call filter; the network and readable files are then open to it). A query may read
every table of its own database, `sqlite_schema` included, and may use one core until its deadline. A PostgreSQL server
is protected by its role and its settings, not by this process.

Speaks JSON lines: a line from the pool is a list of [number, request], each is answered by a line with `task`, the
number.
"""

import gc
import json
import resource
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any

from slm.sql.sandbox.heartbeat import Heartbeat

_MIB = 1 << 20
_SQLITE_BYTES = 192 * _MIB
# DuckDB reserves address space that it never uses, so that only what it writes to can be limited.
_MEMORY = {
    "sqlite": (resource.RLIMIT_AS, 512 * _MIB),
    "postgres": (resource.RLIMIT_AS, 512 * _MIB),
    "duckdb": (resource.RLIMIT_DATA, 384 * _MIB),
}
_FLUSH_BYTES = 1 << 15

Handler = Callable[[dict[str, Any]], dict[str, Any]]
# What a request may ask for, and where that is done: a function that takes the request.
_KINDS = {
    "judge": ("slm.sql.sandbox.judging", "Judge"),
    "run": ("slm.sql.sandbox.running", "Runner"),
    "score": ("slm.sql.sandbox.scoring", "Scorer"),
    "lint": ("slm.sql.sandbox.linting", "Linter"),
}


class _Worker:
    def __init__(self, heartbeat: Heartbeat, timeout_s: float, max_rows: int) -> None:
        self._heartbeat, self._timeout_s, self._max_rows = heartbeat, timeout_s, max_rows
        self._handlers: dict[str, Handler] = {}

    def answer(self, number: int, request: dict[str, Any]) -> bytes:
        """One line."""
        self._heartbeat.start(number)
        try:
            reply = self._handler(request["kind"])(request)
        except MemoryError:
            reply = {"reason": "memory", "detail": "the results do not fit into memory"}
        return json.dumps({**reply, "task": number}).encode() + b"\n"

    def _handler(self, kind: str) -> Handler:
        if kind not in self._handlers:
            module, name = _KINDS[kind]
            make = getattr(import_module(module), name)
            self._handlers[kind] = make(self._heartbeat, self._timeout_s, self._max_rows)
        return self._handlers[kind]


def _limit_process(engine: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's; the pipe's end is ours
    if engine == "sqlite":
        import apsw

        apsw.hard_heap_limit(_SQLITE_BYTES)
    for limit, value in (_MEMORY[engine], (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        with suppress(ValueError, OSError):  # not every system has every limit
            resource.setrlimit(limit, (value, value))


def main(memory: str, engine: str, timeout_s: str, max_rows: str) -> None:
    """Answer batches from stdin until it ends. `memory` is the descriptor of the heartbeat's memory."""
    # Results are kept as many small tuples, which are no garbage; looking through them often costs a tenth of the time.
    gc.set_threshold(100_000, 20, 100)
    heartbeat = Heartbeat(int(memory))
    _limit_process(engine)
    worker = _Worker(heartbeat, float(timeout_s), int(max_rows))
    heartbeat.start(-1)
    for line in sys.stdin.buffer:
        pending = b""
        for number, request in json.loads(line):
            pending += worker.answer(number, request)
            if len(pending) > _FLUSH_BYTES:
                heartbeat.start(-1)  # the reader may take its time
                _write(pending)
                pending = b""
        heartbeat.start(-1)
        _write(pending)


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
