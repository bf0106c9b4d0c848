import pytest

from slm.sql import one_line


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        ("SELECT  a\n FROM\tt ;", "SELECT a FROM t"),
        ("SELECT 'two  spaces' , \"a  b\" FROM t", "SELECT 'two  spaces' , \"a  b\" FROM t"),
        ("SELECT count( * ) FROM t", "SELECT count( * ) FROM t"),
        ("SELECT 'open", "SELECT 'open"),
    ],
)
def test_one_line(sql: str, line: str) -> None:
    assert one_line(sql) == line
