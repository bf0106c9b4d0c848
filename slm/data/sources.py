"""Data sets: a shipped suite, the user's own JSON Lines file, or a folder in Spider's layout."""

import difflib
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TypeVar

from slm.data.rows import Row, read_rows
from slm.data.suites import SPIDER_KEYS, Keys, SuiteInfo, find_suite, list_suites
from slm.errors import DataError
from slm.files import digest, sha256_file
from slm.records import Example

T = TypeVar("T")
_DATABASE_SUFFIXES = (".sqlite", ".sqlite3", ".db")


@dataclass(frozen=True)
class Dataset:
    """Examples and the databases they ask about.

    `contexts`: context id to database file; a database that is not there is not in it. `fingerprint`: hex sha256 over
    ids, questions, hints, targets and the bytes of the databases. `report_by`: the tags that a report breaks down by.
    `double_quoted_text`: whether "x" may be a text in its queries where no column is called x.
    """

    name: str
    examples: tuple[Example, ...]
    contexts: Mapping[str, Path]
    fingerprint: str
    report_by: tuple[str, ...] = ("difficulty",)
    double_quoted_text: bool = False

    @property
    def available(self) -> tuple[Example, ...]:
        """The examples whose context is there; the others can be neither answered nor judged."""
        return tuple(example for example in self.examples if example.context_id in self.contexts)


@dataclass(frozen=True)
class _Source:
    """Where the examples and databases of a reference are, and how they are written."""

    name: str
    split: str
    file: Path
    databases: tuple[Path, ...]
    keys: Keys
    report_by: tuple[str, ...] = ("difficulty",)
    suite: SuiteInfo | None = None
    double_quoted_text: bool = False
    # In the user's own file an unknown database is a mistake; a public set may come without all of its databases.
    own: bool = False


@dataclass
class _Databases:
    """Finds database files; each name is looked up once."""

    folders: Sequence[Path]
    found: dict[str, Path | None] = field(default_factory=dict)

    def find(self, name: str) -> Path | None:
        """`name` is a path below one of the folders, or an id: ID/ID.sqlite or ID.sqlite there."""
        if name not in self.found:
            forms = (name, f"{name}/{Path(name).name}.sqlite", f"{name}.sqlite")
            candidates = (folder / form for folder in self.folders for form in forms)
            # Path.is_file raises for a name too long, such as a query that stands where the database should.
            self.found[name] = next((path for path in candidates if os.path.isfile(path)), None)  # noqa: PTH113
        return self.found[name]

    def trouble(self, name: str) -> str | None:
        """What was expected in place of `name`, where no database has that name."""
        if self.find(name):
            return None
        near = difflib.get_close_matches(Path(name).stem, self._there, n=1)
        folders = " or ".join(str(folder) for folder in self.folders)
        hint = f"did you mean {near[0]!r}?" if near else f"there is {', '.join(self._there[:10]) or 'no database'}"
        return f"a file, ID/ID.sqlite or ID.sqlite in {folders}; {hint}"

    @cached_property
    def _there(self) -> list[str]:
        return sorted({path.stem for folder in self.folders for path in _database_files(folder)})

    def context_ids(self) -> dict[str, str]:
        """A short id for each name: a path loses folder and suffix unless two databases would then share an id."""
        short = {name: Path(name).stem if Path(name).suffix in _DATABASE_SUFFIXES else name for name in self.found}
        owners: dict[str, set[str]] = {}
        for name, path in self.found.items():
            owners.setdefault(short[name], set()).add(str(path.resolve()) if path else name)
        return {name: short[name] if len(owners[short[name]]) == 1 else name for name in self.found}


def load_dataset(ref: str, *, databases: Path | None = None, limit: int | None = None, seed: int = 0) -> Dataset:
    """Load `SUITE:SPLIT`, a `.jsonl` or `.json` file of the user's own, or `FOLDER:SPLIT` in Spider's layout.

    `databases` takes the place of the data's own folder of databases. `limit` draws that many examples at random and
    keeps their order; a larger limit with the same seed contains a smaller one's examples.
    Raises DataError with every problem of the file, or with how to get a data set that is not there.
    """
    if databases is not None and not databases.is_dir():
        raise DataError("no such folder", where=str(databases), expected="the folder of the databases")
    source = _locate(ref, databases)
    files = _Databases(source.databases)
    rows = read_rows(source.file, source.keys, source.split, files.trouble if source.own else lambda _: None)
    found = [files.find(row.db) for row in rows]
    if not any(found):
        raise _no_databases(source, rows)
    ids = files.context_ids()
    rows = draw(rows, limit, seed)
    examples = tuple(_example(row, ids[row.db]) for row in rows)
    contexts = {ids[row.db]: path for row in rows if (path := files.find(row.db))}
    return Dataset(
        source.name,
        examples,
        contexts,
        _fingerprint(examples, contexts),
        source.report_by,
        source.double_quoted_text,
    )


