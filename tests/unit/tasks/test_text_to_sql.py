"""What a text-to-SQL prompt shows, and what it must not."""

import pytest

from slm.data import load_dataset
from slm.errors import DataError
from slm.records import Example
from slm.tasks import TextToSql


@pytest.fixture(scope="module")
def dataset():
    return load_dataset("roastery:test")


@pytest.fixture(scope="module")
def task(dataset):
    return TextToSql(dataset.contexts)


def test_a_prompt_is_schema_and_question_and_never_the_gold(dataset, task):
    contexts = set()
    for example in dataset.examples:
        prompt = task.prompt(example)
        contexts.add(prompt.context)
        assert prompt.question.startswith(example.question)
        assert task.target(example) not in prompt.context + prompt.question
    (context,) = contexts
    assert "orders(id int pk" in context
    assert "orders.customer_id = customers.id" in context


def test_the_prompt_depends_on_the_question_alone(dataset, task):
    example = dataset.examples[0]
    other = example.model_copy(update={"targets": ("SELECT 'York'",), "tags": {}})
    assert task.prompt(other) == task.prompt(example)


def test_hints_stand_below_the_question(task):
    example = Example(id="x", context_id="roastery", question="Who is in York?", hint="York means the city")
    lines = task.prompt(example).question.split("\n")
    assert lines == ["Who is in York?", "Hint: York means the city", "Values: customers.city = 'York'"]


def test_gold_against_gold_is_right(dataset, task):
    golds = [(example, task.target(example)) for example in dataset.examples]
    assert all(verdict.correct for verdict in task.grade(golds, timeout_s=10))


def test_missing_target_and_missing_database_name_the_example(task):
    with pytest.raises(DataError, match="e7"):
        task.target(Example(id="e7", context_id="roastery", question="?"))
    with pytest.raises(DataError, match=r"e8.*\n?.*nowhere|nowhere"):
        task.prompt(Example(id="e8", context_id="nowhere", question="?"))
