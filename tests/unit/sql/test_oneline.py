"""A query on one line is the same query."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.sql import one_line


@pytest.mark.parametrize(
    ("sql", "line"),
    [
        ("SELECT  a ,\n  b FROM t ;", "SELECT a , b FROM t"),
        ("SELECT 'a  b;' FROM\tt", "SELECT 'a  b;' FROM t"),
        ('SELECT "x  y"\nFROM t -- all of it\nWHERE a=1', 'SELECT "x  y" FROM t WHERE a=1'),
        ("  SELECT 'open", "SELECT 'open"),
    ],
)
def test_white_space_between_tokens_is_one_space(sql, line):
    assert one_line(sql) == line


@given(st.text(alphabet="ab  \n';", max_size=20))
def test_a_literal_keeps_its_text(text):
    literal = "'" + text.replace("'", "''") + "'"
    assert one_line(f"SELECT\n {literal}  FROM t;") == f"SELECT {literal} FROM t"
