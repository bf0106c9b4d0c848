"""Published answers to Spider dev, judged by us, and as public scripts read them.

The test-suite script reads .8323, .8272, .7840 and .8560 on the questions whose database is there; BIRD's, as the
package `llama-text2sql-eval` has it, calls 788, 769, 743 and 807 answers right. docs/judging.md explains our own.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from slm.data import Dataset, load_dataset
from slm.evaluate import evaluate, read_predictions_file
from slm.paths import data_home
from slm.records import Generation, Result, Verdict
from slm.sql import extract_sql
from slm.tasks import TextToSql

HOME = data_home()
pytestmark = pytest.mark.skipif(
    HOME is None or not (HOME / "spider" / "dev.jsonl").is_file(), reason="SLM_DATA holds no Spider dev questions"
)


@pytest.fixture(scope="module")
def spider() -> Dataset:
    return load_dataset("spider:dev")


def judged(spider: Dataset, answers: dict[str, Generation]) -> tuple[Result, list[Verdict]]:
    task = TextToSql(spider.contexts, double_quoted_text=spider.double_quoted_text)
    return evaluate(spider, answers, task, run="x", model="x", card={})


def as_bird_reads(database: Path, gold: str, prediction: str) -> bool:
    """BIRD's rule, as its script applies it with Python's SQLite."""
    with closing(sqlite3.connect(f"{database.as_uri()}?immutable=1", uri=True)) as connection:
        try:
            ours, theirs = (set(connection.execute(sql).fetchall()) for sql in (gold, prediction))
        except sqlite3.Error:
            return False
        return ours == theirs


@pytest.mark.parametrize(
    ("name", "right", "undetermined", "bird", "test_suite"),
    [
        ("dail_gpt4", 774, 41, 788, 0.8323),
        ("c3_gpt35", 748, 45, 769, 0.8272),
        ("codes_1b", 721, 38, 743, 0.7840),
        ("codes_7b", 779, 40, 807, 0.8560),
    ],
)
def test_published_answers(
    spider: Dataset, name: str, right: int, undetermined: int, bird: int, test_suite: float
) -> None:
    file = Path(str(HOME)) / "predictions" / "spider-dev" / f"{name}.txt"
    if not file.is_file():
        pytest.skip(f"SLM_DATA holds no {file.name}")
    answers = read_predictions_file(file, spider)
    result, verdicts = judged(spider, answers)
    assert (result.accuracy.right, result.undetermined) == (right, undetermined)
    assert (result.accuracy.total, result.unavailable) == (972, 62)
    assert result.readings["bird"].right == bird
    assert round(result.readings["test_suite"].value or 0, 4) == test_suite
    for example, verdict in zip(spider.examples, verdicts, strict=True):
        if verdict.readings:
            text = extract_sql(answers[example.id].text)
            expected = as_bird_reads(spider.contexts[example.context_id], example.targets[0], text)
            assert verdict.readings.bird == expected, example.id


def test_every_gold_is_right(spider: Dataset) -> None:
    golds = {each.id: Generation(example_id=each.id, text=each.targets[0]) for each in spider.examples}
    result, _ = judged(spider, golds)
    assert set(result.by_reason) == {"correct", "gold_ambiguous", "both_empty", "database_unavailable"}
    assert result.accuracy.right + result.undetermined == 972
    assert result.readings["test_suite"].right == 972
