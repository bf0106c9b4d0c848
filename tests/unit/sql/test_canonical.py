"""A query's canonical form: one way to write what is meant, and the same result."""

from itertools import islice

import apsw
import pytest

from slm.data import load_dataset
from slm.errors import DataError
from slm.sql import canonical, read_schema
from slm.sql.schema import schema_of


@pytest.fixture(scope="module")
def schema():
    connection = apsw.Connection(":memory:")
    connection.execute(
        'CREATE TABLE Singer(Singer_ID INTEGER, Name TEXT, Year INTEGER, "Net Worth" REAL, "max" INTEGER)'
    )
    connection.execute("CREATE TABLE concert(concert_id INTEGER, singer_id INTEGER, count INTEGER)")
    return schema_of(connection)


@pytest.mark.parametrize(
    ("written", "form"),
    [
        ("select count( * )  from singer ;", "SELECT COUNT(*) FROM Singer"),
        ('SELECT name FROM singer WHERE YEAR  >=  -3 AND NAME = "O\'Hara"', None),
        ("SELECT t1.NAME , T1.year FROM Singer as t1", "SELECT T1.Name, T1.Year FROM Singer AS T1"),
        ('SELECT "net worth" FROM singer', 'SELECT "Net Worth" FROM Singer'),
        ('SELECT Name FROM Singer WHERE Name IN ("a","b")', "SELECT Name FROM Singer WHERE Name IN ('a', 'b')"),
        ('SELECT count(*) AS "of all" FROM Singer', 'SELECT COUNT(*) AS "of all" FROM Singer'),
        ("SELECT max(max), Count FROM Singer, Concert", "SELECT MAX(max), count FROM Singer, concert"),
        ("SELECT T1.count FROM concert AS T1", "SELECT T1.count FROM concert AS T1"),
        ("SELECT strftime('%Y', 'A  b') FROM Singer", "SELECT strftime('%Y', 'A  b') FROM Singer"),
        ("SELECT 'unclosed", "SELECT 'unclosed"),
        ("<|im_end|><|eot|>", "<|im_end|><|eot|>"),
    ],
)
def test_one_form(schema, written, form):
    form = form or "SELECT Name FROM Singer WHERE Year >= -3 AND Name = 'O''Hara'"
    assert canonical(written, schema) == form
    assert canonical(form, schema) == form


def test_a_name_of_several_spellings_stays_as_it_is_written(schema):
    assert canonical("SELECT singer_id FROM concert", schema) == "SELECT singer_id FROM concert"
    assert canonical("SELECT Singer_ID FROM Singer", schema) == "SELECT Singer_ID FROM Singer"


@pytest.mark.parametrize("reference", ["roastery:train", "spider:train", "spider:dev"])
def test_the_golds_give_the_same_rows(reference):
    try:
        data = load_dataset(reference)
    except DataError as error:
        pytest.skip(str(error))
    changed = 0
    connections = {
        name: apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY) for name, path in data.contexts.items()
    }
    schemas = {name: read_schema(path) for name, path in data.contexts.items()}
    for example in data.available:
        written, schema = example.targets[0], schemas[example.context_id]
        form = canonical(written, schema)
        changed += form != written
        assert canonical(form, schema) == form
        connection = connections[example.context_id]
        assert _rows(connection, form) == _rows(connection, written), example.id
    assert changed or reference == "roastery:train"


def _rows(connection: apsw.Connection, sql: str) -> object:
    try:
        return list(islice(connection.execute(sql), 2000))
    except apsw.SQLError:
        return "error"
