"""Ties may come in any order, LIMIT may choose among them, and nothing else is left open."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.sql.golds import admits, expect, plan_gold
from slm.sql.golds.plan import GoldPlan
from slm.sql.results import ResultSet, Row

LABELS = ("x",)


def result(*cells: int) -> ResultSet:
    return ResultSet(LABELS, [(cell,) for cell in cells])


# Rows and their ranks: 1 | 2 3 4 | 5 5
RANKED: list[Row] = [(1, 1), (2, 2), (3, 2), (4, 2), (5, 5), (5, 5)]


@pytest.mark.parametrize(
    ("limit", "offset", "gold", "segments", "ambiguous"),
    [
        (None, 0, (1, 2, 3, 4, 5, 5), [([1], 1), ([2, 3, 4], 3), ([5, 5], 2)], False),
        (1, 0, (1,), [([1], 1)], False),
        (2, 0, (1, 4), [([1], 1), ([2, 3, 4], 1)], True),
        (4, 0, (1, 4, 3, 2), [([1], 1), ([2, 3, 4], 3)], False),
        (5, 0, (1, 4, 3, 2, 5), [([1], 1), ([2, 3, 4], 3), ([5, 5], 1)], False),
        (2, 2, (2, 4), [([2, 3, 4], 2)], True),
        (1, 2, (3,), [([2, 3, 4], 1)], True),
        (3, 1, (4, 3, 2), [([2, 3, 4], 3)], False),
        (9, 5, (5,), [([5, 5], 1)], False),
        (None, 3, (2, 5, 5), [([2, 3, 4], 1), ([5, 5], 2)], True),
        (0, 0, (), [], False),
        (2, 9, (), [], False),
    ],
)
def test_each_tie_takes_what_lies_in_the_window(
    limit: int | None, offset: int, gold: tuple[int, ...], segments: list[tuple[list[int], int]], ambiguous: bool
) -> None:
    plan = GoldPlan(ordered=True, limit=limit, offset=offset, ranked="…")
    expected, is_ambiguous = expect(plan, result(*gold), RANKED)
    assert [([row[0] for row in each.rows], each.take) for each in expected.segments] == segments
    assert is_ambiguous is ambiguous
    assert admits(expected, result(*gold).rows)


def test_limit_without_order_takes_any_rows() -> None:
    plan = GoldPlan(limit=2, ranked="…")
    expected, ambiguous = expect(plan, result(3, 1), [(1, 1), (2, 1), (3, 1)])
    assert (len(expected.segments), expected.count, ambiguous) == (1, 2, True)
    expected, ambiguous = expect(GoldPlan(limit=9, ranked="…"), result(3, 1), [(3, 1), (1, 1)])
    assert (expected.count, ambiguous) == (2, False)


@pytest.mark.parametrize("ranked", [None, [], [(1, 1), (2, 2)], [(1, 1), (3, 2), (2, 3)]])
def test_ranks_that_do_not_go_with_the_gold_leave_its_own_order(ranked: list[Row] | None) -> None:
    expected, ambiguous = expect(GoldPlan(ordered=True), result(1, 2, 3), ranked)
    assert [(list(each.rows), each.take) for each in expected.segments] == [([(x,)], 1) for x in (1, 2, 3)]
    assert not ambiguous
    expected, _ = expect(GoldPlan(), result(1, 2, 3), None)
    assert [(list(each.rows), each.take) for each in expected.segments] == [([(1,), (2,), (3,)], 3)]


def test_decimals_are_passed_on() -> None:
    plan = plan_gold("SELECT round(a, 2), b FROM t")
    assert expect(plan, ResultSet(("a", "b"), [(1.5, 2)]), None)[0].decimals == (2, None)


@given(st.data())
def test_any_choice_of_the_database_is_admitted_and_no_other(data: st.DataObject) -> None:
    keys = data.draw(st.lists(st.integers(0, 3), max_size=8))
    limit, offset = data.draw(st.integers(0, 9)), data.draw(st.integers(0, 4))
    order = data.draw(st.permutations(range(len(keys))))
    rows = sorted(order, key=lambda at: keys[at])
    ranked: list[Row] = [(at, keys[at]) for at in sorted(range(len(keys)), key=lambda at: keys[at])]
    plan = GoldPlan(ordered=True, limit=limit, offset=offset, ranked="…")
    gold = result(*rows[offset : offset + limit])
    expected, _ = expect(plan, gold, ranked)
    assert admits(expected, gold.rows)
    other = data.draw(st.permutations(range(len(keys))))[offset : offset + limit]
    right = [keys[at] for at in other] == [keys[row[0]] for row in gold.rows]  # type: ignore[index]
    assert admits(expected, result(*other).rows) is right


def _shipped(split: str, every: int) -> Iterator[tuple[str, Path, str]]:
    folder = Path(os.environ["SLM_DATA"]) / "spider"
    for number, line in enumerate((folder / f"{split}.jsonl").read_text().splitlines()):
        entry = json.loads(line)
        database = folder / "database" / entry["db_id"] / f"{entry['db_id']}.sqlite"
        if number % every == 0 and database.is_file():
            yield f"{split}:{number}", database, entry["query"]


@pytest.mark.skipif("SLM_DATA" not in os.environ, reason="needs Spider in SLM_DATA")
@pytest.mark.parametrize(("split", "every"), [("dev", 2), ("train", 20)])
def test_the_ranks_go_with_the_golds_of_spider(split: str, every: int) -> None:
    connections: dict[Path, apsw.Connection] = {}
    planned = 0
    for name, database, sql in _shipped(split, every):
        plan = plan_gold(sql)
        if plan.ranked is None:
            assert not plan.ordered or "DISTINCT" in sql.upper(), name
            continue
        if database not in connections:
            flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
            connections[database] = apsw.Connection(f"{database.absolute().as_uri()}?mode=ro&immutable=1", flags=flags)
            connections[database].config(apsw.SQLITE_DBCONFIG_DQS_DML, 1)
        try:
            gold = connections[database].execute(sql).fetchall()
        except apsw.SQLError:
            continue
        ranked = connections[database].execute(plan.ranked).fetchall()
        planned += 1
        width = len(ranked[0]) - 1 if ranked else 0
        expected, _ = expect(plan, ResultSet(("",) * width, gold), ranked)
        # Had the ranks been set aside, only the gold's own rows would be there.
        assert plan.offset or sum(len(segment.rows) for segment in expected.segments) == len(ranked), name
        assert admits(expected, gold), name
    assert planned > 50
