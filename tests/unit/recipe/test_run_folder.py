"""Run folders name files that every file system takes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.recipe import RunFolder, file_safe


@pytest.mark.parametrize(
    ("ref", "name"),
    [("spider:dev", "spider-dev"), ("my/questions.jsonl", "my-questions"), ("../up:test", "up-test"), ("..", "suite")],
)
def test_a_reference_becomes_a_file_name(ref, name):
    assert file_safe(ref) == name


@given(st.text())
def test_any_reference_gives_one_plain_path_component(ref):
    name = file_safe(ref)
    assert name
    assert Path(name).name == name
    assert name.isascii()
    assert not name.startswith(".")


def test_the_layout():
    run = RunFolder(Path("runs/x"))
    assert [path.as_posix() for path in (run.recipe, run.card, run.metrics, run.adapter, run.checkpoints)] == [
        "runs/x/recipe.yaml", "runs/x/card.json", "runs/x/metrics.jsonl", "runs/x/adapter", "runs/x/checkpoints",
    ]  # fmt: skip
    assert [path.as_posix() for path in (run.predictions("a:b"), run.verdicts("a:b"), run.result("a:b"))] == [
        "runs/x/predictions/a-b.jsonl", "runs/x/verdicts/a-b.jsonl", "runs/x/results/a-b.json",
    ]  # fmt: skip
