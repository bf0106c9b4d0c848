"""What a scope takes is what SQLite prepares, and it is refused where that first becomes certain."""

import apsw
import pytest

from slm.generate.constrain.scope import SchemaScope
from slm.sql.schema import schema_of

GOOD = """
SELECT name FROM client
SELECT DISTINCT c.name AS who FROM client AS c JOIN sale AS s ON c.id = s.client_id WHERE s.total > 3 ORDER BY who DESC
SELECT count(*) , city FROM client GROUP BY city HAVING count(*) > 1 ORDER BY count(*) LIMIT 1
SELECT T1.name FROM client AS T1 WHERE NOT EXISTS (SELECT 1 FROM sale WHERE client_id = T1.id)
SELECT name FROM client WHERE id NOT IN (SELECT client_id FROM sale)
SELECT x.city FROM (SELECT count(*) AS n, city FROM client GROUP BY city) AS x WHERE x.n > 1 AND n < 9
SELECT name FROM client UNION SELECT day FROM sale ORDER BY name
SELECT city FROM client INTERSECT SELECT city FROM "odd table"
SELECT "a b" FROM "odd table" WHERE "order" LIKE 'x!%' ESCAPE '!'
SELECT (SELECT max(total) FROM sale WHERE sale.client_id = client.id) FROM client
SELECT id FROM client JOIN sale USING (id)
SELECT sum(CASE WHEN total IS NOT NULL THEN 1 ELSE 0 END) * 100.0 / count(*) FROM sale
SELECT total AS t FROM sale WHERE t BETWEEN 1 AND 2 AND day = '2020'
SELECT client.* FROM client , sale
SELECT name FROM client WHERE id = (SELECT * FROM flag)
SELECT count(*) AS n FROM client ORDER BY n + 1
SELECT cast(total AS integer) FROM sale ORDER BY 1
SELECT name FROM client WHERE id BETWEEN -1 AND 0 AND 0 < id OR 1 AND id ORDER BY 1 , id + 0 , id = 0 AND 1.5
""".strip().split("\n")

# The bar stands where a query is certain to fail; what stands before it may go on.
REFUSED = """
SELECT name FROM sale| WHERE total > 1
SELECT client.total|, name FROM client
SELECT c.total, c.na|me FROM client AS c
SELECT c.name FROM sale AS c| JOIN client
SELECT c.name FROM client| WHERE id = 1
SELECT id FROM client JOIN sale| ON client_id = 1
SELECT name FROM client WHERE tot|al = 1
SELECT name FROM client AS c WHERE client|.id = 1
SELECT name FROM client WHERE id IN (SELECT id, |day FROM sale)
SELECT name FROM client UNION SELECT day, |total FROM sale
SELECT name, city FROM client UNION SELECT day| FROM sale
SELECT name FROM client WHERE coun|t(*) > 1
SELECT count(*) AS n FROM client WHERE n| > 1
SELECT sum(cou|nt(*)) FROM client
SELECT name FROM client ORDER BY cou|nt(*)
SELECT name FROM client ORDER BY 2| DESC
SELECT name FROM client UNION SELECT day FROM sale ORDER BY t|otal
SELECT name FROM client, client|
SELECT name FROM nowhere|
SELECT name FROM client WHERE "nam|x" = 1
SELECT name FROM client WHERE id = 1an|d id = 2
SELECT name FROM client WHERE id = (SELECT *| FROM sale, client)
SELECT name FROM clientW|HERE id = 1
SELECT client.* FROM sale| WHERE id = 1
SELECT total AS total|
SELECT total AS total FROM client| WHERE total > 1
SELECT 1 FROM client JOIN sale ON total > 1 AND name = '' JOIN flag JOIN "odd table" ON city| = ''
SELECT 1 FROM client JOIN sale ON city = day JOIN "odd table"| ON 1 = 1
SELECT name FROM client ORDER BY '' IS| NULL
SELECT name FROM client GROUP BY (-1.5) IS| NULL
SELECT name FROM client ORDER BY -1| DESC
SELECT name FROM client ORDER BY (2)|, id
SELECT name FROM client GROUP BY city AND 0|, id
SELECT name FROM client ORDER BY (city AND (00)|)
SELECT name FROM client ORDER BY 0 AND| city
SELECT name FROM client ORDER BY id BETWEEN 0 AND 1 AND 0|
SELECT name  |FROM client
 |SELECT name FROM client
""".strip("\n").split("\n")


def prepares(connection: apsw.Connection, sql: str) -> bool:
    try:
        connection.execute(f"EXPLAIN {sql}")
    except apsw.Error:
        return False
    return True


@pytest.mark.parametrize("sql", GOOD)
def test_every_beginning_of_a_good_query_is_viable(shop, scope, sql):
    assert prepares(shop, sql)
    assert [end for end in range(len(sql) + 1) if not scope.viable(sql[:end], finished=False)] == []
    assert scope.viable(sql, finished=True)
    assert scope.viable(f"{sql};", finished=True)


@pytest.mark.parametrize("marked", REFUSED)
def test_a_bad_query_is_refused_early_and_not_before(shop, scope, marked):
    sql, place = marked.replace("|", ""), marked.index("|")
    broken = not sql.startswith(" ") and "  " not in sql
    assert not (broken and prepares(shop, sql))
    viable = [scope.viable(sql[:end], finished=False) for end in range(len(sql) + 1)]
    finished = scope.viable(sql, finished=True)
    assert not finished
    assert all(viable[: place + 1]) or viable.index(False) >= place - 6, sql[: viable.index(False)]


@pytest.mark.parametrize("sql", ["SELECT name FROM client WHERE", "SELECT name", "SELECT 'abc", "", "SELECT na"])
def test_an_unfinished_query_cannot_end(scope, sql):
    assert scope.viable(sql, finished=False)
    assert not scope.viable(sql, finished=True)


@pytest.mark.parametrize(
    "sql", ["SELECT c.name FROM client AS c JOIN sale AS c", "SELECT name FROM client WHERE id IS 1"]
)
def test_what_sqlite_takes_and_no_answer_needs_is_refused(shop, scope, sql):
    assert prepares(shop, sql)
    assert not scope.viable(sql, finished=True)


def test_text_in_double_quotes_where_a_suite_has_it(shop):
    sql = 'SELECT name FROM client WHERE city = "Rome"'
    assert SchemaScope(schema_of(shop), double_quoted_text=True).viable(sql, finished=True)
    assert not SchemaScope(schema_of(shop)).viable(sql, finished=True)
