"""Spider's criteria, and the shares they give on Spider dev."""

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from slm.sql import difficulty


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT count(*) FROM singer", "easy"),
        ("SELECT name FROM t WHERE a = 1", "easy"),
        ("SELECT name FROM t JOIN u ON t.id = u.id", "easy"),
        ("SELECT name, age FROM t ORDER BY age", "medium"),
        ("SELECT t.a FROM t JOIN u ON t.id = u.id WHERE u.b LIKE '%x%'", "hard"),
        ("SELECT a FROM t WHERE b = 1 OR c = 2", "medium"),
        ("SELECT a, count(*) FROM t WHERE b = 1 GROUP BY a ORDER BY count(*) DESC", "hard"),
        ("SELECT a FROM t WHERE b IN (SELECT c FROM u)", "hard"),
        ("SELECT a FROM t WHERE b > (SELECT avg(c) FROM u WHERE d IN (SELECT e FROM v))", "hard"),
        ("SELECT a FROM t WHERE b IN (SELECT c FROM u UNION SELECT d FROM v)", "hard"),
        ("SELECT a FROM t UNION SELECT b FROM u", "hard"),
        ("SELECT a FROM t WHERE x = 1 GROUP BY a UNION SELECT b FROM u", "extra"),
        ("SELECT a, b FROM t WHERE c = (SELECT max(d) FROM u)", "extra"),
        ("SELECT a FROM t JOIN u ON t.x = u.x JOIN v ON u.y = v.y WHERE z = 1 ORDER BY a LIMIT 1", "extra"),
        ("WITH x AS (SELECT a FROM t) SELECT * FROM x", "easy"),
        ("SELECT FROM WHERE", "unknown"),
        ("DELETE FROM t", "unknown"),
        ("", "unknown"),
    ],
)
def test_spiders_criteria(sql: str, expected: str) -> None:
    assert difficulty(sql) == expected


@pytest.mark.skipif("SLM_DATA" not in os.environ, reason="SLM_DATA is not set: no Spider questions")
def test_spider_dev_has_the_published_shares() -> None:
    file = Path(os.environ["SLM_DATA"]) / "spider" / "dev.jsonl"
    if not file.is_file():
        pytest.skip("SLM_DATA holds no Spider questions")
    counts = Counter(difficulty(json.loads(line)["query"]) for line in file.read_text().splitlines())
    # Published with the data set: 248 easy, 446 medium, 174 hard and 166 extra.
    assert counts == {"easy": 248, "medium": 446, "hard": 174, "extra": 166}
