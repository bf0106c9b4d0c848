"""What is found in a query, and of which column."""

from pathlib import Path

import apsw
import pytest

from slm.sql.instances.constraints import Constraints, mine
from slm.sql.instances.literals import Wanted, find
from slm.sql.schema import read_schema


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Constraints:
    path: Path = tmp_path_factory.mktemp("shop") / "shop.sqlite"
    connection = apsw.Connection(str(path))
    connection.execute(
        "CREATE TABLE Item(Id INTEGER PRIMARY KEY, Name TEXT, Price REAL, Day TEXT);"
        "CREATE TABLE Sale(Id INTEGER PRIMARY KEY, Item_Id INTEGER, Amount INTEGER)"
    )
    return mine(connection, read_schema(path))


ID, NAME, PRICE, DAY = ("Item", "Id"), ("Item", "Name"), ("Item", "Price"), ("Item", "Day")
ITEM_ID, AMOUNT = ("Sale", "Item_Id"), ("Sale", "Amount")


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        ("SELECT 1 FROM item WHERE id > 5", [Wanted(ID, (5,), (6,), (5, 4))]),
        ("SELECT 1 FROM item WHERE 5 = ID", [Wanted(ID, (5,), (5,), (4, 6))]),
        ("SELECT 1 FROM item WHERE id = -5", [Wanted(ID, (-5,), (-5,), (-6, -4))]),
        ("SELECT 1 FROM item WHERE price <= 2.5", [Wanted(PRICE, (2.5,), (2.5, 2.4, 1.5), (2.6, 3.5))]),
        ("SELECT 1 FROM item AS t WHERE t.name = 'x'", [Wanted(NAME, ("x",), ("x",), ())]),
        ('SELECT 1 FROM item WHERE name = "x"', [Wanted(NAME, ("x",), ("x",), ())]),
        ("SELECT 1 FROM item WHERE lower(name) = 'x'", [Wanted(NAME, ("x",), ("x",), ())]),
        ("SELECT 1 FROM item WHERE day < '2020-03-01'",
         [Wanted(DAY, ("2020-03-01",), ("2020-02-29",), ("2020-03-01", "2020-03-02"))]),
        ("SELECT 1 FROM sale WHERE amount BETWEEN 2 AND 4",
         [Wanted(AMOUNT, (2,), (2,), (1, 3)), Wanted(AMOUNT, (4,), (4,), (3, 5))]),
        ("SELECT 1 FROM sale WHERE amount IN (2, 9)",
         [Wanted(AMOUNT, (2,), (2,), (1, 3)), Wanted(AMOUNT, (9,), (9,), (8, 10))]),
        ("SELECT 1 FROM item WHERE name LIKE '%ab_'",
         [Wanted(NAME, (), ("aba", "xyabb"), ("ab", "abax"), ("%ab_",))]),
        ("SELECT 1 FROM item WHERE id IN (SELECT item_id FROM sale WHERE amount = 3)",
         [Wanted(AMOUNT, (3,), (3,), (2, 4))]),
        ("SELECT 1 FROM (SELECT * FROM item) AS t WHERE t.id = 1", []),
        ("SELECT 1 FROM item WHERE name IS NULL", []),
    ],
)  # fmt: skip
def test_values_and_their_columns(facts: Constraints, sql: str, wanted: list[Wanted]) -> None:
    assert find(sql, facts).wanted == wanted


def test_joins_groups_order_and_limit(facts: Constraints) -> None:
    found = find(
        "SELECT T1.name FROM item AS T1 JOIN sale AS T2 ON T1.id = T2.item_id GROUP BY T2.item_id"
        " HAVING count(*) >= 3 ORDER BY T1.price DESC LIMIT 4",
        facts,
    )
    assert found.tables == ["Item", "Sale"]
    assert found.joins == [(ID, ITEM_ID)]
    assert (found.grouped, found.ordered, found.group_sizes, found.limit) == ([ITEM_ID], [PRICE], [3], 4)


def test_a_length_asks_for_texts(facts: Constraints) -> None:
    (wanted,) = find("SELECT id FROM item WHERE length(name) > 3", facts).wanted
    assert (wanted.given, wanted.match, wanted.near) == (("abc", "ab", "abcd"), ("abcd",), ("abc", "ab"))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT name FROM item WHERE id IN (SELECT item_id FROM sale)",
        "SELECT name FROM item AS i WHERE EXISTS (SELECT 1 FROM sale WHERE i.id = item_id)",
        "SELECT id FROM item EXCEPT SELECT item_id FROM sale",
    ],
)
def test_compared_columns_are_joins(facts: Constraints, sql: str) -> None:
    assert find(sql, facts).joins == [(ID, ITEM_ID)]


def test_a_query_that_cannot_be_read_asks_for_nothing(facts: Constraints) -> None:
    assert find("SELEC ((", facts).tables == []
