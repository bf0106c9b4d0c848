"""Test questions that training shows would make a score worthless: they are looked for before anything is trained."""

from dataclasses import dataclass

from slm.data.sources import Dataset, same_database
from slm.errors import DataError
from slm.records import Example

_NAMED = 5


@dataclass(frozen=True)
class Overlap:
    """What is left in common where no question is: so many of the test's `questions` have a gold of training's."""

    questions: int
    queries: int


def refuse_leaks(train: Dataset, test: Dataset) -> Overlap:
    """Raises DataError if a question of `test` is asked of the same database in `train`, naming both examples.

    Case, spaces and the sign at the end of a question do not make another one.
    """
    asked = {_question(example): example.id for example in train.examples}
    found = [(example, asked[key]) for example in test.examples if (key := _question(example)) in asked]
    same = {name: _same_database(name, train, test) for name in {example.context_id for example, _ in found}}
    leaked = [(example.id, other) for example, other in found if same[example.context_id]]
    if leaked:
        named = ", ".join(f"{one} is {other}" for one, other in leaked[:_NAMED])
        more = f" and {len(leaked) - _NAMED} more" if len(leaked) > _NAMED else ""
        raise DataError(
            f"{len(leaked)} of {len(test.examples)} test questions are in the training data: {named}{more}",
            where=f"{test.name}, {train.name}",
            expected="questions to be scored on that training does not show: a model knows those by heart",
            hint="take them out of one of the two",
        )
    known = {query for example in train.examples for query in _queries(example)}
    shared = sum(not known.isdisjoint(_queries(example)) for example in test.examples)
    return Overlap(len(test.examples), shared)


def _same_database(name: str, train: Dataset, test: Dataset) -> bool:
    """Whether both mean one database by a name; without the files, the name has to do."""
    one, other = train.contexts.get(name), test.contexts.get(name)
    return one is None or other is None or same_database(one, other)


def _question(example: Example) -> tuple[str, str]:
    return example.context_id, " ".join(example.question.casefold().split()).rstrip(" ?.!")


def _queries(example: Example) -> set[tuple[str, str]]:
    return {(example.context_id, " ".join(query.casefold().split()).rstrip(" ;")) for query in example.targets}
