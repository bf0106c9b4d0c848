"""Text-to-SQL: the context is the database's schema, the target is a query, and executing it judges it."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from slm.errors import DataError
from slm.records import Example, Prompt, Verdict
from slm.sql import Pair, extract_sql, judge, read_schema, schema_text
from slm.sql.oneline import one_line

_INSTRUCTION = "Answer the question with one SQLite query on this database."


class TextToSql:
    """`contexts` maps a context id to its SQLite file; schemas are read once each."""

    def __init__(self, contexts: Mapping[str, Path]) -> None:
        self._contexts = contexts
        self._schemas: dict[str, str] = {}

    def prompt(self, example: Example) -> Prompt:
        """Instruction and compact schema; the question with its hint, if it has one."""
        question = f"{example.question}\nHint: {example.hint}" if example.hint else example.question
        return Prompt(context=f"{_INSTRUCTION}\n{self._schema(example)}", question=question)

    def target(self, example: Example) -> str:
        """The first accepted query, without the trailing semicolon, on one line."""
        if not example.targets:
            raise DataError("the example has no target query", where=example.id, expected="a `sql` value to learn from")
        return one_line(example.targets[0])

    def grade(self, answers: Iterable[tuple[Example, str]], *, timeout_s: float) -> Iterator[Verdict]:
        """Execute gold and answer on the example's database and compare their results."""
        pairs = (
            Pair(example.id, example.targets, extract_sql(text), self._contexts.get(example.context_id))
            for example, text in answers
        )
        return judge(pairs, timeout_s=timeout_s)

    def _schema(self, example: Example) -> str:
        key = example.context_id
        if key not in self._schemas:
            if key not in self._contexts:
                raise DataError(f"database {key!r} is not there", where=example.id)
            self._schemas[key] = schema_text(read_schema(self._contexts[key]))
        return self._schemas[key]
