"""Text-to-SQL: the context is the database's schema, the target is a query, and executing it judges it."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from slm.errors import DataError
from slm.records import Example, Prompt, Verdict
from slm.sql import Pair, Schema, ValueIndex, canonical, extract_sql, judge, read_schema, schema_text

_INSTRUCTION = "Answer the question with one SQLite query on this database."


class TextToSql:
    """`contexts` maps a context id to its SQLite file; schemas and cells are read once each.

    `double_quoted_text`: whether "x" may be a text in golds and answers where no column is called x.
    """

    def __init__(self, contexts: Mapping[str, Path], *, double_quoted_text: bool = False) -> None:
        self._contexts = contexts
        self._double_quoted_text = double_quoted_text
        self._databases: dict[str, tuple[Schema, str, ValueIndex]] = {}

    def prompt(self, example: Example) -> Prompt:
        """Instruction and compact schema; the question with its own hint and the cells of the database that it names.

        The cells say which column a word belongs to, which no schema can, and how it is spelled. They are found in the
        question alone; the gold is not looked at.
        """
        _, context, values = self._database(example)
        lines = [example.question]
        if example.hint:
            lines.append(f"Hint: {example.hint}")
        if named := values.hints(example.question):
            lines.append(f"Values: {', '.join(named)}")
        return Prompt(context=context, question="\n".join(lines))

    def schemas(self, examples: Iterable[Example]) -> dict[str, Schema]:
        """What the databases of these examples hold, by the context of their prompts."""
        found = (self._database(example) for example in examples)
        return {context: schema for schema, context, _ in found}

    def target(self, example: Example) -> str:
        """The first accepted query in its canonical form, so that a model need not learn who wrote it how."""
        if not example.targets:
            raise DataError("the example has no target query", where=example.id, expected="a `sql` value to learn from")
        return canonical(example.targets[0], self._database(example)[0])

    def grade(
        self, answers: Iterable[tuple[Example, str]], *, timeout_s: float, instances: int = 0
    ) -> Iterator[Verdict]:
        """Execute gold and answer on the example's database, and on further instances of it, and compare."""
        pairs = (
            Pair(
                example.id,
                example.targets,
                extract_sql(text),
                self._contexts.get(example.context_id),
                double_quoted_text=self._double_quoted_text,
            )
            for example, text in answers
        )
        return judge(pairs, timeout_s=timeout_s, instances=instances)

    def _database(self, example: Example) -> tuple[Schema, str, ValueIndex]:
        key = example.context_id
        if key not in self._databases:
            if key not in self._contexts:
                raise DataError(f"database {key!r} is not there", where=example.id)
            schema = read_schema(self._contexts[key])
            self._databases[key] = schema, _context(schema), ValueIndex(self._contexts[key], schema)
        return self._databases[key]


def _context(schema: Schema) -> str:
    return f"{_INSTRUCTION}\n{schema_text(schema)}"
