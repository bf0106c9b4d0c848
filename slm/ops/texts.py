"""The texts of a run's task, after which its vocabulary is trimmed: prompts, targets, and what its databases hold."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from slm.data import load_dataset
from slm.errors import DataError
from slm.recipe import Recipe
from slm.records import Example
from slm.sql import Schema, ValueIndex, one_line, read_schema
from slm.sql.schema import quoted
from slm.tasks import Renderer, TextToSql
from slm.train import training_data

_BATCH = 1024  # texts that the tokenizer takes at once


class TaskTexts:
    """Every text that the task is known to need, without looking at the questions that the run is scored on.

    These are the prompts and targets of the training data, and of its databases and those of the evaluation the
    schema as a prompt shows it, the names as a query has them, and the text cells.
    """

    def __init__(self, recipe: Recipe) -> None:
        """Raises DataError where the training data is not there; databases of the evaluation may be missing."""
        self._chat = recipe.task.template
        data = training_data(recipe)
        task = TextToSql(data.contexts, double_quoted_text=data.double_quoted_text)
        self._prompts = [task.prompt(example) for example in data.available]
        self._loose = [one_line(target) for example in data.available for target in example.targets]
        for contexts in (data.contexts, _evaluation_contexts(recipe)):
            schemas = TextToSql(contexts)
            for context_id, path in sorted(contexts.items()):
                self._prompts.append(schemas.prompt(Example(id=context_id, context_id=context_id, question="?")))
                self._loose.extend(_texts_of(path))
        self._loose = list(dict.fromkeys(self._loose))

    def encode(self, tokenizer: Any) -> Iterator[Sequence[int]]:
        """The token ids of every text, always in the same order, with a transformers tokenizer."""
        renderer = Renderer(tokenizer, chat=self._chat)
        for prompt in self._prompts:
            yield renderer.render(prompt).ids
        yield (renderer.end_id,)
        loose = iter(self._loose)
        while batch := list(islice(loose, _BATCH)):
            yield from tokenizer(batch, add_special_tokens=False)["input_ids"]


def _evaluation_contexts(recipe: Recipe) -> dict[str, Path]:
    try:
        found = load_dataset(recipe.evaluate.suite, databases=recipe.evaluate.databases)
    except DataError:
        return {}
    return dict(found.contexts)


def _texts_of(path: Path) -> Iterator[str]:
    schema = read_schema(path)
    yield from _names(schema)
    for condition, value in ValueIndex(path, schema).conditions():
        yield condition
        yield f" {value}"  # as a question has it


def _names(schema: Schema) -> Iterable[str]:
    for table in schema.tables:
        for column in table.columns:
            name = quoted(column.name)
            yield f"{quoted(table.name)}.{name}, T1.{name}, COUNT({name}) > {name}"
