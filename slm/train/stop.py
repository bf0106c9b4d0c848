"""SIGTERM and Ctrl-C: training ends after the current step, with a checkpoint and the exit code that shells expect."""

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from slm.errors import JobError

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
# A terminal sends Ctrl-C to every process, and a launcher sends it to its children once more.
_SAME_S = 2.0


class StoppedError(JobError):
    """Training was asked to stop by a signal, and did after writing a checkpoint; exit code 128 + signal."""

    def __init__(self, number: int, step: int, steps: int) -> None:
        self.exit_code = 128 + number
        super().__init__(
            f"{signal.Signals(number).name}: stopped after step {step} of {steps}; its checkpoint is written\n"
            "  try: the same command again: it continues from there"
        )


class StopSignals:
    """While entered, remembers in `received` the SIGTERM or SIGINT that came (0: none) instead of ending the process.

    A second Ctrl-C, later than a launcher would repeat the first, ends it at once as Python does.
    """

    def __init__(self) -> None:
        self.received = 0
        self._at = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():  # Python takes signals there alone
            self._before = {number: signal.signal(number, self._remember) for number in _SIGNALS}
        return self

    def _remember(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if number == signal.SIGINT and self.received == signal.SIGINT and now - self._at > _SAME_S:
            raise KeyboardInterrupt
        if not self.received:
            self.received, self._at = number, now

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
