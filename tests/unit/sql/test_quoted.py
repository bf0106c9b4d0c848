"""Where text in double quotes may be text, and where it is a column that there is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.sql.quoted import refuse_columns_as_text
from slm.sql.results import Refused

COLUMNS = {"singer": {"id", "name", "full name"}, "song": {"id", "title"}}


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT id FROM singer WHERE name = "Ada"',
        'SELECT id FROM singer WHERE "Ada" = name',
        'SELECT id FROM singer WHERE "Full Name" = "Ada"',
        'SELECT "full name" FROM singer',
        'SELECT id FROM singer WHERE name LIKE "A%"',
        'SELECT id FROM singer WHERE name NOT IN ("Ada", "Bo")',
        'SELECT id FROM singer WHERE name BETWEEN "A" AND "B"',
        'SELECT id FROM singer WHERE lower(name) = ("ada")',
        'SELECT id FROM singer WHERE name = "Ada" COLLATE NOCASE',
        'SELECT id FROM singer WHERE id > 1 AND NOT name <> "Ada"',
        "SELECT id FROM singer WHERE name = coalesce(\"Ada\", 'Bo')",
        'SELECT CASE WHEN name = "Ada" THEN 1 END FROM singer',
        'SELECT count(*) FROM singer GROUP BY id HAVING max(name) = "Ada"',
        'SELECT s."who" FROM (SELECT name AS "who" FROM singer) AS s WHERE "who" = "Ada"',
        'WITH s("who") AS (SELECT name FROM singer) SELECT "who" FROM s',
        'SELECT name AS "n n" FROM singer ORDER BY "n n"',
        'SELECT id FROM song WHERE id IN (SELECT id FROM singer WHERE name = "Ada")',
    ],
)
def test_text_where_text_may_stand(sql):
    refuse_columns_as_text(sql, COLUMNS)


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT "nmae" FROM singer',
        'SELECT "nmae" AS n FROM singer',
        'SELECT ("nmae") FROM singer',
        'SELECT DISTINCT "nmae" FROM singer',
        'SELECT "title" FROM singer',  # a column of another table
        'SELECT count("nmae") FROM singer',
        'SELECT count(DISTINCT "nmae") FROM singer',
        "SELECT id FROM singer WHERE \"nmae\" = 'Ada'",
        'SELECT id FROM singer WHERE "nmae" = "Ada"',
        "SELECT id FROM singer WHERE 'Ada' = \"nmae\"",
        "SELECT id FROM singer WHERE \"nmae\" LIKE 'A%'",
        "SELECT id FROM singer WHERE \"nmae\" IN ('Ada')",
        "SELECT id FROM singer WHERE \"nmae\" BETWEEN 'A' AND 'B'",
        'SELECT id FROM singer WHERE "nmae" IS NULL',
        'SELECT id FROM singer ORDER BY "nmae" DESC',
        'SELECT count(*) FROM singer GROUP BY "nmae"',
        'SELECT id FROM singer WHERE id = 1 UNION SELECT "nmae" FROM singer',
        'SELECT id FROM singer WHERE name = "Ada" ORDER BY "nmae"',
        'SELECT id FROM song WHERE id IN (SELECT "nmae" FROM singer)',
    ],
)
def test_no_text_where_a_column_is_meant(sql):
    with pytest.raises(Refused) as caught:
        refuse_columns_as_text(sql, COLUMNS)
    assert caught.value.reason == "unknown_column"
    assert "no such column" in caught.value.detail


@pytest.mark.parametrize(
    ("sql", "detail"),
    [
        ('SELECT "a" FROM singer WHERE', "cannot be read"),
        ("SELECT " + "(" * 3000 + '"a"' + ")" * 3000, "cannot be read"),
        ('SELECT "a", ' + "1 + " * 10_000 + "1", "too long"),
    ],
)
def test_what_cannot_be_looked_into_is_refused(sql, detail):
    with pytest.raises(Refused, match=detail):
        refuse_columns_as_text(sql, COLUMNS)


@given(st.text(alphabet="abz ;-'%", min_size=1, max_size=8))
def test_any_text_may_be_compared_and_none_may_be_selected(text):
    refuse_columns_as_text(f'SELECT id FROM singer WHERE name = "x{text}"', COLUMNS)
    with pytest.raises(Refused):
        refuse_columns_as_text(f'SELECT "x{text}" FROM singer', COLUMNS)
