"""How long a user waits for the first answer of an exported form after its process was started."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, cast

from slm.errors import JobError
from slm.records import Prompt


def measure_cold_start(folder: Path, prompt: Prompt) -> float:
    """Seconds from the start of a process to its complete answer to `prompt`, on the CPU.

    The process imports what it needs, loads the form in `folder` and answers this one prompt. Files that were read
    before come from the system's cache, as they do when a service is restarted. Raises JobError.
    """
    command = [sys.executable, "-m", "slm.generate.local", str(folder)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    pipe = subprocess.PIPE
    began = time.monotonic()
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        stdin, stdout, stderr = (cast(IO[str], each) for each in (process.stdin, process.stdout, process.stderr))
        stdin.write(prompt.model_dump_json())
        stdin.close()
        answer = stdout.readline()
        seconds = time.monotonic() - began
        trouble = stderr.read().strip()
    if process.returncode != 0 or not answer:
        raise JobError(f"{folder}: the form gave no answer in a process of its own\n  {trouble}")
    return seconds
