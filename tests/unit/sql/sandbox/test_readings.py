"""The readings of public scripts; `compare` tests what they make of two results, this what they run."""

import pytest

from slm.sql.engines.sqlite import database_uri
from slm.sql.sandbox.database import Database
from slm.sql.sandbox.readings import read_as_scripts

NOTHING = "SELECT name FROM item WHERE id > 9"
NAMES = "SELECT name FROM item"


@pytest.fixture
def read(shop):
    """`read(gold, prediction)`: (bird, test_suite); the file and its neighbours stay as they were."""
    database = Database("sqlite", database_uri(shop), double_quoted_text=False, timeout_s=5.0, max_rows=100)

    def read(gold: str, prediction: str) -> tuple[bool, bool]:
        before = {path: path.read_bytes() for path in shop.parent.iterdir()}
        found = read_as_scripts(database, gold, prediction, 0.3)
        assert {path: path.read_bytes() for path in shop.parent.iterdir()} == before
        return found["bird"], found["test_suite"]

    return read


@pytest.mark.parametrize(
    ("gold", "prediction", "bird", "test_suite"),
    [
        (NAMES, NAMES + " ORDER BY name DESC", True, True),
        # What BIRD's script sees after a prediction has written: the gold runs on what is left.
        (NOTHING, "DELETE FROM item", True, True),
        (NOTHING, "DELETE FROM item WHERE id = 1", True, True),
        (NAMES, "DELETE FROM item", True, False),
        (NAMES, "DELETE FROM item WHERE id = 1", False, False),
        (NOTHING, "DELETE FROM item RETURNING id", False, False),
        ("SELECT 'new' FROM item", "INSERT INTO item VALUES (9, 'new', 1, 1) RETURNING name", True, False),
        (NAMES, "DELETE FROM nosuch", False, False),
        (NAMES, "DROP TABLE item", False, False),  # and then the gold fails
        # The test-suite script takes DISTINCT out of both, cuts at a tab, and runs the first statement.
        ("SELECT DISTINCT price FROM item", "SELECT price FROM item", True, True),
        ("SELECT count(DISTINCT price) FROM item", "SELECT count(price) FROM item", False, True),
        ("SELECT count(price) FROM item", "SELECT count(DISTINCT price) FROM item", False, True),
        (NAMES, NAMES + " WHERE id = 1 UNION SELECT DISTINCT name FROM item", True, True),
        (NAMES, NAMES + "\tWHERE id = 1", False, True),
        (NAMES, NAMES + "; SELECT 1", False, True),
        (NAMES + "; SELECT 1", NAMES, False, True),
        ("SELECT price FROM item", "SELECT DISTINCT price FROM item", True, True),
        # Text that is not UTF-8 is an error to the one and loses its bad bytes in the other.
        ("SELECT CAST(x'41ff' AS TEXT)", "SELECT CAST(x'41ff' AS TEXT)", False, True),
        ("SELECT CAST(x'41ff' AS TEXT)", "SELECT 'A'", False, True),
        # Python's SQLite takes text in double quotes.
        ("SELECT id FROM maker WHERE name = 'Ada'", 'SELECT id FROM maker WHERE name = "Ada"', True, True),
        ("SELECT 'nmae' FROM maker", 'SELECT "nmae" FROM maker', True, True),
        ('SELECT "nmae" FROM maker', "SELECT 'nmae' FROM maker", True, True),
        # What fails is wrong.
        (NAMES, "SELECT nosuch FROM item", False, False),
        (NAMES, "nonsense", False, False),
        ("SELECT nosuch FROM item", "SELECT nosuch FROM item", False, False),
    ],
)
def test_readings(read, gold, prediction, bird, test_suite):
    assert read(gold, prediction) == (bird, test_suite)


@pytest.mark.parametrize("size", ["SELECT id FROM item a, item b, item c, item d", "SELECT zeroblob(900000000)"])
def test_what_our_limits_stop_is_wrong(read, size):
    assert read(NAMES, size) == (False, False)


def test_a_text_that_only_the_script_runs_has_its_own_deadline(read):
    """Without DISTINCT this goes on for ever."""
    endless = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r LIMIT {}) SELECT count(*) FROM r"
    limit = "(SELECT CASE count(DISTINCT 1) WHEN 1 THEN 1 ELSE -1 END FROM item)"
    assert read("SELECT 1", endless.format(limit)) == (True, False)
