"""Nothing is dropped or cut on the way to token ids."""

import sqlite3

import pytest

from slm.errors import DataError
from slm.models.load import load_tokenizer
from slm.records import Example
from slm.tasks import Renderer, TextToSql
from slm.train.encode import encode
from tiny import make_tiny_model

GOOD = Example(id="good", context_id="shop", question="How many?", targets=("SELECT COUNT(*)\nFROM orders;",))


@pytest.fixture(scope="module")
def renderer(tmp_path_factory):
    return Renderer(load_tokenizer(make_tiny_model("llama", tmp_path_factory.mktemp("tiny"))))


@pytest.fixture
def task(tmp_path):
    with sqlite3.connect(tmp_path / "shop.sqlite") as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, total REAL)")
    return TextToSql({"shop": tmp_path / "shop.sqlite"})


def test_the_target_is_what_the_task_says_and_ends_the_turn(renderer, task):
    (one,) = encode([GOOD], task, renderer)
    assert one.example_id == "good"
    assert one.context_ids + one.question_ids == renderer.render(task.prompt(GOOD)).ids
    assert renderer.decode(one.target_ids) == "SELECT COUNT(*) FROM orders"
    assert one.target_ids[-1] == renderer.end_id
    assert one.tokens == len(one.context_ids) + one.branch_tokens


@pytest.mark.parametrize("targets", [(), ("",), (" \n",)])
def test_an_example_without_a_target_is_kept_for_the_audit_to_name(renderer, task, targets):
    bad = GOOD.model_copy(update={"id": "bad", "targets": targets})
    good, empty = encode([GOOD, bad], task, renderer)
    assert (good.example_id, empty.example_id) == ("good", "bad")
    assert renderer.decode(empty.target_ids) == ""


def test_an_absent_database_is_named(renderer, task):
    elsewhere = GOOD.model_copy(update={"id": "gone", "context_id": "nowhere"})
    with pytest.raises(DataError, match="gone: database 'nowhere' is not there"):
        encode([GOOD, elsewhere], task, renderer)


def test_nothing_to_train_on(renderer, task):
    with pytest.raises(DataError, match="nothing to train on"):
        encode([], task, renderer)
