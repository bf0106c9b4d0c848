"""Two processes take the same first step as one."""

import json
import subprocess
import sys

import pytest

from command import ROOT, TINY_RUN, environment


def first_row(tmp_path, tiny_llama, launch: list[str], processes: int) -> dict:
    runs = tmp_path / ("launched" if launch else "alone")
    recipe = ["quickstart", f"model.name={tiny_llama}", *TINY_RUN, "train.packs_per_step=3", "train.max_steps=1"]
    subprocess.run(
        [sys.executable, *launch, "-m", "slm.train", *recipe, "--runs", str(runs)],
        check=True,
        cwd=tmp_path,
        env=environment(),
        timeout=300,
    )
    (run,) = runs.iterdir()
    assert json.loads((run / "card.json").read_text())["totals"]["processes"] == processes
    return json.loads((run / "metrics.jsonl").read_text())


def test_two_processes_have_the_same_first_gradient(tmp_path, tiny_llama):
    alone = first_row(tmp_path, tiny_llama, [], 1)
    config = str(ROOT / "configs/accelerate/cpu-2.yaml")
    both = first_row(tmp_path, tiny_llama, ["-m", "accelerate.commands.launch", "--config_file", config], 2)
    assert both["grad_norm"] == pytest.approx(alone["grad_norm"], rel=1e-4)
    assert both["loss"] == pytest.approx(alone["loss"], rel=1e-5)
    assert both["target_tokens"] == alone["target_tokens"]
