"""The committed suite is what its generator makes, and keeps the promises that its description gives."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import apsw
import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from sqlglot import exp

from slm.data.roastery import build
from slm.data.roastery.gold import MOST_ROWS, has_idle_part, has_ties
from slm.data.roastery.literals import SPLITS, STRUCTURAL, share
from slm.data.roastery.shapes import MIXED, SEEN, UNSEEN
from slm.files import read_json_lines
from slm.paths import shipped

FILES = (*SPLITS, "wide")
DATABASE = "databases/roastery/roastery.sqlite"
Line = dict[str, Any]


def read_split(folder: Path, split: str) -> list[Line]:
    return [line for _, line in read_json_lines(folder / "suites" / "roastery" / f"{split}.jsonl")]


def read_only(path: Path) -> apsw.Connection:
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)


def dump(path: Path) -> list[tuple[Any, ...]]:
    """Schema and rows; the bytes of the file depend on the version of SQLite."""
    connection = read_only(path)
    schema = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table' ORDER BY name").fetchall()
    return [*schema, *(row for name, _ in schema for row in connection.execute(f"SELECT * FROM {name} ORDER BY 1, 2"))]


def literals(sql: str) -> set[str]:
    """What a query copies from its question: every literal but the structural ones, without the wildcards of LIKE."""
    found = {node.name for node in sqlglot.parse_one(sql, read="sqlite").find_all(exp.Literal)}
    return {value.strip("%") for value in found - STRUCTURAL}


def skeleton(sql: str) -> str:
    """The query with its literals taken out."""
    query = sqlglot.parse_one(sql, read="sqlite")
    for node in list(query.find_all(exp.Literal)):
        if node.name not in STRUCTURAL:
            node.replace(exp.Placeholder())
    return query.sql("sqlite")


def disguised(sql: str) -> str:
    """The query without its literals, and whatever its comparisons, functions and directions are."""
    query = re.sub(r"\b(AVG|MAX|MIN|SUM|COUNT)\(", "F(", skeleton(sql))
    return re.sub(r"<>|>=|<=|[<>=]", "=", query).replace(" DESC", "")


@pytest.fixture(scope="module")
def lines() -> dict[str, list[Line]]:
    return {split: read_split(shipped("eval"), split) for split in FILES}


@pytest.fixture(scope="module")
def everything(lines: dict[str, list[Line]]) -> list[Line]:
    """Of train only what wide has not."""
    wide = {line["question"] for line in lines["wide"]}
    train = [line for line in lines["train"] if line["question"] not in wide]
    return [*train, *(line for split in ("wide", "dev", "test") for line in lines[split])]


@pytest.fixture(scope="module")
def connection() -> apsw.Connection:
    return read_only(shipped("eval", DATABASE))


def test_the_committed_files_are_what_the_generator_makes(tmp_path: Path, lines: dict[str, list[Line]]) -> None:
    counts = build(tmp_path)
    assert counts == {split: len(lines[split]) for split in FILES}
    for split in FILES:
        assert read_split(tmp_path, split) == lines[split], "run: python -m slm.data.roastery"
    assert dump(tmp_path / DATABASE) == dump(shipped("eval", DATABASE)), "run: python -m slm.data.roastery"


def test_the_database_is_small_and_real(connection: apsw.Connection) -> None:
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    columns = [row for name in tables for row in connection.execute(f"PRAGMA table_info({name})")]
    rows = sum(connection.execute(f"SELECT COUNT(*) FROM {name}").get for name in tables)
    assert len(tables) >= 6
    assert len(columns) <= 40
    assert rows >= 4000
    assert shipped("eval", DATABASE).stat().st_size < 700_000
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    for table, column in (("customers", "email"), ("orders", "shipped"), ("coffees", "score"), ("suppliers", "rating")):
        assert connection.execute(f"SELECT COUNT(*) FROM {table} WHERE {column} IS NULL").get > 0


def test_size_and_spread_over_shapes(lines: dict[str, list[Line]]) -> None:
    assert len(lines["train"]) >= 900
    assert len(lines["dev"]) >= 90
    assert len(lines["test"]) >= 140
    shapes = Counter(line["tags"]["shape"] for line in lines["train"])
    assert len(shapes) >= 64
    assert min(shapes.values()) >= 8
    unseen = sum(line["tags"]["seen"] == "unseen" for line in lines["test"])
    assert 0.15 <= unseen / len(lines["test"]) <= 0.3


def test_ids_and_questions_are_unique(everything: list[Line]) -> None:
    assert len({line["id"] for line in everything}) == len(everything)
    assert len({line["question"].lower() for line in everything}) == len(everything)


def test_splits_share_no_literal_and_no_sql(lines: dict[str, list[Line]]) -> None:
    for first, second in (("train", "dev"), ("train", "test"), ("dev", "test"), ("wide", "dev"), ("wide", "test")):
        in_first, in_second = (set().union(*(literals(line["sql"]) for line in lines[s])) for s in (first, second))
        assert in_first, first
        assert in_first.isdisjoint(in_second)
        assert {line["sql"] for line in lines[first]}.isdisjoint(line["sql"] for line in lines[second])


def test_every_literal_stands_in_its_question(everything: list[Line]) -> None:
    for line in everything:
        assert all(value in line["question"] for value in literals(line["sql"])), line


def test_unseen_shapes_are_new_queries(lines: dict[str, list[Line]]) -> None:
    known = {skeleton(line["sql"]) for split in ("train", "wide", "dev") for line in lines[split]}
    in_train = {line["tags"]["shape"] for line in lines["train"]}
    for line in lines["test"]:
        if line["tags"]["seen"] == "unseen":
            assert skeleton(line["sql"]) not in known, line
            assert line["tags"]["shape"] not in in_train, line
        else:
            assert line["tags"]["shape"] in in_train, line


def test_what_wide_mixes_is_no_unseen_shape_in_another_guise(lines: dict[str, list[Line]]) -> None:
    unseen = {disguised(line["sql"]) for line in lines["test"] if line["tags"]["seen"] == "unseen"}
    assert len(unseen) == len(UNSEEN)
    mixed = [line for line in lines["wide"] if line["tags"]["shape"] in {shape.name for shape in MIXED}]
    assert len(mixed) > 400
    assert unseen.isdisjoint(disguised(line["sql"]) for line in mixed)


def test_every_gold_has_an_answer_that_only_it_gives(everything: list[Line], connection: apsw.Connection) -> None:
    for line in everything:
        rows = connection.execute(line["sql"]).fetchall()
        assert 1 <= len(rows) <= MOST_ROWS, line
        assert any(cell is not None for row in rows for cell in row), line
        query = sqlglot.parse_one(line["sql"], read="sqlite")
        assert not has_ties(connection, query), line
        assert not has_idle_part(connection, query), line


def test_one_question_meaning_has_one_sql(everything: list[Line]) -> None:
    """One style: where tables are joined, every column says which table it is from; there are no table aliases."""
    for line in everything:
        query = sqlglot.parse_one(line["sql"], read="sqlite")
        assert not list(query.find_all(exp.TableAlias)), line
        for select in query.find_all(exp.Select):
            if select.args.get("joins"):
                columns = [column for column in select.find_all(exp.Column) if column.parent_select is select]
                assert all(column.table for column in columns), line


def test_every_shape_has_four_wordings_of_its_own() -> None:
    shapes = SEEN + MIXED + UNSEEN
    assert len({shape.name for shape in shapes}) == len(shapes)
    assert all(len(set(shape.questions)) >= 4 for shape in shapes)


@given(st.sets(st.text(min_size=1), min_size=3, max_size=60))
def test_sharing_out_gives_every_value_one_owner_whatever_the_order(values: set[str]) -> None:
    owners = share(sorted(values))
    assert owners == share(sorted(values, reverse=True))
    assert owners.keys() == values
    assert set(owners.values()) == set(SPLITS)
