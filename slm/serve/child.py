"""A server that runs as a child process: started with a log, awaited until it is ready, ended with all it started."""

import ctypes
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from slm.errors import InputError, JobError
from slm.files import disk_errors

_GRACE_S = 20.0  # to end by itself
_POLL_S = 0.5
_TELL_EVERY_S = 10.0
_LINES = 15  # of the log, when it fails
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class Child:
    """A started server. `secret` is left out of what is shown of its log."""

    def __init__(self, process: "subprocess.Popen[bytes]", name: str, log: Path, secret: str | None) -> None:
        self.name, self.log = name, log
        self._process, self._secret = process, secret

    def wait_until_ready(self, health: str) -> None:
        """Until the address `health` answers, with a line on stderr now and then. Raises JobError if it ends before."""
        began = told = time.monotonic()
        while not _answers(health):
            if self._process.poll() is not None:
                raise self._ended("before it was ready")
            if (now := time.monotonic()) - told >= _TELL_EVERY_S:
                told = now
                last = (self._last_lines() or [""])[-1]
                print(f"{self.name}: starting for {now - began:.0f} s: {last[:100]}", file=sys.stderr, flush=True)
            time.sleep(_POLL_S)

    def wait(self) -> None:
        """Until it ends, which it does not by itself. Raises JobError."""
        self._process.wait()
        raise self._ended("by itself")

    def _ended(self, when: str) -> JobError:
        code = self._process.returncode
        how = f"by signal {-code}" if code < 0 else f"with {code}"
        lines = "\n".join(f"    {line}" for line in self._last_lines())
        return JobError(f"{self.name} ended {how} {when}; the end of its log {self.log}:\n{lines}")

    def _last_lines(self) -> list[str]:
        text = self.log.read_bytes()[-20_000:].decode(errors="replace")
        if self._secret:
            text = text.replace(self._secret, "***")
        return [line for line in text.splitlines() if line.strip()][-_LINES:]


@contextmanager
def started(
    name: str, command: Sequence[str], environment: Mapping[str, str], *, log: Path, secret: str | None
) -> Iterator[Child]:
    """Runs `command` within the block; its output goes to `log`. Afterwards none of its processes is left."""
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        with disk_errors(log), log.open("wb") as output:
            # A session of its own: Ctrl-C ends it by our word alone, and together with all that it has started.
            process = subprocess.Popen(
                list(command),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with_parent(),
            )
    except (FileNotFoundError, PermissionError) as error:
        raise InputError(f"cannot be started: {error.strerror}", where=command[0], expected="a Python") from None
    try:
        yield Child(process, name, log, secret)
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ask the whole process group to end; what is left of it, or is impatiently waited for, is killed."""
    try:
        _signal_group(process, signal.SIGTERM)
        process.wait(timeout=_GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: "subprocess.Popen[bytes]", word: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, word)


def _end_with_parent() -> Callable[[], None] | None:
    """What a child runs first so that it gets SIGTERM when this process is killed; None where only Linux has that."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310 - our own http address
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):  # not there yet, or still loading
        return False
