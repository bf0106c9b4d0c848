"""The Python example of docs/evaluating.md prints what the page says."""

import contextlib
import io
import os
from pathlib import Path

import apsw

PAGE = Path(__file__).parents[3] / "docs" / "evaluating.md"


def block(language: str) -> str:
    return PAGE.read_text(encoding="utf-8").rpartition(f"```{language}\n")[2].partition("```")[0]


def test_the_example(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "shop.sqlite"))
    connection.execute(
        "CREATE TABLE customers(id INTEGER); CREATE TABLE orders(id INTEGER); INSERT INTO orders VALUES(1)"
    )
    printed = io.StringIO()
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(block("python"), str(PAGE), "exec"), {})  # noqa: S102
    finally:
        os.chdir(here)
    assert printed.getvalue() == block("text")
