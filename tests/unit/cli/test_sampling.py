"""What a run wrote itself is kept where it is right, is no gold and is new."""

import json

import pytest

from slm.cli import subjects
from slm.cli.sampling import sample
from slm.data import load_dataset, load_mixture
from slm.errors import DataError
from slm.recipe import load_recipe, to_yaml
from slm.records import Generation

COUNT = {"question": "How many customers?", "sql": "SELECT COUNT(*) FROM customers", "db": "roastery"}
NAMES = {"question": "Which cities?", "sql": ["SELECT DISTINCT city FROM customers"], "db": "roastery", "hint": "all"}


@pytest.fixture
def mine(tmp_path):
    source = load_dataset("roastery:test").contexts["roastery"]
    (tmp_path / "roastery.sqlite").write_bytes(source.read_bytes())
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (COUNT, NAMES)))
    run = tmp_path / "runs/r-1"
    run.mkdir(parents=True)
    (run / "recipe.yaml").write_text(to_yaml(load_recipe("quickstart")))
    return path


@pytest.fixture
def answers(monkeypatch):
    """The model's answers, as the model itself is none of this module's business."""
    texts = {
        "mine-00000": [
            "select count( * ) from customers",  # the gold, written otherwise
            "SELECT COUNT(id) FROM customers",
            "SELECT count(id) FROM customers",  # the same once more
            "SELECT COUNT(*) FROM products",
        ],
        "mine-00001": ["SELECT city FROM customers GROUP BY city", "SELECT town FROM customers", "no", ""],
    }
    monkeypatch.setattr(subjects, "choose_subject", lambda **_: None)
    drawn = {name: Generation(example_id=name, text=found[0], candidates=tuple(found)) for name, found in texts.items()}
    monkeypatch.setattr(subjects, "sample", lambda *_: drawn)


def test_right_new_ones_are_a_file_to_train_on(mine, answers, capsys):
    out = mine.parent / "further/drawn.jsonl"
    sample(str(mine), run=mine.parent / "runs/r-1", out=out, as_json=True)
    (row,) = json.loads(capsys.readouterr().out)
    assert row == {
        "questions": 2, "answers": 8, "right": 4, "questions_with_new": 2, "new": 2, "file": str(out),
    }  # fmt: skip
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["sql"] for line in lines] == [
        "SELECT COUNT(id) FROM customers",
        "SELECT city FROM customers GROUP BY city",
    ]
    assert [line.get("hint") for line in lines] == [None, "all"]
    mixed = load_mixture([str(mine), str(out)])
    assert [each.id for each in mixed.examples] == [
        "mine-00000", "mine-00001", "mine-00000-drawn-1", "mine-00001-drawn-1",
    ]  # fmt: skip


def test_questions_that_the_run_is_scored_on_are_refused_under_any_name(mine):
    (asked, *_) = load_dataset("roastery:test").examples
    mine.write_text(json.dumps({"question": asked.question.upper(), "sql": "SELECT 1", "db": "roastery"}) + "\n")
    with pytest.raises(DataError, match=f"1 of 148 test questions are in the training data: {asked.id} is mine-00000"):
        sample(str(mine), run=mine.parent / "runs/r-1", out=mine.parent / "out.jsonl")
