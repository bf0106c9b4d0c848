"""`slm serve` as a user starts it: a process that tells where it answers, and is stopped by a signal."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import SLM, environment

_START_S = 300.0


@dataclass
class Server:
    """A server that is ready: what it printed, and its process."""

    told: dict[str, Any]
    process: "subprocess.Popen[str]"
    errors: Path

    @property
    def url(self) -> str:
        return str(self.told["url"])

    def stop(self, word: int = signal.SIGINT) -> int:
        """Its exit code after a signal."""
        self.process.send_signal(word)
        return self.process.wait(timeout=60)

    def output(self) -> str:
        """All that it has printed by its end."""
        assert self.process.stdout is not None
        return json.dumps(self.told) + self.process.stdout.read() + self.errors.read_text()


@contextmanager
def slm_serve(*arguments: object, folder: Path, **variables: str) -> Iterator[Server]:
    """`slm serve ARGUMENTS` on a free port, until the end of the block."""
    errors = folder / "serve.stderr"
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [*SLM, "serve", *map(str, arguments), "--port", "0"],
            cwd=folder,
            env=environment(**variables),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, f"it ended with {process.wait()}:\n{errors.read_text()}"
        yield Server(json.loads(line), process, errors)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def alive(pid: int) -> bool:
    """Whether a process is there; one that has ended and was not yet collected is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until_dead(pid: int) -> None:
    """Fails if the process stays."""
    deadline = time.monotonic() + _START_S
    while alive(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)


def arguments_of(pid: int) -> str:
    """What everybody on the machine sees of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
