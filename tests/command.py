"""What the tests that run commands share."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SLM = [sys.executable, "-m", "slm.cli"]
# Overrides that make any recipe a matter of seconds.
SUITE = ["data.train=roastery:train", "evaluate.suite=roastery:test"]
# Runs the command line, and refuses to import what a machine without torch has not.
WITHOUT_TORCH = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "transformers", "peft", "accelerate"):
            raise ImportError(name + " must not be imported here")
sys.meta_path.insert(0, Refuse())
from slm.cli import main
main()
"""
FEW = ["data.limit=24", "train.batch_tokens=1500", "evaluate.limit=6", "generate.max_new_tokens=8"]
TINY_RUN = [*SUITE, *FEW]


def environment(**more: str) -> dict[str, str]:
    """For child processes: one thread each, as tiny models gain nothing from more; the venv's commands are found."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"OMP_NUM_THREADS": "1", "PATH": path} | more
