"""Two processes take the same first step as one."""

import json
import os
import subprocess
import sys

import pytest

from command import ROOT, TINY_RUN


def first_row(tmp_path, tiny_llama, launch: list[str]) -> dict:
    runs = tmp_path / "-".join(map(str, launch[:2]))
    recipe = ["quickstart", f"model.name={tiny_llama}", *TINY_RUN, "train.packs_per_step=3", "train.max_steps=1"]
    subprocess.run(
        [sys.executable, "-m", *launch, "-m", "slm.train", *recipe, "--runs", str(runs)]
        if launch
        else [sys.executable, "-m", "slm.train", *recipe, "--runs", str(runs)],
        check=True,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    (metrics,) = runs.glob("*/metrics.jsonl")
    return json.loads(metrics.read_text().splitlines()[0])


def test_two_processes_have_the_same_first_gradient(tmp_path, tiny_llama):
    alone = first_row(tmp_path, tiny_llama, [])
    config = str(ROOT / "configs/accelerate/cpu-2.yaml")
    both = first_row(tmp_path, tiny_llama, ["accelerate.commands.launch", "--config_file", config])
    assert both["grad_norm"] == pytest.approx(alone["grad_norm"], rel=1e-4)
    assert both["loss"] == pytest.approx(alone["loss"], rel=1e-5)
    assert both["target_tokens"] == alone["target_tokens"]
