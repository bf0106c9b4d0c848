"""What a database declares: affinity, NOT NULL, unique keys, integers and columns that are left alone."""

from pathlib import Path

import apsw
import pytest

from slm.sql.prove import Facts, read_facts
from slm.sql.schema import affinity, read_schema


def facts_of(path: Path, sql: str) -> Facts:
    connection = apsw.Connection(str(path / "made.sqlite"))
    connection.execute(sql)
    return read_facts(connection, read_schema(path / "made.sqlite"))


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("INT", "INTEGER"),
        ("bigint unsigned", "INTEGER"),
        ("FLOATING POINT", "INTEGER"),
        ("VARCHAR(20)", "TEXT"),
        ("clob", "TEXT"),
        ("", "BLOB"),
        ("BLOB", "BLOB"),
        ("double precision", "REAL"),
        ("float(10,2)", "REAL"),
        ("DECIMAL(5)", "NUMERIC"),
        ("bool", "NUMERIC"),
        ("date", "NUMERIC"),
    ],
)
def test_affinity(declared: str, expected: str) -> None:
    connection = apsw.Connection(":memory:")
    connection.execute(f"CREATE TABLE t(x {declared})")
    connection.execute("INSERT INTO t VALUES ('5.0'), (7)")
    stored = {
        "INTEGER": ["integer", "integer"],
        "NUMERIC": ["integer", "integer"],
        "REAL": ["real", "real"],
        "TEXT": ["text", "text"],
        "BLOB": ["text", "integer"],
    }
    assert affinity(declared) == expected
    assert [kind for (kind,) in connection.execute("SELECT typeof(x) FROM t")] == stored[expected]


def test_a_primary_key_may_be_null_unless_it_is_the_rowid(tmp_path: Path) -> None:
    facts = facts_of(
        tmp_path,
        """
        CREATE TABLE a(id INTEGER PRIMARY KEY, x);
        CREATE TABLE b(id INT PRIMARY KEY, x);
        CREATE TABLE c(id INTEGER PRIMARY KEY DESC, x);
        CREATE TABLE d(k TEXT, l TEXT NOT NULL, PRIMARY KEY(k, l)) WITHOUT ROWID;
        CREATE TABLE e(k TEXT NOT NULL UNIQUE, n INT);
        """,
    )
    assert facts.not_null == {("a", "id"), ("d", "k"), ("d", "l"), ("e", "k")}
    assert facts.integers == {("a", "id")}
    assert facts.keys == {"a": ((0,),), "b": ((0,),), "c": ((0,),), "d": ((0, 1),), "e": ((0,),)}


def test_only_unique_indexes_over_all_rows_and_plain_columns_are_keys(tmp_path: Path) -> None:
    facts = facts_of(
        tmp_path,
        """
        CREATE TABLE t(x, y, z);
        CREATE UNIQUE INDEX one ON t(y, x);
        CREATE UNIQUE INDEX part ON t(z) WHERE x > 1;
        CREATE UNIQUE INDEX computed ON t(lower(z));
        CREATE INDEX plain ON t(x);
        """,
    )
    assert facts.keys == {"t": ((1, 0),)}


def test_collations_virtual_tables_and_any_are_opaque(tmp_path: Path) -> None:
    facts = facts_of(
        tmp_path,
        """
        CREATE TABLE t(a TEXT COLLATE NOCASE, b TEXT COLLATE binary, c TEXT);
        CREATE TABLE s(n INTEGER, m ANY) STRICT;
        CREATE VIRTUAL TABLE f USING fts5(body);
        """,
    )
    assert facts.opaque == {("t", "a"), ("s", "m"), ("f", "body")}
    assert facts.integers == {("s", "n")}
