"""Files of pairs: good lines become pairs, and each mistake is located."""

import json
from pathlib import Path

import pytest

from slm.errors import DataError
from slm.sql import Pair, read_pairs

GOOD = {"id": "q1", "gold": "SELECT 1", "pred": "SELECT 2", "db": "shop"}
SCRIPT = {"db": None, "schema_sql": "CREATE TABLE t(a)"}


@pytest.fixture
def read(tmp_path: Path):
    """`read(line, …)`: the pairs of a file of these lines, objects or texts."""

    def read(*lines, **options) -> list[Pair]:
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        (tmp_path / "pairs.jsonl").write_text("\n".join(texts) + "\n", encoding="utf-8")
        return list(read_pairs(tmp_path / "pairs.jsonl", **options))

    return read


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, {}),
        ({"id": 7}, {"id": "7"}),
        ({"gold": ["SELECT 1", "SELECT 3"]}, {"gold": ("SELECT 1", "SELECT 3")}),
        ({"why": "a remark", "kind": "order"}, {}),
        ({"double_quoted_text": True}, {"double_quoted_text": True}),
        ({"dialect": "duckdb"}, {"dialect": "duckdb"}),
        (
            {"dialect": "postgres", "db": "postgresql://reader@localhost/shop"},
            {"dialect": "postgres", "database": "postgresql://reader@localhost/shop"},
        ),
        (SCRIPT, {"database": None, "script": ("CREATE TABLE t(a)", "")}),
        (
            SCRIPT | {"data_sql": "INSERT INTO t VALUES (1)"},
            {"database": None, "script": ("CREATE TABLE t(a)", "INSERT INTO t VALUES (1)")},
        ),
        ({"pred": ""}, {"prediction": ""}),
    ],
)
def test_good_lines(read, more, expected):
    plain = {"id": "q1", "gold": ("SELECT 1",), "prediction": "SELECT 2", "database": Path("shop")}
    assert read(GOOD | more) == [Pair(**(plain | expected))]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({key: value for key, value in GOOD.items() if key != "id"}, "'id'"),
        ({key: value for key, value in GOOD.items() if key != "gold"}, "gold"),
        ({key: value for key, value in GOOD.items() if key != "pred"}, "'pred'"),
        ({key: value for key, value in GOOD.items() if key != "db"}, "either `db`, or `schema_sql`"),
        (GOOD | {"schema_sql": "CREATE TABLE t(a)"}, "either `db`, or `schema_sql`"),
        (GOOD | SCRIPT | {"dialect": "postgres"}, "makes a SQLite database"),
        (GOOD | SCRIPT | {"dialect": "duckdb"}, "makes a SQLite database"),
        (GOOD | {"dialect": "oracle"}, "'sqlite', 'duckdb' or 'postgres'"),
        (GOOD | {"gold": []}, "gold"),
        (GOOD | {"gold": None}, "gold"),
        (GOOD | {"pred": 3}, "'pred'"),
        (GOOD | {"double_quoted_text": "yes"}, "'double_quoted_text'"),
        (GOOD | {"id": "q0"}, "id 'q0' stands in line 1 too"),
        ("[1, 2]", "not a JSON object"),
        ("{not JSON", "not readable as JSON"),
    ],
)
def test_a_mistake_is_located(read, line, message):
    with pytest.raises(DataError) as caught:
        read(GOOD | {"id": "q0"}, line, GOOD | {"id": "q2"})
    assert "pairs.jsonl:2" in str(caught.value)
    assert message in str(caught.value)


def test_numbers_and_texts_are_the_same_id(read):
    with pytest.raises(DataError, match=r"pairs\.jsonl:2"):
        read(GOOD | {"id": 1}, GOOD | {"id": "1"})


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.jsonl"):
        list(read_pairs(tmp_path / "nowhere.jsonl"))


@pytest.mark.parametrize(
    ("file", "name", "dialect"),
    [
        ("shop", "shop", "sqlite"),
        ("shop.sqlite", "shop.sqlite", "sqlite"),
        ("shop.sqlite", "shop", "sqlite"),
        ("shop/shop.sqlite", "shop", "sqlite"),
        ("shop.duckdb", "shop", "duckdb"),
        ("shop/shop.duckdb", "shop", "duckdb"),
        ("deep/er/shop.db", "deep/er/shop.db", "sqlite"),
    ],
)
def test_where_a_database_is_looked_for(read, tmp_path, file, name, dialect):
    path = tmp_path / "databases" / file
    path.parent.mkdir(parents=True)
    path.touch()
    line = GOOD | {"db": name, "dialect": dialect}
    (pair,) = read(line, databases=tmp_path / "databases")
    assert pair.database == path
    (pair,) = read(line | {"db": str(path)}, databases=tmp_path / "elsewhere")
    assert pair.database == path


def test_a_database_that_is_not_there_is_the_judges_to_report(read, tmp_path):
    (pair,) = read(GOOD, databases=tmp_path)
    assert pair.database == tmp_path / "shop"


def test_blank_lines_are_no_lines(read):
    assert [pair.id for pair in read("", GOOD, " ", GOOD | {"id": "q2"})] == ["q1", "q2"]


def test_text_in_double_quotes_is_as_the_line_says_else_as_the_caller(read):
    lines = [GOOD | {"id": str(n)} | more for n, more in enumerate([{}, {"double_quoted_text": False}])]
    assert [pair.double_quoted_text for pair in read(*lines, double_quoted_text=True)] == [True, False]
