"""The same small shop in SQLite, DuckDB and PostgreSQL."""

import sqlite3
from pathlib import Path

import pytest

from load import into_duckdb
from postgres import running_server

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def shop_script():
    return (HERE / "shop.sql").read_text()


@pytest.fixture(scope="session")
def shop_sqlite(shop_script, tmp_path_factory):
    path = tmp_path_factory.mktemp("shop") / "shop.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(shop_script)
    connection.close()
    return path


@pytest.fixture(scope="session")
def shop_duckdb(shop_sqlite):
    path = shop_sqlite.with_suffix(".duckdb")
    into_duckdb(shop_sqlite, path)
    return path


@pytest.fixture(scope="session")
def server():
    with running_server() as started:
        yield started


@pytest.fixture(scope="session")
def shop_postgres(server, shop_script):
    """The DSN of a role that may read and write the shop's tables."""
    return server.create("shop", shop_script + "CREATE SEQUENCE counter;")
