"""Test questions in the training data are found however they are spelled."""

from pathlib import Path

import pytest

from slm.data import Dataset, load_dataset, refuse_leaks
from slm.errors import DataError
from slm.records import Example


def data(name, *rows, database="shop", file="shop.sqlite"):
    examples = tuple(
        Example(id=f"{name}-{number}", context_id=database, question=question, targets=(sql,))
        for number, (question, sql) in enumerate(rows)
    )
    return Dataset(name, examples, {database: Path(file)}, "")


TRAIN = data("train", ("How many items?", "SELECT COUNT(*) FROM item"), ("Which items?", "SELECT name FROM item"))


@pytest.mark.parametrize("question", ["How many items?", "how many  ITEMS", "How many items ?", "\nHow many items."])
def test_a_question_of_training_is_refused_and_named(question):
    test = data("test", ("Which are cheap?", "SELECT 1"), (question, "SELECT 2"))
    with pytest.raises(DataError) as caught:
        refuse_leaks(TRAIN, test)
    first = "test, train: 1 of 2 test questions are in the training data: test-1 is train-0"
    assert str(caught.value).splitlines()[0] == first


def test_only_some_of_many_are_named():
    rows = [(f"Question {number}?", "SELECT 1") for number in range(9)]
    with pytest.raises(DataError, match=r"9 of 9 test questions .*t-4 is t-4 and 4 more\n"):
        refuse_leaks(data("t", *rows), data("t", *rows))


def test_the_same_words_about_another_database_are_another_question():
    other = data("test", ("How many items?", "SELECT COUNT(*) FROM item"), database="store")
    assert refuse_leaks(TRAIN, other).queries == 0


def test_another_database_of_the_same_name_is_another_one(tmp_path):
    rows = ("How many items?", "SELECT COUNT(*) FROM item")
    files = [tmp_path / name for name in ("a.sqlite", "copy.sqlite", "b.sqlite")]
    for file, content in zip(files, "aab", strict=True):
        file.write_text(content)
    train, copy, other = (data(file.stem, rows, file=file) for file in files)
    assert refuse_leaks(train, other).questions == 1
    with pytest.raises(DataError, match="copy, a: 1 of 1"):
        refuse_leaks(train, copy)


def test_queries_in_common_are_counted_not_refused():
    found = refuse_leaks(TRAIN, data("test", ("Count them.", "select count(*)  from item;"), ("Names?", "SELECT 3")))
    assert (found.questions, found.queries) == (2, 1)


@pytest.mark.parametrize("split", ["train", "wide"])
def test_the_embedded_suite_has_no_question_and_no_query_in_common(split):
    found = refuse_leaks(load_dataset(f"roastery:{split}"), load_dataset("roastery:test"))
    assert (found.questions, found.queries) == (148, 0)
