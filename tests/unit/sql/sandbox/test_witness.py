"""The smallest data that tells two queries apart."""

import json

import pytest

from slm.sql.engines.sqlite import image_of
from slm.sql.golds import plan_gold
from slm.sql.results import ResultSet
from slm.sql.sandbox.witness import Contest, shown, shown_cell, smallest

SCHEMA = """
CREATE TABLE maker(id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE item(id INTEGER PRIMARY KEY, maker_id INTEGER REFERENCES maker(id), price INTEGER);
CREATE TABLE note(text TEXT);
"""
DATA = "INSERT INTO maker VALUES (1, 'Ada'), (2, 'Bo'), (3, 'Cy'); INSERT INTO note VALUES ('nobody asks for this');"
DATA += "INSERT INTO item VALUES " + ", ".join(f"({n}, {1 + n % 3}, {n})" for n in range(1, 41))


def cut(gold: str, prediction: str, *, data: str = DATA, permutation=None, schema: str = SCHEMA, quoted=False):
    image = image_of(schema, data, timeout_s=5.0)
    contest = Contest(gold, plan_gold(gold), prediction, permutation)
    return smallest(image, contest, double_quoted_text=quoted, seconds=5.0)


def sizes(witness) -> dict[str, int]:
    return {name: len(table["rows"]) for name, table in witness["tables"].items()}


@pytest.mark.parametrize(
    ("gold", "prediction", "left"),
    [
        ("SELECT id FROM item", "SELECT id FROM item WHERE price < 40", {"item": 1, "maker": 1}),
        ("SELECT count(*) FROM maker", "SELECT 0", {"maker": 1}),
        ("SELECT name FROM maker", "SELECT upper(name) FROM maker", {"maker": 1}),
        ("SELECT max(name) FROM maker", "SELECT min(name) FROM maker", {"maker": 2}),
        ("SELECT id FROM maker ORDER BY name", "SELECT id FROM maker ORDER BY name DESC", {"maker": 2}),
        ("SELECT maker_id FROM item", "SELECT DISTINCT maker_id FROM item", {"item": 2, "maker": 1}),
        ("SELECT 1", "SELECT 2", {}),
        ("SELECT name FROM maker ORDER BY id LIMIT 1", "SELECT name FROM maker WHERE id = 2", {"maker": 1}),
    ],
)
def test_as_few_rows_as_can_be(gold, prediction, left):
    witness = cut(gold, prediction)
    assert sizes(witness) == left
    assert witness["gold"] != witness["prediction"]


def test_the_results_are_those_on_the_rows_that_are_left():
    witness = cut("SELECT id, price FROM item", "SELECT id, price FROM item WHERE price <> 7")
    assert witness["tables"]["item"] == {"columns": ["id", "maker_id", "price"], "rows": [[7, 2, 7]]}
    assert witness["tables"]["maker"] == {"columns": ["id", "name"], "rows": [[2, "Bo"]]}
    assert witness["gold"] == {"columns": ["id", "price"], "rows": [[7, 7]], "row_count": 1}
    assert witness["prediction"] == {"columns": ["id", "price"], "rows": [], "row_count": 0}


def test_foreign_keys_that_were_broken_before_may_stay_so():
    witness = cut("SELECT id FROM item", "SELECT id FROM item WHERE id < 5", data="INSERT INTO item VALUES (5, 99, 1)")
    assert sizes(witness) == {"item": 1}


@pytest.mark.parametrize(
    ("gold", "prediction"),
    [
        ("SELECT id FROM item", "SELECT id FROM item ORDER BY id DESC"),
        ("SELECT id FROM item", "SELECT nosuch FROM item"),
        ("SELECT nosuch FROM item", "SELECT id FROM item"),
        ("SELECT id FROM item", "DELETE FROM item"),
    ],
)
def test_no_witness_where_nothing_differs(gold, prediction):
    assert cut(gold, prediction) is None


def test_the_order_of_columns_that_was_found_before():
    gold, prediction = "SELECT id, maker_id FROM item", "SELECT maker_id, id FROM item"
    assert cut(gold, prediction, permutation=(1, 0)) is None


def test_text_in_double_quotes():
    queries = ('SELECT id FROM maker WHERE name = "Ada"', "SELECT id FROM maker WHERE name = 'Bo'")
    assert cut(*queries) is None
    assert sizes(cut(*queries, quoted=True)) == {"maker": 1}


def test_rows_without_numbers_stay():
    schema = "CREATE TABLE t(a TEXT PRIMARY KEY) WITHOUT ROWID; CREATE TABLE u(b)"
    witness = cut(
        "SELECT a FROM t",
        "SELECT a FROM t WHERE a < 'c'",
        schema=schema,
        data="INSERT INTO t VALUES ('a'), ('b'), ('c'); INSERT INTO u VALUES (1), (2)",
    )
    assert witness["tables"].keys() <= {"t"}
    assert witness["gold"]["row_count"] == 3


@pytest.mark.parametrize(
    ("cell", "as_json"),
    [
        (None, None),
        (1 << 62, 1 << 62),
        (0.5, 0.5),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        ("naïve", "naïve"),
        (b"\x00\xff", "x'00ff'"),
        ("a\udcffb", "a\\udcffb"),
        ("x" * 1000, "x" * 200 + " …"),
        (b"\x01" * 201, "x'" + "01" * 200 + "' …"),
    ],
)
def test_cells_as_json(cell, as_json):
    assert shown_cell(cell) == as_json
    assert json.loads(json.dumps(shown_cell(cell), allow_nan=False)) == as_json
    json.dumps(shown_cell(cell), ensure_ascii=False).encode()


def test_only_the_first_rows_are_shown():
    found = shown(ResultSet(("n",), [(n,) for n in range(1000)]))
    assert found["row_count"] == 1000
    assert found["rows"] == [[n] for n in range(20)]
