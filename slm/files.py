"""Reading and writing files so that nothing already computed is lost."""

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from slm.errors import DataError, DiskFullError

M = TypeVar("M", bound=BaseModel)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn 'no space left on device' into a message that says which file, and what is still good."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFullError(
            f"{path}: the disk is full; nothing that was complete has been changed\n"
            f"  try: free some space in {path.parent}, then run the same command again: it continues"
        ) from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and is removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with disk_errors(path):
            yield temporary
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `path` atomically as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: BaseModel | Mapping[str, Any] | list[Any]) -> None:
    """Write `path` atomically as indented JSON with sorted keys."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    write_text(path, json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def read_json_lines(path: Path, *, torn_tail: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSON Lines file; blank lines are skipped.

    With `torn_tail` a last line without a newline, left by a killed process, is ignored.
    Raises DataError with `file:line` for a missing file, a line that is not JSON, or not an object.
    """
    if not path.is_file():
        raise DataError("no such file", where=str(path), expected="a JSON Lines file, one object a line")
    with path.open("rb") as handle:
        for number, raw in enumerate(handle, 1):
            if torn_tail and not raw.endswith(b"\n"):
                return
            if not raw.strip():
                continue
            try:
                value = json.loads(raw)
            except (ValueError, UnicodeDecodeError) as error:
                raise DataError(
                    f"not readable as JSON: {error}", where=f"{path}:{number}", expected="one JSON object on the line"
                ) from None
            if not isinstance(value, dict):
                raise DataError("not a JSON object", where=f"{path}:{number}", expected='a line like {"key": "value"}')
            yield number, value


def read_records(path: Path, kind: type[M], *, torn_tail: bool = False) -> Iterator[M]:
    """Yield one validated record a line; raises DataError with `file:line`."""
    for number, value in read_json_lines(path, torn_tail=torn_tail):
        try:
            yield kind.model_validate(value)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise DataError(
                f"key {key!r}: {first['msg']}", where=f"{path}:{number}", expected=f"a {kind.__name__} record"
            ) from None


class JsonLinesWriter:
    """Appends records, each flushed to the disk as it comes. A torn last line left by a kill is cut off first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with disk_errors(path):
            # Unbuffered: what a full disk refused must not be tried again, and fail again, on closing.
            self._handle = path.open("ab+", buffering=0)
            self._cut_torn_tail()

    def _cut_torn_tail(self) -> None:
        self._handle.seek(0)
        content = self._handle.read()
        if content and not content.endswith(b"\n"):
            self._handle.truncate(content.rfind(b"\n") + 1)

    def append(self, value: BaseModel | Mapping[str, Any]) -> None:
        """Write one line; it is on the disk when this returns."""
        line = value.model_dump_json() if isinstance(value, BaseModel) else json.dumps(value, ensure_ascii=False)
        self.append_lines([line])

    def append_lines(self, lines: Sequence[str]) -> None:
        """Write lines of JSON that are there already; all are on the disk when this returns."""
        left = "".join(f"{line}\n" for line in lines).encode()
        with disk_errors(self.path):
            while left:  # a disk that is nearly full takes a part of it
                left = left[self._handle.write(left) :]
            os.fsync(self._handle.fileno())

    def __enter__(self) -> "JsonLinesWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.close()


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest(value: Any) -> str:
    """Hex sha256 of a JSON-like value; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
