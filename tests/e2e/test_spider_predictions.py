"""Published answers to Spider dev, judged by us, against what the official scripts say of them.

The official test-suite script with its default (DISTINCT removed from both sides) reads .8323, .8272, .7840 and .8560;
told to keep DISTINCT it reads .8313, .8045, .7737 and .8374. Ours keeps it, and differs in two questions:
one where an id is text in one table and the same number in another (all four are right), and a query of C3 that the
script cuts at a tab inside it.
"""

from pathlib import Path

import pytest

from slm.data import Dataset, load_dataset
from slm.evaluate import evaluate, read_predictions_file
from slm.paths import data_home
from slm.records import Generation, Result
from slm.tasks import TextToSql

HOME = data_home()
pytestmark = pytest.mark.skipif(
    HOME is None or not (HOME / "spider" / "dev.jsonl").is_file(), reason="SLM_DATA holds no Spider dev questions"
)


@pytest.fixture(scope="module")
def spider() -> Dataset:
    return load_dataset("spider:dev")


def judged(spider: Dataset, answers: dict[str, Generation]) -> Result:
    return evaluate(spider, answers, TextToSql(spider.contexts), run="x", model="x", card={})[0]


@pytest.mark.parametrize(
    ("name", "right"), [("dail_gpt4", 809), ("c3_gpt35", 784), ("codes_1b", 753), ("codes_7b", 815)]
)
def test_published_answers(spider: Dataset, name: str, right: int) -> None:
    file = Path(str(HOME)) / "predictions" / "spider-dev" / f"{name}.txt"
    if not file.is_file():
        pytest.skip(f"SLM_DATA holds no {file.name}")
    result = judged(spider, read_predictions_file(file, spider))
    assert (result.accuracy.right, result.accuracy.total, result.unavailable) == (right, 972, 62)


def test_every_gold_is_right(spider: Dataset) -> None:
    golds = {each.id: Generation(example_id=each.id, text=each.targets[0]) for each in spider.examples}
    assert judged(spider, golds).by_reason == {"correct": 972, "database_unavailable": 62}
