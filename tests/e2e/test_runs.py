"""A user trains two runs and looks at them with `slm runs`, on a machine that need not have torch."""

import json
import subprocess
import sys

import pytest

from command import FEW, SLM, SUITE, WITHOUT_TORCH, environment

FAST = [*SUITE, *FEW, "train.max_steps=2"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_llama):
    folder = tmp_path_factory.mktemp("trained")
    for more in (["train.learning_rate=1e-3"], ["train.learning_rate=2e-3", "lora.rank=4"]):
        command = [*SLM, "train", "quickstart", f"model.name={tiny_llama}", *FAST, *more]
        subprocess.run(command, cwd=folder, env=environment(), check=True, capture_output=True, timeout=300)
    return folder


def ask(folder, *arguments: str) -> list[dict]:
    command = [sys.executable, "-c", WITHOUT_TORCH, "runs", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_list_show_and_compare(trained):
    listed = ask(trained)
    names = [row["run"] for row in listed]
    assert names == [path.name for path in sorted((trained / "runs").iterdir(), key=lambda run: run.stat().st_mtime)]
    assert {row["state"] for row in listed} == {"done"}
    assert all(row["loss"] > 0 and row["tokens_per_s"] > 0 and len(row["adapter"]) == 12 for row in listed)
    (shown,) = ask(trained, "show", names[0])
    assert (shown["step"], shown["steps"]) == (2, 2)
    assert shown["first_loss"] > 0
    assert (trained / "runs" / names[0] / "curves.svg").is_file()
    rows = {row["key"]: row for row in ask(trained, "compare", *names)}
    assert [rows["lora.rank"][name] for name in names][1] == 4
    assert [rows["train.learning_rate"][name] for name in names] == [1e-3, 2e-3]
    assert "train.epochs" not in rows


def test_a_folder_that_is_no_run_ends_with_2(slm):
    done = slm("runs", "show", "nowhere", expect=2)
    assert "nowhere: not a training run" in done.stderr
    assert "Traceback" not in done.stderr
