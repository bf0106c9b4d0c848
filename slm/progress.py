"""One way to show progress: rate, time left and the current metric, on stderr so that stdout stays clean for JSON."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

_PLAIN_EVERY_S = 15.0


class Meter:
    """Progress of one job with a known length.

    A bar on a terminal; elsewhere (a log file, CI), or without `bar`, whose drawing takes time that others may measure,
    one plain line every 15 seconds and one at the end.
    """

    def __init__(
        self, label: str, total: int, *, unit: str, done: int = 0, quiet: bool = False, bar: bool = True
    ) -> None:
        self.label, self.total, self.unit, self.done = label, total, unit, done
        self._start_done, self._start = done, time.monotonic()
        self._last_line = self._start
        self._note = ""
        self._quiet, self._wants_bar = quiet, bar
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> "Meter":
        if self._wants_bar and not self._quiet and sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[rate]}"),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
            )
            self._bar.start()
            self._task = self._bar.add_task(self.label, total=self.total, completed=self.done, rate="", note="")
        return self

    def advance(self, amount: int = 1, note: str = "") -> None:
        """`amount` more units are done; `note` is the current metric (`loss 0.31, 140 tokens/s`)."""
        self.done += amount
        self._note = note or self._note
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, advance=amount, rate=self._rate(), note=self._note)
        elif time.monotonic() - self._last_line >= _PLAIN_EVERY_S:
            self._print_line()

    def _rate(self) -> str:
        seconds = max(time.monotonic() - self._start, 1e-9)
        return f"{(self.done - self._start_done) / seconds:.2f} {self.unit}/s"

    def _print_line(self) -> None:
        if self._quiet:
            return
        self._last_line = time.monotonic()
        seconds = self._last_line - self._start
        advanced = self.done - self._start_done
        left = f", {seconds / advanced * (self.total - self.done):.0f} s left" if advanced > 0 else ""
        note = f", {self._note}" if self._note else ""
        print(
            f"{self.label}: {self.done}/{self.total} {self.unit}, {self._rate()}{left}{note}",
            file=sys.stderr,
            flush=True,
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        else:
            self._print_line()
