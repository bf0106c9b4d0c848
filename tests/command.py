"""What the tests that run commands share."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SLM = [sys.executable, "-m", "slm.cli"]
# Overrides that make any recipe a matter of seconds.
SUITE = ["data.train=roastery:train", "evaluate.suite=roastery:test"]
FEW = ["data.limit=24", "train.batch_tokens=1500", "evaluate.limit=6", "generate.max_new_tokens=8"]
TINY_RUN = [*SUITE, *FEW]


def environment(**more: str) -> dict[str, str]:
    """For child processes: one thread each, as tiny models gain nothing from more; the venv's commands are found."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"OMP_NUM_THREADS": "1", "PATH": path} | more
