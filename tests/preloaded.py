"""Commands in processes that have torch and its company loaded already, for tests that run dozens of them.

Importing takes seven seconds of the processor and is the same each time: a server process does nothing else, and forks
for each command. That a fresh process does the same is what all other end-to-end tests show.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

from command import environment

_IMPORTS = ["peft", "transformers.modeling_utils", "slm.train.loop", "slm.train.prepare", "slm.generate.local"]
# How the server starts: with one thread, as others would be missing after a fork; and as a program that trains would
# start itself again, which a fork cannot do.
_START = {"OMP_NUM_THREADS": "1", "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(_IMPORTS)


def run_slm(arguments: Sequence[str], *, cwd: Path) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` of `slm ARGUMENTS` in `cwd` gives. Raises TimeoutError after five minutes."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        process = _PROCESSES.Process(
            target=_command, args=(list(arguments), str(cwd), environment(**_START), str(out), str(err))
        )
        with patch.dict(os.environ, _START):
            process.start()
        process.join(timeout=300)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"slm {' '.join(arguments)}\n{err.read_text()}")
        assert process.exitcode is not None
        return subprocess.CompletedProcess(["slm", *arguments], process.exitcode, out.read_text(), err.read_text())


def _command(arguments: list[str], cwd: str, env: dict[str, str], out: str, err: str) -> None:
    for stream, path in ((0, os.devnull), (1, out), (2, err)):
        handle = os.open(path, os.O_RDONLY if stream == 0 else os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(handle, stream)
        os.close(handle)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["slm", *arguments]
    from slm.cli import main

    main()
