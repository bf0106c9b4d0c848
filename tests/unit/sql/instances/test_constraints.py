"""What is declared, what is mined, and from how many rows on."""

from pathlib import Path

import apsw
import pytest

from slm.sql.instances.constraints import Constraints, Inclusion, mine
from slm.sql.schema import read_schema

SCHEMA = """
CREATE TABLE maker(id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT, UNIQUE(name, country));
CREATE TABLE car(
  id INTEGER PRIMARY KEY, maker_id INTEGER REFERENCES maker(id), plate TEXT UNIQUE, colour TEXT, price REAL, doors INT,
  year TEXT, sold TEXT, is_new BOOLEAN, note TEXT, twice INT AS (doors * 2));
CREATE TABLE repair(number INTEGER PRIMARY KEY, car INTEGER, plate TEXT);
CREATE UNIQUE INDEX only_some ON car(note) WHERE doors = 2;
CREATE TRIGGER stop BEFORE INSERT ON maker BEGIN SELECT 1; END;
CREATE VIEW new_car AS SELECT * FROM car WHERE is_new;
"""


def mined(tmp_path: Path, rows: int) -> Constraints:
    path = tmp_path / "cars.sqlite"
    connection = apsw.Connection(str(path))
    connection.execute(SCHEMA)
    with connection:
        connection.executemany("INSERT INTO maker VALUES(?, ?, ?)", [(i, f"maker {i}", "x") for i in range(1, 5)])
        cars = [
            (
                i,
                1 + i % 4,
                f"P{i}",
                ("red", "blue")[i % 2],
                i / 4,
                2 + i % 4,
                str(1990 + i % 9),
                "2020-01-02",
                i % 2,
                None,
            )
            for i in range(rows)
        ]
        names = "id, maker_id, plate, colour, price, doors, year, sold, is_new, note"
        connection.executemany(f"INSERT INTO car({names}) VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", cars)
        connection.executemany("INSERT INTO repair VALUES(?, ?, ?)", [(i, i // 2, f"P{i // 2}") for i in range(rows)])
    return mine(connection, read_schema(path))


@pytest.mark.parametrize(
    ("rows", "column", "not_null", "unique"),
    [
        (40, "id", "declared", "declared"),
        (40, "plate", "mined", "declared"),
        (40, "colour", "mined", None),
        (40, "price", "mined", "mined"),
        (40, "note", None, None),
        (29, "price", None, None),
        (29, "plate", None, "declared"),
    ],
)
def test_rules_need_support(tmp_path: Path, rows: int, column: str, not_null: str | None, unique: str | None) -> None:
    facts = mined(tmp_path, rows).column("CAR", column)
    assert facts is not None
    assert (facts.not_null, facts.unique) == (not_null, unique)


@pytest.mark.parametrize(
    ("column", "kind", "closed", "low", "high"),
    [
        ("colour", "text", True, None, None),
        ("plate", "text", False, None, None),
        ("price", "decimal", False, 0.0, 9.75),
        ("doors", "integer", False, 2, 5),
        ("year", "integer_text", False, 1990, 1998),
        ("sold", "date", False, None, None),
        ("is_new", "integer", True, 0, 1),
        ("note", "text", False, None, None),
    ],
)
def test_domains(tmp_path: Path, column: str, kind: str, closed: bool, low: object, high: object) -> None:
    facts = mined(tmp_path, 40).column("car", column)
    assert facts is not None
    domain = facts.domain
    assert (domain.kind, domain.closed, domain.low, domain.high) == (kind, closed, low, high)


def test_few_rows_close_no_list(tmp_path: Path) -> None:
    facts = mined(tmp_path, 20).column("car", "colour")
    assert facts is not None
    assert not facts.domain.closed


def test_inclusions(tmp_path: Path) -> None:
    enough = set(mined(tmp_path, 60).inclusions)
    declared = Inclusion("car", ("maker_id",), "maker", ("id",), "declared")
    by_table_name = Inclusion("repair", ("car",), "car", ("id",), "mined")
    by_name = Inclusion("repair", ("plate",), "car", ("plate",), "mined")
    assert enough == {declared, by_table_name, by_name}


def test_few_rows_prove_no_inclusion(tmp_path: Path) -> None:
    assert [key.origin for key in mined(tmp_path, 20).inclusions] == ["declared"]


def test_keys_generated_columns_and_rows(tmp_path: Path) -> None:
    facts = mined(tmp_path, 100)
    assert facts.by_name["maker"].keys == (("id",), ("name", "country"))
    car = facts.by_name["car"]
    assert car.keys == (("id",), ("plate",)), "a partial index is no key"
    assert [column.name for column in car.columns if column.generated] == ["twice"]
    assert car.count == 100
    assert 0 < len(car.rows) <= 60


def test_template_has_tables_indexes_and_views_but_no_rows_or_triggers(tmp_path: Path) -> None:
    copy = apsw.Connection(":memory:")
    copy.deserialize("main", mined(tmp_path, 5).template)
    found = set(copy.execute("SELECT type, name FROM sqlite_schema WHERE sql IS NOT NULL"))
    tables = {("table", "maker"), ("table", "car"), ("table", "repair")}
    assert found == {*tables, ("index", "only_some"), ("view", "new_car")}
    assert copy.execute("SELECT (SELECT count(*) FROM car) + (SELECT count(*) FROM maker)").fetchall() == [(0,)]


def test_text_that_is_not_utf8_is_read(tmp_path: Path) -> None:
    path = tmp_path / "odd.sqlite"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE t(a TEXT); INSERT INTO t VALUES(CAST(x'41ff42' AS TEXT))")
    facts = mine(connection, read_schema(path)).column("t", "a")
    assert facts is not None
    assert facts.domain.samples == ("AB",)
