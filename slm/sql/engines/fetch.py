"""What engines with a client library share: a deadline kept from another thread, and rows fetched within limits."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from slm.sql.results import Refused, Row

_BATCH_ROWS = 256
_MAX_CELLS = 2_000_000
_MAX_TEXT_BYTES = 64 << 20
_AGAIN_S = 0.05  # an interrupt that comes before the engine has started is lost, so it is repeated


@contextmanager
def deadline(seconds: float, stop: Callable[[], None]) -> Iterator[threading.Event]:
    """Call `stop` from another thread after `seconds`, and again until the block ends. Gives whether it was called."""
    done, late = threading.Event(), threading.Event()

    def watch() -> None:
        wait_s = seconds
        while not done.wait(wait_s):
            late.set()
            stop()
            wait_s = _AGAIN_S

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield late
    finally:
        done.set()
        thread.join()


def fetch_rows(fetch: Callable[[int], list[Row]], columns: int, max_rows: int) -> list[Row]:
    """All rows, by `fetch(count)` until it gives none. Raises Refused: `too_many_rows`, or `memory` for long text."""
    limit = min(max_rows, _MAX_CELLS // max(1, columns))
    rows: list[Row] = []
    text_bytes = 0
    while batch := fetch(min(_BATCH_ROWS, limit + 1 - len(rows))):
        rows += batch
        if len(rows) > limit:
            raise Refused("too_many_rows", f"more than {limit:,} rows of {columns} cells")
        text_bytes += sum([len(cell) for row in batch for cell in row if isinstance(cell, str | bytes)])
        if text_bytes > _MAX_TEXT_BYTES:
            raise Refused("memory", f"more than {_MAX_TEXT_BYTES >> 20} MiB of text in the result")
    return rows


def checked_text(sql: str) -> str:
    """The query, if a client library can pass it on whole. Raises Refused: `syntax`."""
    if "\0" in sql:
        raise Refused("syntax", "the query holds a NUL character")
    try:
        sql.encode()
    except UnicodeEncodeError:
        raise Refused("syntax", "the query is not valid Unicode text") from None
    return sql
