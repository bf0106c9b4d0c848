"""Several data sets as one, to train on: `[spider:train, my-data/train.jsonl]`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from slm.data.sources import Dataset, draw, load_dataset, same_database
from slm.errors import DataError
from slm.files import digest
from slm.records import Example


def load_mixture(
    refs: Sequence[str], *, databases: Path | None = None, limit: int | None = None, seed: int = 0
) -> Dataset:
    """All examples of the data sets in their order, each of which is read as `load_dataset` says.

    An example with question, database and target of an earlier one counts once; an id that is taken gets its data
    set's name before it. `limit` draws from all of them together. Raises DataError as `load_dataset` does, and for two
    databases of one name.
    """
    if len(refs) == 1:
        return load_dataset(refs[0], databases=databases, limit=limit, seed=seed)
    parts = [load_dataset(ref, databases=databases) for ref in refs]
    contexts: dict[str, Path] = {}
    examples: dict[tuple[object, ...], Example] = {}
    taken: set[str] = set()
    for part in parts:
        _add_databases(contexts, part)
        for example in part.examples:
            same = (example.context_id, example.question, example.hint, example.targets[:1])
            if same in examples:
                continue
            name = example.id if example.id not in taken else f"{part.name}/{example.id}"
            examples[same] = example.model_copy(update={"id": name})
            taken.add(name)
    return replace(
        parts[0],
        name=" + ".join(part.name for part in parts),
        examples=tuple(draw(list(examples.values()), limit, seed)),
        contexts=contexts,
        fingerprint=digest([[part.fingerprint for part in parts], limit, seed]),
        double_quoted_text=any(part.double_quoted_text for part in parts),
    )


def _add_databases(known: dict[str, Path], part: Dataset) -> None:
    for name, path in part.contexts.items():
        other = known.setdefault(name, path)
        if not same_database(path, other):
            raise DataError(
                f"two databases are called {name!r}",
                where=part.name,
                expected=f"{path} to be {other}, or to have another name",
            )
