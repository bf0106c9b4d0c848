"""What a worker is doing and until when it may: a few bytes of shared memory that its watchdog reads.

A worker that hangs in one long operation cannot say so; its last heartbeat does.
"""

import mmap
import signal
import struct
import time

PHASES = ("idle", "script", "gold", "prediction", "readings", "comparison", "instances", "proof", "witness")
_NUMBERS = {name: number for number, name in enumerate(PHASES)}
GRACE_S = 0.5  # how long after its own deadline a worker is killed from outside
_ORPHAN_S = 2.0  # how long after that it ends itself if nobody did
_FORMAT = struct.Struct("<qqd")
SIZE = _FORMAT.size


class Heartbeat:
    """`task` is the number of a task, `phase` one of PHASES, and the deadline is of `time.monotonic()`."""

    def __init__(self, file: int) -> None:
        self._memory = mmap.mmap(file, SIZE)
        self._task = 0

    def start(self, task: int) -> None:
        """From now on it is this task; 0 is before the process is ready, -1 between batches."""
        self._task = task
        _FORMAT.pack_into(self._memory, 0, task, 0, 0.0)
        if task < 0:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def phase(self, name: str, seconds: float) -> "Heartbeat":
        """Work, in a `with` statement, that the watchdog ends after `seconds` and some grace; phases do not nest."""
        limit = seconds + GRACE_S
        _FORMAT.pack_into(self._memory, 0, self._task, _NUMBERS[name], time.monotonic() + limit)
        signal.setitimer(signal.ITIMER_REAL, limit + _ORPHAN_S)  # its default action ends the process
        return self

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        _FORMAT.pack_into(self._memory, 0, self._task, 0, 0.0)

    def read(self) -> tuple[int, str, float]:
        """(task, phase, deadline); the deadline is 0 in phase `idle`."""
        task, phase, deadline = _FORMAT.unpack_from(self._memory, 0)
        return task, PHASES[phase], deadline
