"""SIGKILL in the middle: the same command continues, and nothing is lost or doubled."""

import json
import os
import random
import re
import secrets
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from command import SLM, TINY_RUN, environment


def kill_when(condition, arguments: list[str], cwd: Path) -> None:
    """Start slm and SIGKILL it as soon as `condition()` holds; fail if it ends before."""
    log = cwd / "killed.log"
    with log.open("w") as output:
        child = subprocess.Popen([*SLM, *arguments], cwd=cwd, env=environment(), stdout=output, stderr=output)
        deadline = time.monotonic() + 300
        while not condition():
            assert child.poll() is None, f"ended before it could be killed:\n{log.read_text()}"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def count_lines(folder: Path, pattern: str) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob(pattern))


TRAINING = ["train.batch_tokens=800", "train.epochs=4", "train.checkpoint_every=3", "lora.dropout=0.1"]


def final_weights(run: Path) -> bytes:
    return (run / "adapter/adapter_model.safetensors").read_bytes()


def test_a_training_killed_at_three_random_steps_ends_with_the_same_bits(slm, tiny_llama, tmp_path):
    recipe = ["quickstart", f"model.name={tiny_llama}", *TINY_RUN, *TRAINING]
    whole = tmp_path / "whole"
    slm("train", *recipe, "--runs", str(whole))
    (other,) = whole.iterdir()
    last = len(rows(other / "metrics.jsonl"))
    seed = secrets.randbelow(1 << 31)
    print(f"seed of the kills: {seed}")  # pytest shows it if this fails
    draw, done = random.Random(seed), 0  # noqa: S311 - a moment to kill at is no secret
    for left in (2, 1, 0):
        latest = last - 3 * (left + 1)
        moment = draw.randint(min(done + 1, latest), latest)
        kill_when(lambda n=moment: count_lines(tmp_path, "runs/*/metrics.jsonl") >= n, ["train", *recipe], tmp_path)
        done = count_lines(tmp_path, "runs/*/metrics.jsonl")
    (run,) = (tmp_path / "runs").iterdir()
    assert not (run / "card.json").exists()
    slm("train", *recipe)
    card = json.loads((run / "card.json").read_text())
    assert card["totals"]["resumed_at"], "it started from the beginning"
    assert [row["step"] for row in rows(run / "metrics.jsonl")] == list(range(1, last + 1))
    assert final_weights(run) == final_weights(other)


def test_verify_resume_kills_once_and_twice_and_the_bits_are_the_same(slm, tiny_llama, tmp_path):
    recipe = ["quickstart", f"model.name={tiny_llama}", *TINY_RUN, *TRAINING, "train.batch_tokens=600"]
    said = slm("train", *recipe, "--verify-resume").stdout
    straight, once, twice = re.findall(r"^  weights (\w+)  optimizer (\w+)  (.+)$", said, re.MULTILINE)
    assert straight[:2] == once[:2] == twice[:2]
    assert straight[2] == "straight through"
    assert re.fullmatch(r"killed after step [1-5]; continued at .+", once[2])
    assert re.fullmatch(r"killed after step [1-5], [1-5]; continued at .+", twice[2])
    assert said.startswith("6 steps")
    assert said.endswith("equal to the bit\n")
    assert not list((tmp_path / "runs").iterdir()), "scratch folders are left"


def test_sigterm_saves_says_so_and_the_same_command_continues(slm, tiny_llama, tmp_path):
    recipe = ["quickstart", f"model.name={tiny_llama}", *TINY_RUN, *TRAINING]
    child = subprocess.Popen(
        [*SLM, "train", *recipe], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    while count_lines(tmp_path, "runs/*/metrics.jsonl") < 4:
        assert child.poll() is None
        time.sleep(0.005)
    child.terminate()
    said = child.communicate(timeout=120)[1].decode()
    assert child.returncode == 128 + signal.SIGTERM, said
    assert "SIGTERM: stopped after step" in said
    assert "Traceback" not in said
    (run,) = (tmp_path / "runs").iterdir()
    done = len(rows(run / "metrics.jsonl"))
    assert (run / f"checkpoints/step-{done:06d}").is_dir()
    slm("train", *recipe)
    assert json.loads((run / "card.json").read_text())["totals"]["resumed_at"] == [done]


@pytest.mark.parametrize("kills", [2])
def test_a_killed_evaluation_continues(slm, tiny_llama, tmp_path, kills):
    command = ["eval", "roastery:test", "--model", str(tiny_llama), "--limit", "64"]
    kept: list[dict] = []
    for number in range(1, kills + 1):
        kill_when(lambda n=number: count_lines(tmp_path, "runs/*/predictions/*.jsonl") >= 16 * n, command, tmp_path)
        (file,) = tmp_path.glob("runs/*/predictions/*.jsonl")
        kept = [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]
    (result,) = json.loads(slm(*command).stdout)
    final = rows(file)
    assert Counter(row["example_id"] for row in final).most_common(1)[0][1] == 1
    assert len(final) == result["examples"] == 64
    assert final[: len(kept)] == kept
