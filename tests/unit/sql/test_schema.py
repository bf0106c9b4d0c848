"""Tables, columns and keys as a prompt shows them."""

import os
from pathlib import Path

import apsw
import pytest
import sqlglot

from slm.errors import DataError
from slm.sql import ForeignKey, Table, read_schema, schema_text
from slm.sql.schema import quoted


def made(path: Path, sql: str) -> Path:
    apsw.Connection(str(path)).execute("PRAGMA synchronous = OFF; BEGIN;" + sql + "; COMMIT")
    return path


def test_tables_types_and_keys(tmp_path: Path) -> None:
    path = made(
        tmp_path / "school.sqlite",
        """
        CREATE TABLE student(ID INTEGER PRIMARY KEY, name VARCHAR(20), born DATE, gpa DECIMAL(3, 2), photo BLOB);
        CREATE TABLE course(code CHAR(8), term SMALLINT, title, held TIMESTAMP, open BOOLEAN, PRIMARY KEY(code, term));
        CREATE TABLE enrolment(student_id INT REFERENCES Student, code TEXT, term INT, "final grade" DOUBLE,
            FOREIGN KEY(code, term) REFERENCES COURSE, FOREIGN KEY(student_id) REFERENCES gone(id));
        CREATE VIEW best AS SELECT * FROM student;
        CREATE INDEX by_name ON student(name);
        """,
    )
    schema = read_schema(path)
    assert [table.name for table in schema.tables] == ["student", "course", "enrolment"]
    assert schema.tables[1].primary_key == ("code", "term")
    assert schema.foreign_keys == (
        ForeignKey("enrolment", ("student_id",), "student", ("ID",)),
        ForeignKey("enrolment", ("code", "term"), "course", ("code", "term")),
    )
    assert schema_text(schema).splitlines() == [
        "student(ID int pk, name text, born date, gpa real, photo blob)",
        "course(code text, term int, title, held datetime, open bool, pk(code, term))",
        'enrolment(student_id int, code text, term int, "final grade" real)',
        "enrolment.student_id = student.ID",
        "(enrolment.code, enrolment.term) = (course.code, course.term)",
    ]


def test_tables_behind_a_virtual_table_are_left_out(tmp_path: Path) -> None:
    path = made(tmp_path / "a.sqlite", "CREATE VIRTUAL TABLE note USING fts5(title, body)")
    schema = read_schema(path)
    assert [table.name for table in schema.tables] == ["note"]
    assert [column.name for column in schema.tables[0].columns] == ["title", "body"]


def test_generated_columns_can_be_asked_for(tmp_path: Path) -> None:
    path = made(tmp_path / "a.sqlite", "CREATE TABLE t(a INT, b INT AS (a + 1))")
    assert isinstance(read_schema(path).tables[0], Table)
    assert schema_text(read_schema(path)) == "t(a int, b int)"


@pytest.mark.parametrize(
    "name",
    [
        "a b",
        "order",
        "From",
        "18_49",
        "%x",
        'say "hi"',
        "größe",
        "current_date",
        "",
        "index",
        "rank",
        "name",
        "x1",
        "_a",
        "year",
        "interval",
    ],
)
def test_a_quoted_name_means_the_column(name: str) -> None:
    connection = apsw.Connection(":memory:")
    escaped = name.replace('"', '""')
    connection.execute(f'CREATE TABLE t("{escaped}"); INSERT INTO t VALUES(42)')
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DML, 0)
    assert connection.execute(f"SELECT {quoted(name)}, t.{quoted(name)} FROM t").fetchall() == [(42, 42)]
    columns = sqlglot.parse_one(f"SELECT {quoted(name)} % 5 FROM t", read="sqlite").find_all(sqlglot.exp.Column)
    assert [column.name for column in columns] == [name]


@pytest.mark.parametrize("name", ["name", "year", "rank", "_a", "x1", "date", "action", "plan"])
def test_plain_names_stay_bare(name: str) -> None:
    assert quoted(name) == name


def test_what_is_no_database_is_named(tmp_path: Path) -> None:
    broken, empty = tmp_path / "broken.sqlite", tmp_path / "empty.sqlite"
    broken.write_text("this is no database at all, " * 100)
    empty.touch()
    for path, problem in ((tmp_path / "none.sqlite", "no such database"), (broken, "not a database"), (empty, "empty")):
        with pytest.raises(DataError, match=problem) as caught:
            read_schema(path)
        assert str(path) in str(caught.value)


@pytest.mark.skipif("SLM_DATA" not in os.environ, reason="SLM_DATA is not set: no Spider databases")
def test_every_spider_database_is_read() -> None:
    files = sorted(Path(os.environ["SLM_DATA"]).glob("spider/database/*/*.sqlite"))
    if not files:
        pytest.skip("SLM_DATA holds no Spider databases")
    schemas = [read_schema(path) for path in files]
    assert len(schemas) == 163
    assert sum(len(schema.foreign_keys) for schema in schemas) > 700
    for schema in schemas:
        assert len(schema_text(schema).splitlines()) == len(schema.tables) + len(schema.foreign_keys)
