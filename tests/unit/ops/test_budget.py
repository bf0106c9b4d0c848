"""The choice by budget: what fits is measured, the best is taken, and what was done is not done again."""

import json

import pytest

from slm.models.forms import FormSpec, read_form
from slm.ops import budget, choose_form
from slm.ops.budget import Row, best_row
from slm.records import Rate, Verdict
from tiny_run import make_tiny_run


def verdicts(right: str) -> list[Verdict]:
    return [Verdict(example_id=str(place), correct=mark == "x", reason="-") for place, mark in enumerate(right)]


def row(name: str, size: int, right: int | None) -> Row:
    rate = None if right is None else Rate(right=right, total=10, value=right / 10, low=0.0, high=1.0)
    return Row(form=name, size_bytes=size, fits=rate is not None, accuracy=rate)


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([row("a", 30, None), row("b", 20, 6), row("c", 10, 7)], "c"),
        ([row("b", 20, 7), row("c", 10, 7)], "c"),
        ([row("b", 20, 8), row("c", 10, 7)], "b"),
        ([row("a", 30, None)], None),
    ],
)
def test_the_best_has_the_most_right_and_then_the_smallest_file(rows, best):
    found = best_row(rows)
    assert (found.form if found else None) == best


@pytest.fixture
def few(monkeypatch):
    candidates = (FormSpec(kind="merged"), FormSpec(kind="gguf", quant="q8_0"), FormSpec(kind="gguf", quant="q4_0"))
    monkeypatch.setattr(budget, "CANDIDATES", candidates)


def test_forms_that_fit_are_measured_and_the_table_lies_with_the_chosen_one(few, tmp_path):
    run = make_tiny_run("llama", tmp_path)
    marks = {"gguf-q8_0": "xx.x", "gguf-q4_0": "x..x"}
    asked = []

    def measure(folder):
        asked.append(folder.name)
        return verdicts(marks[folder.name])

    sizes = [read_form(budget.export(run, spec)).size_bytes for spec in budget.CANDIDATES]
    assert sizes == sorted(sizes, reverse=True)
    choice, folder = choose_form(run, sizes[1], measure, verdicts("xxxx"), sample="four questions")
    assert asked == ["gguf-q8_0", "gguf-q4_0"]
    assert folder == run.path / "exports" / "gguf-q8_0"
    assert [each.fits for each in choice.rows] == [False, True, True]
    assert choice.rows[2].difference.value == -0.5
    assert (choice.rows[2].difference.gained, choice.rows[2].difference.lost) == (0, 2)
    for place in (folder, run.path / "exports"):
        assert json.loads((place / "budget.json").read_text()) == choice.model_dump(mode="json")
    assert choose_form(run, 10, measure, verdicts("xxxx"), sample="none fits")[1] is None


def test_a_smaller_vocabulary_doubles_what_is_tried(few, tmp_path):
    run = make_tiny_run("llama", tmp_path)
    choice, _ = choose_form(run, 1, lambda _: [], verdicts("x"), sample="one", trim=True)
    assert [each.form for each in choice.rows] == [
        *("merged", "gguf-q8_0", "gguf-q4_0"),
        *("merged-trimmed", "gguf-q8_0-trimmed", "gguf-q4_0-trimmed"),
    ]
