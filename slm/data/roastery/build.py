"""Writes the suite's files below `eval/`."""

import json
from collections.abc import Sequence
from pathlib import Path

import apsw

from slm.data.roastery.database import write_database
from slm.data.roastery.questions import Pair, make_pairs
from slm.files import write_text


def build(folder: Path) -> dict[str, int]:
    """Write the database and one JSON Lines file a split below `folder`; returns the number of questions by split."""
    database = folder / "databases" / "roastery" / "roastery.sqlite"
    write_database(database)
    connection = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        splits = make_pairs(connection)
    finally:
        connection.close()
    for split, pairs in splits.items():
        write_text(folder / "suites" / "roastery" / f"{split}.jsonl", _json_lines(split, pairs))
    return {split: len(pairs) for split, pairs in splits.items()}


def _json_lines(split: str, pairs: Sequence[Pair]) -> str:
    return "".join(
        json.dumps(_line(split, number, pair), ensure_ascii=False) + "\n" for number, pair in enumerate(pairs, 1)
    )


def _line(split: str, number: int, pair: Pair) -> dict[str, object]:
    return {
        "id": f"roastery-{split}-{number:04d}",
        "db": "roastery",
        "question": pair.question,
        "sql": pair.sql,
        "tags": {"shape": pair.shape, "seen": "seen" if pair.seen else "unseen"},
    }
