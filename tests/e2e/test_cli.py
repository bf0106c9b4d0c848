"""The command line as a whole: it starts fast, needs no torch where none is needed, and says what is wrong."""

import json
import subprocess
import sys

import pytest

from command import SLM, WITHOUT_TORCH, environment


def without_torch(*arguments: str, cwd=None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments], cwd=cwd, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["recipe", "check", "quickstart"],
        ["recipe", "show", "quickstart"],
        ["models", "list"],
        ["suites", "list"],
    ],
    ids=" ".join,
)
def test_commands_that_look_need_no_torch(arguments):
    done = without_torch(*arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_a_file_of_answers_is_scored_without_torch(tmp_path):
    from slm.data import load_dataset

    golds = [example.targets[0] for example in load_dataset("roastery:test").examples]
    (tmp_path / "answers.txt").write_text("\n".join([*golds[:-2], "SELECT nonsense", ""]) + "\n")
    done = without_torch("eval", "roastery:test", "--predictions", "answers.txt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)
    assert result["accuracy"]["right"] == len(golds) - 2
    assert result["by_reason"]["unknown_column"] == 1
    assert result["by_reason"]["no_sql"] == 1


@pytest.mark.parametrize("command", ["run", "train"])
def test_a_run_that_would_be_scored_on_what_it_trains_on_is_refused_before_anything_is_loaded(
    command, tiny_llama, tmp_path
):
    data = ["data.train=[roastery:wide, roastery:test]", "evaluate.suite=roastery:test", "evaluate.limit=4"]
    done = subprocess.run(
        [*SLM, command, "quickstart", f"model.name={tiny_llama}", *data],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert (
        "roastery:test, roastery:wide + roastery:test: 148 of 148 test questions are in the training data"
        in done.stderr
    )
    assert not list(tmp_path.glob("runs/*"))


HELP = """
import sys
sys.argv = ["slm", "--help"]
from slm.cli import main
try:
    main()
except SystemExit:
    print(*sys.modules)
"""


def test_help_loads_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"torch", "transformers", "numpy", "scipy", "sqlglot", "pydantic", "apsw", "yaml"}


def test_bad_input_ends_with_2_and_no_traceback(slm):
    done = slm("recipe", "check", "quickstrat", expect=2)
    assert "quickstart" in done.stderr
    assert "Traceback" not in done.stderr


def test_three_mistakes_are_three_located_messages(slm, tmp_path):
    (tmp_path / "bad.yaml").write_text(
        "model: {name: smollm2-135m}\ndata:\n  trian: roastery:train\ntrain:\n  epochs: -1\n"
        "learning_rate: 1e-4\nevaluate:\n  suite: roastery:test\n"
    )
    message = slm("recipe", "check", "bad.yaml", expect=2).stderr
    for place, key in (
        ("bad.yaml:3", "data.train"),
        ("bad.yaml:5", "train.epochs"),
        ("bad.yaml:6", "train.learning_rate"),
    ):
        assert place in message
        assert key in message


def test_a_missing_database_and_an_unreadable_line_are_located(slm, tmp_path):
    good = '{"question": "How many?", "sql": "SELECT 1", "db": "nowhere.sqlite"}\n'
    (tmp_path / "mine.jsonl").write_text(good + "{broken\n")
    command = ["eval", "mine.jsonl", "--model", "smollm2-135m"]
    message = slm(*command, expect=2).stderr
    assert "mine.jsonl:2" in message
    (tmp_path / "mine.jsonl").write_text(good)
    message = slm(*command, expect=2).stderr
    assert "mine.jsonl:1" in message
    assert "nowhere.sqlite" in message


def test_leaderboard_check_fails_when_stale(slm, tmp_path):
    slm("leaderboard")
    slm("leaderboard", "--check")
    board = tmp_path / "LEADERBOARD.md"
    board.write_text(board.read_text() + "edited by hand\n")
    assert "slm leaderboard" in slm("leaderboard", "--check", expect=1).stderr
