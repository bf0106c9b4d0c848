"""What is counted as right, wrong and unavailable, and the interval around it."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from subprocess import run as run_process

import apsw
import pytest

from slm.data import Dataset
from slm.errors import DataError
from slm.evaluate import evaluate, read_result, write_result
from slm.evaluate.evaluate import accuracy
from slm.files import read_records
from slm.recipe import RunFolder
from slm.records import Example, Generation, Prompt, Result, Verdict
from slm.tasks import TextToSql


def example(number: int, context_id: str = "shop", **tags: str) -> Example:
    return Example(id=f"q{number}", context_id=context_id, question="?", targets=("SELECT 1",), tags=tags)


def dataset(*examples: Example, contexts: dict[str, Path] | None = None) -> Dataset:
    return Dataset("toy:test", examples, contexts or {}, "f00d", report_by=("seen", "difficulty"))


class ReadsVerdicts:
    """A task whose answers are the reasons of their verdicts."""

    def prompt(self, example: Example) -> Prompt:
        raise NotImplementedError

    def target(self, example: Example) -> str:
        raise NotImplementedError

    def grade(
        self, answers: Iterable[tuple[Example, str]], *, timeout_s: float, instances: int = 0
    ) -> Iterator[Verdict]:
        for each, text in answers:
            reason = text or "no_sql"
            correct = None if reason == "database_unavailable" else reason == "correct"
            yield Verdict(example_id=each.id, correct=correct, reason=reason)


def answers(*texts: str, **measured: float) -> dict[str, Generation]:
    return {f"q{n}": Generation(example_id=f"q{n}", text=text, **measured) for n, text in enumerate(texts)}


def result_of(data: Dataset, given: dict[str, Generation]) -> tuple[Result, list[Verdict]]:
    return evaluate(data, given, ReadsVerdicts(), run="r", model="m", card={"data": "f00d"})


def test_what_cannot_be_judged_is_apart() -> None:
    data = dataset(*map(example, range(4)))
    result, verdicts = result_of(data, answers("correct", "row_count", "database_unavailable", "correct"))
    assert (result.accuracy.right, result.accuracy.total, result.unavailable, result.examples) == (2, 3, 1, 4)
    assert result.by_reason == {"correct": 2, "row_count": 1, "database_unavailable": 1}
    assert result.questions_fingerprint == "f00d"
    assert [verdict.example_id for verdict in verdicts] == ["q0", "q1", "q2", "q3"]


def test_a_missing_answer_is_wrong_and_named() -> None:
    given = {
        "q0": Generation(example_id="q0", text="correct"),
        "q1": Generation(example_id="q1", text="", error="the server said 500"),
        "q2": Generation(example_id="q2", text=""),
    }
    result, verdicts = result_of(dataset(*map(example, range(4))), given)
    assert result.by_reason == {"correct": 1, "no_answer": 2, "no_sql": 1}
    assert result.accuracy.value == 0.25
    assert verdicts[1].detail == "the server said 500"


def test_answers_to_other_questions_are_an_error() -> None:
    with pytest.raises(DataError, match="q1"):
        result_of(dataset(example(0)), answers("correct", "correct"))


def test_rates_by_tag_count_only_what_was_judged() -> None:
    data = dataset(
        example(0, seen="yes", difficulty="easy"),
        example(1, seen="no", difficulty="easy"),
        example(2, seen="no", difficulty="hard"),
        example(3, seen="no"),
        example(4, other="x"),
    )
    result, _ = result_of(data, answers("correct", "row_count", "correct", "database_unavailable", "correct"))
    rates = {tag: {value: (r.right, r.total) for value, r in values.items()} for tag, values in result.by_tag.items()}
    assert rates == {"seen": {"no": (1, 2), "yes": (1, 1)}, "difficulty": {"easy": (1, 2), "hard": (1, 1)}}


def test_costs_are_means_of_what_is_known() -> None:
    data = dataset(*map(example, range(3)))
    known = answers("correct", "correct", prompt_tokens=100, completion_tokens=10, total_s=0.5)
    unknown = {"q2": Generation(example_id="q2", text="correct", prompt_tokens=400)}
    result, _ = result_of(data, known | unknown)
    assert result.prompt_tokens_per_question == 200
    assert result.completion_tokens_per_question == 10
    assert result.seconds_per_question == 0.5
    assert result_of(data, answers("correct"))[0].seconds_per_question is None


@pytest.mark.parametrize(
    ("right", "total", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (809, 972, 0.8075, 0.8545)],
)
def test_the_interval_is_wilsons(right: int, total: int, low: float, high: float) -> None:
    # The first row is Newcombe (1998), Statistics in Medicine 17, table I, method 3.
    verdicts = [Verdict(example_id="x", correct=n < right, reason="") for n in range(total)]
    rate = accuracy(verdicts)
    assert (rate.right, rate.total, rate.value) == (right, total, right / total)
    assert (rate.low, rate.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_nothing_judged_is_no_rate() -> None:
    result, _ = result_of(dataset(example(0)), answers("database_unavailable"))
    assert (result.accuracy.value, result.accuracy.low, result.accuracy.total) == (None, None, 0)


def test_a_result_comes_back_only_for_the_same_questions(tmp_path: Path) -> None:
    data, folder = dataset(example(0)), RunFolder(tmp_path)
    assert read_result(folder, data) is None
    result, verdicts = result_of(data, answers("correct"))
    path = write_result(folder, result, verdicts)
    assert read_result(folder, data) == result
    assert list(read_records(folder.verdicts("toy:test"), Verdict)) == verdicts
    assert read_result(folder, Dataset("toy:test", data.examples, {}, "other")) is None
    path.write_text('{"run": "from another version"}')
    assert read_result(folder, data) is None


def test_with_the_real_task(tmp_path: Path) -> None:
    database = tmp_path / "shop.sqlite"
    apsw.Connection(str(database)).execute("CREATE TABLE item(name TEXT)")
    data = dataset(example(0), example(1), example(2, context_id="gone"), contexts={"shop": database})
    given = answers("```sql\nSELECT 1;\n```", "SELECT nme FROM item", "SELECT 1")
    result, _ = evaluate(data, given, TextToSql(data.contexts), run="r", model="m", card={})
    assert result.by_reason == {"correct": 1, "unknown_column": 1, "database_unavailable": 1}


def test_evaluating_needs_no_torch() -> None:
    code = "import sys, slm.evaluate, slm.leaderboard; sys.exit(any(m in sys.modules for m in ('torch', 'scipy')))"
    assert (
        run_process([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=False).returncode == 0
    )
