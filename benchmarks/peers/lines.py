"""How a peer's driver talks: pairs as JSON lines on stdin, verdicts as JSON lines on stdout. Standard library only."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

TIMEOUT_S = 5  # for one query, where the peer has such a limit


class Line(NamedTuple):
    """A pair; `database` is the path FOLDER/NAME/NAME.sqlite."""

    id: str
    gold: str
    pred: str
    database: str


class Answer(NamedTuple):
    """What the peer says. `correct` is None where it says nothing; `seconds` is judging alone, without imports."""

    id: str
    correct: bool | None
    seconds: float


def serve(judge: Callable[[Iterable[Line]], Iterator[Answer]]) -> None:
    """Say that the imports are done, read pairs, write answers as they come; what the peer prints itself is dropped."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    answers.write(json.dumps({"ready": True}) + "\n")
    answers.flush()
    for answer in judge([Line(**json.loads(line)) for line in sys.stdin]):
        answers.write(json.dumps(answer._asdict()) + "\n")
        answers.flush()


def by_database(pairs: Iterable[Line]) -> Iterator[tuple[str, list[Line]]]:
    """The pairs of each database, for peers that judge a file of pairs at once."""
    for database, group in groupby(sorted(pairs, key=lambda pair: pair.database), key=lambda pair: pair.database):
        yield database, list(group)
