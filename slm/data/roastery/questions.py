"""From shapes and literals to question/SQL pairs, each checked on the database."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from string import Formatter

import apsw

from slm.data.roastery.gold import is_usable
from slm.data.roastery.literals import SPLITS, pools_of_splits, share
from slm.data.roastery.shape import Case, Shape, fill
from slm.data.roastery.shapes import MIXED, SEEN, UNSEEN

_ATTEMPTS = 400

Pools = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Pair:
    """A question and its gold SQL."""

    question: str
    sql: str
    shape: str
    seen: bool


def make_pairs(connection: apsw.Connection) -> dict[str, list[Pair]]:
    """All pairs by split, shuffled; the same every time. `wide` has the literals of train, and more shapes."""
    pools = pools_of_splits()
    pairs = {split: _pairs_of_split(connection, split, pools[split]) for split in SPLITS}
    return pairs | {"wide": _wide_pairs(connection, pools["train"])}


def _pairs_of_split(connection: apsw.Connection, split: str, pools: Pools) -> list[Pair]:
    pairs = []
    for index, shape in enumerate(SEEN):
        wanted = {"train": 12, "dev": 1 + (index % 5 == 0), "test": 1 + (index % 2 == 0)}[split]
        pairs += _seen_pairs(connection, shape, pools, split, wanted)
    if split == "test":
        for shape in UNSEEN:
            found = _questions(connection, shape, shape.cases, pools, split)
            pairs += [Pair(question, sql, shape.name, seen=False) for question, sql in islice(found, 2)]
    Random(split).shuffle(pairs)  # noqa: S311 (data, not secrets)
    return pairs


def _wide_pairs(connection: apsw.Connection, pools: Pools) -> list[Pair]:
    """Some questions of each shape in train, and of the shapes that mix their skills."""
    pairs = []
    for shape in SEEN + MIXED:
        wanted = 3 * len(_owned_cases(shape, "train")) if shape in MIXED else 8
        pairs += _seen_pairs(connection, shape, pools, "train", wanted)
    Random("wide").shuffle(pairs)  # noqa: S311 (data, not secrets)
    return pairs


def _seen_pairs(connection: apsw.Connection, shape: Shape, pools: Pools, split: str, wanted: int) -> list[Pair]:
    found = _questions(connection, shape, _owned_cases(shape, split), pools, split)
    return [Pair(question, sql, shape.name, seen=True) for question, sql in islice(found, wanted)]


def _owned_cases(shape: Shape, split: str) -> Sequence[Case]:
    """Without literals two splits would share whole queries, so each case belongs to one split; else to all."""
    if shape.has_literals:
        return shape.cases
    owners = share([fill(shape.sql, case) for case in shape.cases])
    return [case for case in shape.cases if owners[fill(shape.sql, case)] == split]


def _questions(
    connection: apsw.Connection, shape: Shape, cases: Sequence[Case], pools: Pools, split: str
) -> Iterator[tuple[str, str]]:
    """Different questions of one shape, wordings and cases in turn; SQL repeats only where it has no literals."""
    rng = Random(f"{shape.name} {split}")  # noqa: S311
    start = rng.randrange(_ATTEMPTS)
    known: set[str] = set()
    for turn in range(start, start + _ATTEMPTS):
        case = cases[turn % len(cases)]
        wording = shape.questions[(turn % len(cases) + turn // len(cases)) % len(shape.questions)]
        template = fill(shape.sql, case)
        values = _draw(template, pools, rng)
        if values is None:
            continue
        question, sql = fill(wording, case).format(**values), template.format(**values)
        new = sql if shape.has_literals else question
        if new not in known and is_usable(connection, sql):
            known.add(new)
            yield question, sql


def _draw(template: str, pools: Pools, rng: Random) -> dict[str, str] | None:
    """A value for each literal slot; None where a pool is too small."""
    slots = {field for _, field, _, _ in Formatter().parse(template) if field}
    values = {}
    for pool in sorted({slot.rstrip("2") for slot in slots}):
        wanted = 2 if f"{pool}2" in slots else 1
        if len(pools[pool]) < wanted:
            return None
        first, *second = sorted(rng.sample(range(len(pools[pool])), wanted))
        values[pool] = pools[pool][first]
        values |= {f"{pool}2": pools[pool][number] for number in second}
    return values
