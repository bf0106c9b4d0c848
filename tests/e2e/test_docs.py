"""Every command of the README and the docs runs: as written, but with a tiny model and a few examples."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from command import ROOT, SLM, TINY_RUN, environment

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# What needs a network, a hub or the whole set-up; `make quickstart` and `make test` are what CI and users run.
NOT_HERE = re.compile(r"^(make|git|cd|pip|python -m venv|pre-commit|export|slm models pull)\b")


def commands() -> list[tuple[str, str]]:
    found = {}
    for page in PAGES:
        for block in re.findall(r"```(?:sh|bash|shell)\n(.*?)```", page.read_text(), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                command = line.split(" #")[0].strip()
                if command and not command.startswith("#") and not NOT_HERE.match(command):
                    found.setdefault(command, page.name)
    return [(page, command) for command, page in found.items()]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, tiny_llama) -> Path:
    """A folder as a reader has it: the checkout's files, a run, a file of answers and data of their own."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("recipes", "configs", "eval"):
        shutil.copytree(ROOT / name, folder / name)
    mine = folder / "my-data"
    mine.mkdir()
    shutil.copy(ROOT / "eval/databases/roastery/roastery.sqlite", mine / "shop.sqlite")
    for split in ("train", "test"):
        rows = [
            json.loads(line) for line in (ROOT / f"eval/suites/roastery/{split}.jsonl").read_text().splitlines()[:24]
        ]
        lines = [json.dumps({"question": row["question"], "sql": row["sql"], "db": "shop"}) for row in rows]
        (mine / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
        (folder / "answers.txt").write_text("\n".join(row["sql"] for row in rows) + "\n")
    run(f"slm train recipes/quickstart.yaml --runs {folder}/trained", folder, tiny_llama)
    (done,) = (folder / "trained").iterdir()
    (folder / "runs").mkdir()
    done.rename(folder / "runs/RUN")
    run("slm leaderboard", folder, tiny_llama)
    return folder


def run(command: str, folder: Path, tiny: Path) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(shrink(command, tiny))
    return subprocess.run(
        [*(SLM if program == "slm" else [program]), *arguments],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )


def shrink(command: str, tiny: Path) -> str:
    """The same command with a tiny model and few examples."""
    command = re.sub(r"--model \S+", f"--model {tiny} --limit 4", command)
    command = re.sub(r"runs/[\w-]+", "runs/RUN", command)
    if re.match(r"slm (run|train)|accelerate launch", command):
        data = [] if "own-data" in command or "my-data" in command else TINY_RUN
        few = ["data.limit=12", "evaluate.limit=4", "train.epochs=1", "train.max_steps=2", "generate.max_new_tokens=8"]
        command += " " + " ".join([*data, *few, f"model.name={tiny}"])
    return command


@pytest.mark.parametrize(("page", "command"), commands(), ids=lambda value: value.replace("/", "-")[:70])
def test_command(page, command, workplace, tiny_llama):
    if "spider" in command and "SLM_DATA" not in os.environ:
        pytest.skip("needs Spider: set SLM_DATA")
    done = run(command, workplace, tiny_llama)
    assert done.returncode == 0, f"{page}: {command}\n{done.stdout}\n{done.stderr}"


def test_there_are_commands_to_test():
    assert {page for page, _ in commands()} >= {"README.md", "own-data.md", "recipes.md"}