def _locate(ref: str, databases: Path | None) -> _Source:
    path = Path(ref)
    if path.is_file() or path.suffix in (".jsonl", ".json"):
        return _locate_own(path, databases)
    name, _, split = ref.rpartition(":")
    if name and ("/" in name or (Path(name).is_dir() and name not in {suite.name for suite in list_suites()})):
        return _locate_in_folder(ref, Path(name), split, databases)
    suite = find_suite(ref, name, split)
    file, folder = suite.split_file(split), databases or suite.databases_folder()
    if file is None:
        raise suite.missing(f"file {' or '.join(suite.splits[split])}")
    if folder is None:
        raise suite.missing(f"folder {suite.databases}")
    quoted = suite.double_quoted_text
    return _Source(ref, split, file, (folder,), suite.keys, suite.report_by, suite, double_quoted_text=quoted)


def _locate_own(path: Path, databases: Path | None) -> _Source:
    if not path.is_file():
        raise DataError("no such file", where=str(path), expected="JSON Lines, each with question, sql and db")
    folders = (databases, path.parent) if databases else (path.parent,)
    return _Source(str(path), path.stem, path, folders, Keys(), own=True)


def _locate_in_folder(ref: str, folder: Path, split: str, databases: Path | None) -> _Source:
    if not folder.is_dir():
        raise DataError("no such folder", where=ref, expected=f"a folder with {split}.jsonl and database/ID/ID.sqlite")
    file = next((path for suffix in (".jsonl", ".json") if (path := folder / f"{split}{suffix}").is_file()), None)
    if file is None:
        there = sorted(path.name for path in folder.glob("*.json*"))
        expected = f"{split}.jsonl or {split}.json in {folder}; there is {', '.join(there) or 'no such file'}"
        raise DataError("no such split", where=ref, expected=expected)
    return _Source(ref, split, file, (databases or folder / "database",), SPIDER_KEYS, double_quoted_text=True)


def _no_databases(source: _Source, rows: Sequence[Row]) -> DataError:
    folder = source.databases[0]
    if source.suite and folder == source.suite.databases_folder():
        return source.suite.missing("database of any example")
    names = sorted({row.db for row in rows})
    listed = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    return DataError(
        "none of its databases is there",
        where=str(source.file),
        expected=f"ID/ID.sqlite or ID.sqlite in {folder}, with ID one of {listed}",
    )


def _database_files(folder: Path) -> Iterator[Path]:
    for path in (*folder.glob("*.*"), *folder.glob("*/*.*")):
        if path.suffix in _DATABASE_SUFFIXES:
            yield path


def same_database(one: Path, other: Path) -> bool:
    """Whether two files are one, or copies of one another."""
    return one.resolve() == other.resolve() or sha256_file(one) == sha256_file(other)


def draw(rows: list[T], limit: int | None, seed: int) -> list[T]:
    """`limit` of the rows in their order, drawn with `seed`; all of them without a limit."""
    if limit is None or limit >= len(rows):
        return rows
    shuffled = random.Random(seed).sample(range(len(rows)), len(rows))  # noqa: S311 (nothing to do with security)
    return [rows[index] for index in sorted(shuffled[:limit])]


def _example(row: Row, context_id: str) -> Example:
    tags = {"difficulty": _difficulty(row.targets[0]), **row.tags}
    return Example(
        id=row.id, context_id=context_id, question=row.question, targets=row.targets, hint=row.hint, tags=tags
    )


@lru_cache(maxsize=100_000)  # questions in several wordings share their query
def _difficulty(sql: str) -> str:
    from slm.sql import difficulty  # sqlglot takes a moment to import

    return difficulty(sql)


def _fingerprint(examples: Sequence[Example], contexts: Mapping[str, Path]) -> str:
    return digest(
        {
            "examples": [(each.id, each.context_id, each.question, each.hint, each.targets) for each in examples],
            "databases": {context_id: sha256_file(path) for context_id, path in contexts.items()},
        }
    )
