"""docs/judging.md: each example of a rule gets the verdict that stands there; the Python example prints its text."""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from slm.records import Verdict
from slm.sql import Pair, judge

PAGE = Path(__file__).parents[3] / "docs" / "judging.md"
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def examples() -> Iterator[tuple[Pair, str]]:
    """Pairs and the reasons that the page gives for them."""
    (script,) = blocks("sql")
    for number, block in enumerate("\n".join(blocks("judged")).split("\n\n"), 1):
        lines = block.strip().splitlines()
        gold, prediction = (line.partition(": ")[2] for line in lines[:2])
        quoted = "double_quoted_text" in lines[2:-1]
        pair = Pair(str(number), (gold,), prediction, script=(script, ""), double_quoted_text=quoted)
        yield pair, lines[-1].removeprefix("=> ")


EXAMPLES = list(examples())


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    store = tmp_path_factory.mktemp("store") / "judge.sqlite"
    return {each.example_id: each for each in judge([pair for pair, _ in EXAMPLES], instances=16, store=store)}


@pytest.mark.parametrize(("pair", "reason"), EXAMPLES, ids=lambda value: value.id if isinstance(value, Pair) else value)
def test_rule(pair: Pair, reason: str, verdicts: dict[str, Verdict]) -> None:
    assert verdicts[pair.id].reason == reason, f"{pair.gold}\n{pair.prediction}\n{verdicts[pair.id]}"


def test_each_rule_has_examples() -> None:
    rules = re.findall(r"^\*\*(\d+)\.", TEXT, re.MULTILINE)
    assert rules == [str(number) for number in range(1, 11)]
    assert len(EXAMPLES) >= 35


def test_the_example_in_python(tmp_path: Path) -> None:
    connection = apsw.Connection(str(tmp_path / "shop.sqlite"))
    connection.execute(
        "CREATE TABLE customers(id INTEGER); CREATE TABLE orders(id INTEGER NOT NULL); INSERT INTO orders VALUES(1)"
    )
    printed = io.StringIO()
    here = Path.cwd()
    os.chdir(tmp_path)
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(blocks("python")[0], str(PAGE), "exec"), {})  # noqa: S102
    finally:
        os.chdir(here)
    assert printed.getvalue() == blocks("text")[0]
