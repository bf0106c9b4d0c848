"""What the judge made beyond a verdict, kept for the next run: further instances of databases, and proofs.

One SQLite file, by default in the cache. It can be deleted at any time; what is missing is made again.
"""

import base64
import hashlib
import json
import warnings
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import apsw

from slm.paths import cache_home


class Store:
    """The file as the judge's own process writes it. One that cannot be used keeps nothing, with a warning."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = (path or cache_home() / "judge.sqlite").absolute()
        self._connection: apsw.Connection | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = _opened(self.path)
        except (OSError, apsw.Error) as error:
            warnings.warn(
                f"{self.path} cannot be used ({error}): further instances and proofs are made anew each time",
                stacklevel=2,
            )

    def put(self, made: dict[str, str]) -> None:
        """Keep values, given in base 64, by their keys. What cannot be kept (a full disk) is made again next time."""
        if self._connection is None:
            return
        rows = [(key, base64.b64decode(value)) for key, value in made.items()]
        with suppress(apsw.Error), self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO made VALUES(?, ?)", rows)

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()


def _opened(path: Path) -> apsw.Connection:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(10_000)
    connection.execute(
        "PRAGMA synchronous = OFF; CREATE TABLE IF NOT EXISTS made(key TEXT PRIMARY KEY, value BLOB)"
    ).fetchall()
    return connection


class StoreReader:
    """The file as workers read it."""

    def __init__(self, path: str) -> None:
        self._connection: apsw.Connection | None = None
        with suppress(apsw.Error):
            uri = f"{Path(path).as_uri()}?mode=ro"
            self._connection = apsw.Connection(uri, flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
            self._connection.set_busy_timeout(1000)

    def get(self, key: str) -> bytes | None:
        """The value; None where there is none, or it cannot be read now."""
        with suppress(apsw.Error):
            rows = self._connection.execute("SELECT value FROM made WHERE key = ?", (key,)) if self._connection else ()
            for (value,) in rows:
                return bytes(value)
        return None


def store_key(*parts: Any) -> str:
    """The key of something made from these parts by this code: other code makes it anew."""
    return hashlib.sha256(json.dumps([_code(), *parts]).encode()).hexdigest()


@lru_cache(maxsize=1)
def _code() -> str:
    """Hex sha256 of the modules that make what is kept."""
    here = Path(__file__).parent
    files = sorted(path for name in ("instances", "prove", "golds", "compare") for path in (here / name).glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
