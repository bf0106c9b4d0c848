"""Proof that a killed training goes on as if nothing had happened: the user's recipe, killed for real, bit for bit."""

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slm.errors import JobError
from slm.files import sha256_file, write_text
from slm.recipe import Recipe, to_yaml

STEPS = 6
_LONGEST_S = 3600.0  # for one training of a few steps, its data and model included


@dataclass(frozen=True)
class KilledRun:
    """One training. `kills`: how many steps were done when it was killed, each time; hashes are of the end."""

    kills: tuple[int, ...]
    resumed_at: tuple[int, ...]
    weights_sha256: str
    optimizer_sha256: str


@dataclass(frozen=True)
class ResumeProof:
    """The same training of `steps` steps: `runs[0]` straight through, the others killed with SIGKILL and continued.

    `seed` is that of the moments of the kills.
    """

    steps: int
    seed: int
    runs: tuple[KilledRun, ...]

    @property
    def equal(self) -> bool:
        """Whether all ended with the same weights and the same state of the optimizer, to the bit."""
        return len({(run.weights_sha256, run.optimizer_sha256) for run in self.runs}) == 1

    def describe(self) -> str:
        """A line for each run, and the outcome."""
        lines = [f"{self.steps} steps; seed of the kills {self.seed}"]
        for run in self.runs:
            what = "straight through"
            if run.kills:
                kills = ", ".join(map(str, run.kills))
                what = f"killed after step {kills}; continued at {', '.join(map(str, run.resumed_at)) or 'the start'}"
            lines.append(f"  weights {run.weights_sha256[:16]}  optimizer {run.optimizer_sha256[:16]}  {what}")
        return "\n".join([*lines, "equal to the bit" if self.equal else "DIFFERENT"])


def verify_resume(recipe: Recipe, runs: Path, *, steps: int = STEPS, seed: int | None = None) -> ResumeProof:
    """Train the first `steps` steps of `recipe` three times, each in processes and a folder of its own below `runs`.

    Once straight through; once killed with SIGKILL at a random moment and continued; once killed twice. Held-out
    measurements and trackers are left out: neither changes the weights. The folders are removed in the end.
    Raises JobError where the runs differ, where one fails, and where they are too short to be killed in between.
    """
    seed = secrets.randbelow(1 << 31) if seed is None else seed
    draw = random.Random(seed)  # noqa: S311 - moments of kills are no secret
    runs.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".verify-resume-", dir=runs) as scratch:
        folder = Path(scratch)
        short = _shortened(recipe, steps)
        write_text(folder / "recipe.yaml", to_yaml(short))
        straight, done = _straight(folder / "straight")
        if done < 3:
            raise JobError(
                f"the recipe has only {done} steps, too few to be killed in between\n"
                "  try: smaller train.batch_tokens, or more data.limit"
            )
        once = _killed(folder / "once", 1, done, draw)
        twice = _killed(folder / "twice", 2, done, draw)
    proof = ResumeProof(done, seed, (straight, once, twice))
    if not proof.equal:
        raise JobError(
            f"a killed run did not end as one that was not killed\n{proof.describe()}\n"
            "  expected: equal hashes, on a CPU; on a GPU some kernels add in an order that varies\n"
            "  try: the same with one CPU thread (OMP_NUM_THREADS=1), and tell us the recipe"
        )
    return proof


def _shortened(recipe: Recipe, steps: int) -> Recipe:
    settings = recipe.train
    few = {"max_steps": min(steps, settings.max_steps or steps), "checkpoint_every": 2, "trackers": ()}
    watch = recipe.watch.model_copy(update={"every": None, "patience": None})
    return recipe.model_copy(update={"train": settings.model_copy(update=few), "watch": watch})


def _straight(folder: Path) -> tuple[KilledRun, int]:
    """The run that is not killed, and how many steps it had."""
    _finish(_start(folder), folder)
    run = _the_run(folder)
    card: dict[str, Any] = json.loads((run / "card.json").read_text())
    return _end(folder, ()), int(card["totals"]["steps"])


def _killed(folder: Path, times: int, steps: int, draw: random.Random) -> KilledRun:
    """Kill it `times` times, each within a random step that comes after the one before, then let it end."""
    kills: list[int] = []
    for left in reversed(range(times)):
        first = _rows(folder) + 1
        last = max(first, steps - 2 - 2 * left)
        if last > steps - 2:
            break  # too late for one more
        moment = draw.randint(first, last)
        child = _start(folder)
        _wait_for_rows(folder, moment, child)
        time.sleep(draw.random() * _last_seconds(folder))
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        if (_the_run(folder) / "card.json").exists():
            raise JobError(
                f"the training ended before it could be killed after step {moment}\n"
                "  try: a larger train.batch_tokens, so that a step takes longer"
            )
        kills.append(_rows(folder))
    _finish(_start(folder), folder)
    return _end(folder, tuple(kills))


def _start(folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    recipe = str(folder.parent / "recipe.yaml")
    command = [sys.executable, "-m", "slm.train", recipe, "--runs", str(folder), "--no-plan"]
    with (folder.parent / f"{folder.name}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def _wait_for_rows(folder: Path, count: int, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _LONGEST_S
    while _rows(folder) < count:
        if child.poll() is not None or time.monotonic() > deadline:
            child.kill()
            raise _failed(folder)
        time.sleep(0.002)


def _finish(child: subprocess.Popen[bytes], folder: Path) -> None:
    try:
        code = child.wait(_LONGEST_S)
    except subprocess.TimeoutExpired:
        child.kill()
        raise _failed(folder) from None
    if code != 0:
        raise _failed(folder)


def _failed(folder: Path) -> JobError:
    said = (folder.parent / f"{folder.name}.log").read_text(errors="replace").strip().splitlines()
    return JobError("a training of the proof failed:\n  " + "\n  ".join(said[-12:]))


def _end(folder: Path, kills: tuple[int, ...]) -> KilledRun:
    run = _the_run(folder)
    card: dict[str, Any] = json.loads((run / "card.json").read_text())
    last = max((run / "checkpoints").glob("step-*"))
    return KilledRun(
        kills,
        tuple(card["totals"]["resumed_at"]),
        sha256_file(last / "weights.safetensors"),
        sha256_file(last / "optimizer.safetensors"),
    )


def _the_run(folder: Path) -> Path:
    return next(folder.iterdir())


def _rows(folder: Path) -> int:
    """How many steps stand in metrics.jsonl."""
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("*/metrics.jsonl"))


def _last_seconds(folder: Path) -> float:
    rows = next(folder.glob("*/metrics.jsonl")).read_bytes().splitlines()
    return float(json.loads(rows[-1])["seconds"])
