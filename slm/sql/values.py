"""Cells of a database that a question names: which column a word belongs to, and how the database spells it."""

import re
from collections.abc import Iterator
from pathlib import Path

import apsw

from slm.sql.schema import Schema, quoted

_LONGEST_WORDS = 8
_MOST_HINTS = 5
_COLUMNS_OF_A_VALUE = 2
_CELLS_OF_A_COLUMN = 20_000
_WORD = re.compile(r"\w+")

Words = tuple[str, ...]


class ValueIndex:
    """The text cells of one SQLite file, to be found by their words, whatever their case."""

    def __init__(self, path: Path, schema: Schema) -> None:
        self._cells: dict[Words, dict[str, str]] = {}
        uri = f"{path.absolute().as_uri()}?mode=ro"
        connection = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        for table in schema.tables:
            for column in table.columns:
                name = f"{quoted(table.name)}.{quoted(column.name)}"
                for value in _cells(connection, table.name, column.name):
                    words = tuple(word.lower() for word in _WORD.findall(value))
                    if 0 < len(words) <= _LONGEST_WORDS:
                        self._cells.setdefault(words, {}).setdefault(name, value)
        connection.close()

    def hints(self, question: str) -> list[str]:
        """Conditions such as `customers.city = 'York'` for the cells named in `question`, in its order; at most 5.

        Longer cells win over shorter ones inside them. A cell of several columns is shown for the first two.
        """
        words = _WORD.findall(question)
        hints: list[str] = []
        start = 0
        while start < len(words):
            for length in range(min(_LONGEST_WORDS, len(words) - start), 0, -1):
                found = self._cells.get(tuple(word.lower() for word in words[start : start + length]))
                if found and _is_telling(words[start : start + length], found):
                    shown = list(found.items())[:_COLUMNS_OF_A_VALUE]
                    hints += [f"{name} = {_literal(value)}" for name, value in shown]
                    start += length - 1
                    break
            start += 1
        return list(dict.fromkeys(hints))[:_MOST_HINTS]

    def conditions(self) -> Iterator[tuple[str, str]]:
        """Every cell with its condition as `hints` writes it: (`customers.city = 'York'`, `York`)."""
        for found in self._cells.values():
            for name, value in found.items():
                yield f"{name} = {_literal(value)}", value


def _is_telling(words: list[str], found: dict[str, str]) -> bool:
    """A short single word, such as `no` or `all`, is a cell only if it is written as one: `CA`, `F`."""
    word = words[0]
    return len(words) > 1 or len(word) > 3 or (not word.islower() and word in found.values())


def _cells(connection: apsw.Connection, table: str, column: str) -> Iterator[str]:
    """Different texts of a column that have a letter. As bytes, because real databases hold text that is not UTF-8."""
    source, cell = quoted(table), quoted(column)
    sql = (
        f"SELECT DISTINCT CAST({cell} AS BLOB) FROM {source} "  # noqa: S608 - names come from the schema, quoted
        f"WHERE typeof({cell}) = 'text' AND length({cell}) < 80 LIMIT {_CELLS_OF_A_COLUMN}"
    )
    for (raw,) in connection.execute(sql):
        text = bytes(raw).decode("utf-8", errors="replace").strip()
        if any(letter.isalpha() for letter in text) and "\ufffd" not in text:
            yield text


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
