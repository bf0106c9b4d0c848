"""Two real processes, whole models (DDP) or shards (FSDP2), train as one does, stop together and continue exactly."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from command import ROOT, TINY_RUN, environment
from tiny import make_tiny_model

# (family, what is trained, dtype, quantization)
CASES = [
    ["llama", "lora", "float32", "none"],
    ["gemma3", "lora", "float32", "none"],
    ["gemma3", "full", "float32", "none"],
    ["llama", "lora", "bfloat16", "none"],
    ["llama", "lora", "float32", "nf4"],
]
KINDS = {"cpu-2": "MULTI_CPU 2", "fsdp2-cpu": "FSDP 2"}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for family in ("llama", "gemma3"):
        make_tiny_model(family, folder / family)
    return folder


def launch(name: str) -> list[str]:
    """The command that starts Python under configs/accelerate/NAME.yaml; alone for `alone`."""
    if name == "alone":
        return [sys.executable]
    config = str(ROOT / f"configs/accelerate/{name}.yaml")
    return [sys.executable, "-m", "accelerate.commands.launch", "--config_file", config]


def start(name: str, models: Path, out: Path, *, fails: bool = False, **options) -> str:
    """Run tests/launched.py; what it printed."""
    options = {"cases": CASES[:1], "steps": 3} | options
    command = [*launch(name), str(ROOT / "tests/launched.py"), str(models), str(out), json.dumps(options)]
    paths = f"{ROOT}:{ROOT / 'tests'}"
    done = subprocess.run(command, env=environment(PYTHONPATH=paths), capture_output=True, text=True, timeout=300)
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr


def distance(one: Path, other: Path) -> float:
    """The largest relative difference of a tensor."""
    a, b = load_file(one), load_file(other)
    assert a.keys() == b.keys()
    assert sum(float(value.norm()) for value in a.values()) > 0
    return max(float((a[name] - b[name]).norm() / a[name].norm().clamp(min=1e-9)) for name in a)


@pytest.fixture(scope="module")
def alone(models, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    start("alone", models, out, cases=CASES, gradients=True)
    return out


@pytest.mark.parametrize("name", KINDS)
def test_two_processes_have_the_gradients_and_weights_of_one(models, alone, tmp_path, name):
    start(name, models, tmp_path, cases=CASES, gradients=True)
    for case in map("-".join, CASES):
        assert (tmp_path / case / "kind").read_text() == KINDS[name]
        gradients, weights = (f"{case}/{what}.safetensors" for what in ("gradients", "weights"))
        assert distance(alone / gradients, tmp_path / gradients) < 1e-5, case
        # AdamW turns rounding of gradients near zero into steps of full size; three steps of them.
        assert distance(alone / weights, tmp_path / weights) < 1e-3, case


def test_told_to_stop_one_process_stops_all_and_they_continue_exactly(models, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    start("fsdp2-cpu", models, whole, dropout=0.2)
    said = start("fsdp2-cpu", models, stopped, dropout=0.2, stop_after=1, fails=True)
    assert said.count("error: SIGTERM: stopped after step 2 of 3; its checkpoint is written") == 2
    checkpoint = stopped / "-".join(CASES[0]) / "checkpoints" / "step-000002"
    rows = load_file(checkpoint / "random.safetensors")["torch"]
    assert not torch.equal(rows[0], rows[1]), "dropout draws the same in both processes"
    said = start("alone", models, stopped, dropout=0.2, fails=True)
    assert "step-000002: it is of 2 processes and now there are 1" in said
    assert "the same command with 2 processes" in said
    start("fsdp2-cpu", models, stopped, dropout=0.2)
    final = f"{'-'.join(CASES[0])}/weights.safetensors"
    assert (whole / final).read_bytes() == (stopped / final).read_bytes()


def test_one_process_continues_what_two_began_where_nothing_is_drawn(models, alone, tmp_path):
    final = f"{'-'.join(CASES[0])}/weights.safetensors"
    start("fsdp2-cpu", models, tmp_path, steps=2)
    start("alone", models, tmp_path, steps=3)
    assert distance(alone / final, tmp_path / final) < 1e-3


def first_row(tmp_path: Path, tiny_llama: Path, name: str) -> dict:
    runs = tmp_path / name
    recipe = ["quickstart", f"model.name={tiny_llama}", *TINY_RUN, "train.packs_per_step=3", "train.max_steps=1"]
    command = [*launch(name), "-m", "slm.train", *recipe, "--runs", str(runs)]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment(), timeout=300)
    (run,) = runs.iterdir()
    assert json.loads((run / "card.json").read_text())["totals"]["processes"] == (1 if name == "alone" else 2)
    return json.loads((run / "metrics.jsonl").read_text())


def test_recipes_have_the_same_first_step_on_two_processes(tmp_path, tiny_llama):
    alone = first_row(tmp_path, tiny_llama, "alone")
    for name in KINDS:
        both = first_row(tmp_path, tiny_llama, name)
        assert both["grad_norm"] == pytest.approx(alone["grad_norm"], rel=1e-4)
        assert both["loss"] == pytest.approx(alone["loss"], rel=1e-5)
        assert both["target_tokens"] == alone["target_tokens"]
