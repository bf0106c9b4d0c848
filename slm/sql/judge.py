"""Pairs of gold and predicted SQL in, verdicts out."""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import sqlglot
from sqlglot import TokenType
from sqlglot.errors import TokenError

from slm.records import Verdict
from slm.sql.execute import Pool
from slm.sql.hints import with_hint

_AHEAD = 1024  # verdicts kept at most while an earlier one is awaited
_DETAIL = 500  # characters
_UNDECIDED = {"database_unavailable", "gold_failed"}


@dataclass(frozen=True, slots=True)
class Pair:
    """A predicted query, the golds of which any one is right, and the database; `None` where there is no database."""

    id: str
    gold: tuple[str, ...]
    prediction: str
    database: Path | None


@dataclass(slots=True)
class _Slot:
    pair: Pair
    verdict: Verdict | None = None


def judge(
    pairs: Iterable[Pair], *, timeout_s: float = 30.0, max_rows: int = 100_000, workers: int | None = None
) -> Iterator[Verdict]:
    """One verdict a pair, in the order of the pairs, as they come.

    Golds and predictions run in `workers` processes (default: one a core), each query for at most `timeout_s` seconds
    and `max_rows` rows; `slm.sql.worker` says what they are kept from. A prediction that equals any gold is right.

    `correct` is None with `database_unavailable` and `gold_failed`. Else `reason` is `correct`, `no_sql`, `syntax`,
    `unknown_table`, `unknown_column`, `ambiguous_column`, `not_a_query`, `multi_statement`, `runtime_error`, `timeout`,
    `out_of_memory`, `too_many_rows`, `column_count`, `row_count`, `row_order` or `wrong_values`.
    Raises JobError if the processes cannot start.
    """
    source, slots = iter(pairs), deque[_Slot]()
    with Pool[_Slot](timeout_s=timeout_s, max_rows=max_rows, workers=workers) as pool:
        exhausted = False
        while slots or not exhausted:
            while not exhausted and pool.has_room and len(slots) < _AHEAD:
                if (pair := next(source, None)) is None:
                    exhausted = True
                    break
                slots.append(_Slot(pair))
                if pair.database is None or not pair.database.is_file():
                    slots[-1].verdict = _verdict(pair, _missing(pair.database))
                else:
                    pool.submit(slots[-1], _request(pair, pair.database))
            while slots and (verdict := slots[0].verdict):
                slots.popleft()
                yield verdict
            if slots:
                for slot, reply in pool.wait():
                    slot.verdict = _verdict(slot.pair, reply)


def _missing(database: Path | None) -> dict[str, Any]:
    return {"reason": "database_unavailable", "detail": f"no such file: {database}" if database else None}


def _request(pair: Pair, database: Path) -> dict[str, Any]:
    return {
        "database": _uri(database.absolute()),
        "golds": [[gold, is_ordered(gold)] for gold in pair.gold],
        "prediction": pair.prediction,
    }


@lru_cache(maxsize=1024)
def _uri(database: Path) -> str:
    """Locks and the write-ahead log are left out only where the file cannot change."""
    fixed = not database.stat().st_mode & 0o222
    return f"{database.as_uri()}?mode=ro{'&immutable=1' if fixed else ''}"


@lru_cache(maxsize=4096)
def is_ordered(sql: str) -> bool:
    """Whether the outermost query has ORDER BY: in SQLite, exactly the one that stands outside all parentheses."""
    try:
        tokens = sqlglot.tokenize(sql, read="sqlite")
    except TokenError:
        return False
    depth = 0
    for token in tokens:
        depth += (token.token_type is TokenType.L_PAREN) - (token.token_type is TokenType.R_PAREN)
        if depth == 0 and token.token_type is TokenType.ORDER_BY:
            return True
    return False


def _verdict(pair: Pair, reply: dict[str, Any]) -> Verdict:
    reason, detail = reply["reason"], reply.get("detail")
    if detail and reason in ("unknown_table", "unknown_column") and pair.database:
        detail = with_hint(detail, pair.prediction, pair.database)
    if detail is not None:
        detail = detail.encode(errors="replace").decode()
        detail = detail if len(detail) <= _DETAIL else detail[:_DETAIL] + " …"
    return Verdict(
        example_id=pair.id,
        correct=None if reason in _UNDECIDED else reason == "correct",
        reason=reason,
        detail=detail,
        gold_ms=reply.get("gold_ms"),
        prediction_ms=reply.get("prediction_ms"),
    )
