"""Published results on disk, and whether the page shows them."""

import os
from pathlib import Path

from pydantic import ValidationError

from slm.errors import DataError
from slm.leaderboard.render import render_leaderboard
from slm.records import Result


def read_results(folder: Path) -> list[Result]:
    """Every `*.json` below a folder; none if there is no folder. Raises DataError with the file that is no result."""
    return [read_result(path) for path in _files(folder)]


def make_page(page: Path, results: Path) -> str:
    """What the results make of the page: each row leads to its result, as seen from where the page lies."""
    start, files = page.resolve().parent, _files(results)
    links = [Path(os.path.relpath(file.resolve(), start)).as_posix() for file in files]
    return render_leaderboard([read_result(file) for file in files], links)


def is_stale(page: Path, results: Path) -> bool:
    """Whether the page is missing or differs from what the results make."""
    return not page.is_file() or page.read_text(encoding="utf-8") != make_page(page, results)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.json"))


def read_result(path: Path) -> Result:
    """A published result. Raises DataError with the file that is none."""
    try:
        return Result.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise DataError(
            f"key {key!r}: {first['msg']}" if key else first["msg"],
            where=str(path),
            expected="a result as `slm eval --publish` writes it",
            hint="publish it again, or remove the file",
        ) from None
