"""Small SQLite databases in memory: a template with the shipped schema, and copies of it with rows."""

from collections.abc import Iterable, Sequence
from contextlib import suppress

import apsw

from slm.sql.results import Row
from slm.sql.schema import quoted

_PAGE_BYTES = 512  # the smallest there is; a table or index takes at least one page


def make_template(connection: apsw.Connection) -> tuple[bytes, set[str]]:
    """An image of a database with the tables, indexes and views of `connection` and no rows, and the lower-case names
    of its tables. What cannot be made, such as a virtual table whose module is missing, and triggers are left out.
    """
    empty = apsw.Connection(":memory:")
    empty.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 1)
    empty.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    names = set()
    found = connection.execute(
        "SELECT type, lower(name), sql FROM sqlite_schema WHERE sql IS NOT NULL AND type <> 'trigger'"
        " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY type = 'view', rowid"
    )
    for kind, name, sql in found:
        if kind == "table" and sql.lower().startswith("create virtual"):
            continue
        with suppress(apsw.Error):
            empty.execute(sql)
            if kind == "table":
                names.add(name)
    if not names:
        empty.execute("CREATE TABLE slm_nothing(x); DROP TABLE slm_nothing")  # an empty database has no image
    image = empty.serialize("main")
    empty.close()
    return image, names


def fill(template: bytes, rows: Iterable[tuple[str, Sequence[str], Sequence[Row]]], checks: Sequence[str]) -> bytes:
    """A copy of the template with rows: of each table its name, its columns and their cells.

    A row that the database refuses (a CHECK, say) is left out, and what then breaks one of the `checks`, statements
    that delete rows which refer to nothing, is deleted.
    """
    connection = apsw.Connection(":memory:")
    connection.deserialize("main", template)
    connection.config(apsw.SQLITE_DBCONFIG_DQS_DDL, 1)
    connection.execute("BEGIN")
    refused = False
    for table, columns, cells in rows:
        names, marks = ", ".join(map(quoted, columns)), ", ".join("?" * len(columns))
        sql = f"INSERT OR IGNORE INTO {quoted(table)}({names}) VALUES({marks})"
        before = connection.total_changes()
        try:
            connection.executemany(sql, cells)
        except (apsw.Error, OverflowError):  # an integer beyond 64 bits, from beside a literal at the very edge
            for row in cells[connection.total_changes() - before :]:
                with suppress(apsw.Error, OverflowError):
                    connection.execute(sql, row)
        refused = refused or connection.total_changes() - before < len(cells)
    deleted = -1
    while refused and deleted != connection.total_changes():
        deleted = connection.total_changes()
        for check in checks:
            connection.execute(check)
    connection.execute("COMMIT")
    image = connection.serialize("main")
    connection.close()
    return image
