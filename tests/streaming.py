"""The reference server of benchmarks/loading in a process of its own, on a loopback port."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from command import ROOT, environment

SERVER = ROOT / "benchmarks/loading/server.py"


@contextmanager
def streaming(*options: object, **variables: str) -> Iterator[str]:
    """The API's address; the server is ended with the block."""
    process = start(*options, **variables)
    try:
        yield address(process)
    finally:
        process.kill()
        process.wait()


def start(*options: object, **variables: str) -> subprocess.Popen[str]:
    """The server's process; `address` waits for it."""
    command = [sys.executable, str(SERVER), *map(str, options)]
    return subprocess.Popen(command, env=environment(**variables), stdout=subprocess.PIPE, text=True)


def address(process: subprocess.Popen[str]) -> str:
    """What the server prints when it listens."""
    assert process.stdout is not None
    return process.stdout.readline().strip()
