"""Every command of the README and the docs runs: as written, but with a tiny model and a few examples."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from itertools import dropwhile, islice, takewhile
from pathlib import Path

import pytest

from command import FEW, ROOT, SUITE, environment
from fake_vllm import make_python
from preloaded import run_slm
from serve_process import slm_serve
from streaming import streaming

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# What needs a network, a hub or the whole set-up; `make quickstart` and `make test` are what CI and users run. A `curl`
# runs with the server that the page has started before; `--verify-resume` is in test_kill.py.
NOT_HERE = re.compile(r"^(make|git|cd|pip|python -m venv|pre-commit|export|curl|slm models pull)\b|.* --verify-resume$")


def lines(page: Path) -> Iterator[str]:
    """Every command of a page, in the order in which a reader meets them."""
    for block in re.findall(r"```(?:sh|bash|shell)\n(.*?)```", page.read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            command = line.split(" #")[0].strip()
            if command and not command.startswith("#"):
                yield command


def commands() -> Iterator[tuple[str, str]]:
    """(page, command) of those that are run here: all of a page in its order, but for those of a page before it."""
    known: set[str] = set()
    for page in PAGES:
        of_page = [command for command in lines(page) if not NOT_HERE.match(command) and command not in known]
        known.update(of_page)
        yield from ((page.name, command) for command in of_page)


def requests_after(page: str, server: str) -> list[str]:
    """The `curl` commands between a command that starts a server and the next one."""
    (path,) = [path for path in PAGES if path.name == page]
    following = dropwhile(lambda command: command != server, lines(path))
    until_next = takewhile(lambda command: not command.startswith("slm serve"), islice(following, 1, None))
    return [command for command in until_next if command.startswith("curl")]


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
    pairs = [{"id": row["id"], "gold": row["sql"], "pred": row["sql"], "db": "shop"} for row in rows[:3]]
    (folder / "times.txt").write_text("0\n0.1\n0.1\n0.4\n")
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    run(f"slm train recipes/quickstart.yaml --runs {folder}/trained", folder, tiny_llama)
    (trained,) = (folder / "trained").iterdir()
    (folder / "runs").mkdir()
    trained.rename(folder / "runs/RUN")
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a server that answers at once, with words."""
    with streaming("--first-ms", 1, "--gap-ms", 1) as url:
        yield url


def run(command: str, folder: Path, tiny: Path, server: str = "") -> None:
    program, *arguments = shlex.split(shrink(command, tiny, server))
    if program == "slm":
        done = run_slm(arguments, cwd=folder)
    else:
        done = subprocess.run(
            [program, *arguments], cwd=folder, env=environment(), capture_output=True, text=True, timeout=300
        )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"


def serve(command: str, requests: list[str], folder: Path, tiny: Path) -> None:
    """Start a server, send it the requests of the page, and stop it as a reader would."""
    _, _, *arguments = shlex.split(shrink(command, tiny, ""))
    vllm = str(make_python(folder)) if "vllm" in command else ""
    variables = {"SLM_KEY": "s3cret-key", "SLM_VLLM_PYTHON": vllm}
    with slm_serve(*arguments, folder=folder, **variables) as server:
        for request in requests:
            here = request.replace("http://127.0.0.1:8000/v1", server.url)
            here = here.replace("http://127.0.0.1:8000", server.url.removesuffix("/v1"))
            here = re.sub(r'"model": "[^"]+"', f'"model": "{server.told["model"]}"', here)
            fails = here.replace("curl ", "curl --silent --show-error --fail-with-body ", 1)
            done = subprocess.run(
                ["bash", "-c", fails], env=environment(**variables), capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, f"{here}\n{done.stdout}\n{done.stderr}"
        assert server.stop() == 0, server.output()


def shrink(command: str, tiny: Path, server: str) -> str:
    """The same command with a tiny model and few examples; what the command itself overrides stands."""
    command = re.sub(r"--(model|tokenizer) \S+", rf"--\1 {tiny}", command)
    command = re.sub(r"--url \S+", f"--url {server}", command)
    if command.startswith("slm bench"):
        command += " --requests 6"
    if command.startswith("slm plan recipes"):
        command += " data.limit=50"
    command = re.sub(r"runs/[\w-]+", "runs/RUN", command)
    if re.match(r"slm (run|train)|accelerate launch", command):
        suite = [] if "own-data" in command else SUITE
        few = " ".join([f"model.name={tiny}", *suite, *FEW, "train.max_steps=2"])
        command = re.sub(r"recipes/\S+", rf"\g<0> {few}", command)
    return command


@pytest.mark.parametrize(("page", "command"), list(commands()), ids=lambda value: value.replace("/", "-")[:70])
def test_command(page, command, workplace, tiny_llama, server):
    if "spider" in command and "SLM_DATA" not in os.environ:
        pytest.skip("needs Spider: set SLM_DATA")
    if command.startswith("slm serve"):
        serve(command, requests_after(page, command), workplace, tiny_llama)
    else:
        run(command, workplace, tiny_llama, server)


def test_there_are_commands_to_test():
    assert {page for page, _ in commands()} >= {"README.md", "own-data.md", "recipes.md"}


def test_every_request_of_a_page_is_sent_to_a_server_of_it():
    for page in PAGES:
        servers = [command for command in lines(page) if command.startswith("slm serve")]
        sent = [request for server in servers for request in requests_after(page.name, server)]
        assert sent == [command for command in lines(page) if command.startswith("curl")]
