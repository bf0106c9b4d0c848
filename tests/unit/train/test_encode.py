"""Nothing is dropped or cut on the way to token ids: what cannot be learned from stops the run and is named."""

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
    (one,) = encode([GOOD], task, renderer, longest=2048)
    assert one.example_id == "good"
    assert one.context_ids + one.question_ids == renderer.render(task.prompt(GOOD)).ids
    assert renderer.decode(one.target_ids) == "SELECT COUNT(*) FROM orders"
    assert one.target_ids[-1] == renderer.end_id
    assert one.tokens == len(one.context_ids) + one.branch_tokens


@pytest.mark.parametrize("targets", [(), ("",), (" \n",)])
def test_examples_without_a_target_are_counted_and_the_first_ones_named(renderer, task, targets):
    bad = [GOOD.model_copy(update={"id": f"bad{n}", "targets": targets}) for n in range(7)]
    with pytest.raises(DataError, match="7 examples have no target") as raised:
        encode([GOOD, *bad], task, renderer, longest=2048)
    message = str(raised.value)
    assert "bad0, bad1, bad2, bad3, bad4 …" in message
    assert "good" not in message


def test_an_example_that_is_too_long_is_named_with_its_length(renderer, task):
    long = GOOD.model_copy(update={"id": "long", "question": "How many? " * 40})
    fits, over = encode([GOOD, long], task, renderer, longest=2048)
    encode([GOOD, long], task, renderer, longest=over.tokens)
    with pytest.raises(DataError) as raised:
        encode([GOOD, long], task, renderer, longest=over.tokens - 1)
    assert f"1 examples are longer than the model's {over.tokens - 1} tokens" in str(raised.value)
    assert f"long ({over.tokens} tokens)" in str(raised.value)
    assert fits.tokens < over.tokens


def test_an_absent_database_is_named(renderer, task):
    elsewhere = GOOD.model_copy(update={"id": "gone", "context_id": "nowhere"})
    with pytest.raises(DataError, match="gone: database 'nowhere' is not there"):
        encode([GOOD, elsewhere], task, renderer, longest=2048)


def test_nothing_to_train_on(renderer, task):
    with pytest.raises(DataError, match="nothing to train on"):
        encode([], task, renderer, longest=2048)
