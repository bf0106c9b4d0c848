"""A small shop, and what answers requests in this process instead of a worker's."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from slm.sql.engines.sqlite import database_uri
from slm.sql.sandbox.heartbeat import SIZE, Heartbeat
from slm.sql.sandbox.judging import Judge

SHOP = """
CREATE TABLE maker(id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE item(
  id INTEGER PRIMARY KEY, name TEXT NOT NULL, price INTEGER, maker_id INTEGER NOT NULL REFERENCES maker(id)
);
INSERT INTO maker VALUES (1, 'Ada'), (2, 'Bo');
INSERT INTO item VALUES (1, 'pen', 2, 1), (2, 'ink', 5, 1), (3, 'mug', 5, 2), (4, 'pot', NULL, 2);
"""

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def heartbeat() -> Iterator[Heartbeat]:
    with tempfile.TemporaryFile() as memory:
        memory.truncate(SIZE)
        beating = Heartbeat(memory.fileno())
        yield beating
        beating.start(-1)  # its alarm would end the tests


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sqlite"
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA synchronous = OFF; {SHOP}").fetchall()
    connection.close()
    return path


@pytest.fixture
def request_for(shop: Path) -> Callable[..., dict[str, Any]]:
    """`request_for(key=value …)`: a request about the shop."""

    def make(**keys: Any) -> dict[str, Any]:
        return {"engine": "sqlite", "source": database_uri(shop), "double_quoted_text": False, **keys}

    return make


@pytest.fixture
def judge(heartbeat: Heartbeat) -> Judge:
    return Judge(heartbeat, timeout_s=5.0, max_rows=1000)


@pytest.fixture
def ask(judge: Judge, request_for: Callable[..., dict[str, Any]]) -> Ask:
    """`ask(prediction, *golds, key=value …)`: the parts of a verdict."""

    def ask(prediction: str, *golds: str, **keys: Any) -> dict[str, Any]:
        return judge(request_for(prediction=prediction, golds=list(golds), **keys))

    return ask
