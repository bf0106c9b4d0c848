"""Predictions survive anything: what is answered stays, what is missing is asked, nothing stands twice."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm.data import Dataset
from slm.generate import generate_all, read_predictions
from slm.records import Example, Generation, Prompt

EXAMPLES = tuple(Example(id=f"q{n}", context_id="shop", question=f"How many {n}?") for n in range(6))
DATASET = Dataset("mine", EXAMPLES, {"shop": Path("shop.sqlite")}, "fingerprint")


class Questions:
    """A task of which only the prompt is needed."""

    def prompt(self, example: Example) -> Prompt:
        return Prompt(context="schema", question=example.question)


class Killed(BaseException):
    pass


class Answering:
    """Answers in reverse order, as a backend may, and is killed after `lives` answers."""

    def __init__(self, lives: int = 1000) -> None:
        self.lives, self.asked = lives, []

    def generate(self, requests: Sequence[tuple[str, Prompt]]) -> Iterator[Generation]:
        self.asked = [example_id for example_id, _ in requests]
        for example_id, prompt in reversed(requests):
            if self.lives == 0:
                raise Killed
            self.lives -= 1
            yield Generation(example_id=example_id, text=prompt.question)


def ids_in(path: Path) -> list[str]:
    return [json.loads(line)["example_id"] for line in path.read_text().splitlines()]


@settings(max_examples=30, deadline=None)  # each one waits for the disk
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 200)), max_size=3))
def test_however_often_it_is_killed_every_question_is_answered_once(tmp_path_factory, kills):
    out = tmp_path_factory.mktemp("predictions") / "mine.jsonl"
    kept: list[str] = []
    for lives, torn in kills:
        try:
            generate_all(Answering(lives), Questions(), DATASET, out)
        except Killed:
            out.write_bytes(out.read_bytes()[: max(0, out.stat().st_size - torn)])
        kept = out.read_bytes().decode().split("\n")[:-1]
    backend = Answering()
    answers = generate_all(backend, Questions(), DATASET, out)
    assert sorted(ids_in(out)) == sorted(answers) == [example.id for example in EXAMPLES]
    assert out.read_text().splitlines()[: len(kept)] == kept
    assert len(backend.asked) == len(EXAMPLES) - len(kept)
    assert answers == read_predictions(out)


def test_answers_are_of_their_own_question(tmp_path):
    answers = generate_all(Answering(), Questions(), DATASET, tmp_path / "mine.jsonl")
    assert {example.id: answers[example.id].text for example in EXAMPLES} == {
        example.id: example.question for example in EXAMPLES
    }


def test_a_row_is_on_the_disk_before_the_next_question_is_answered(tmp_path):
    out = tmp_path / "mine.jsonl"
    with pytest.raises(Killed):
        generate_all(Answering(lives=2), Questions(), DATASET, out)
    assert ids_in(out) == ["q5", "q4"]


def test_a_question_without_its_database_is_not_asked(tmp_path):
    elsewhere = EXAMPLES[0].model_copy(update={"id": "gone", "context_id": "nowhere"})
    dataset = Dataset("mine", (elsewhere, *EXAMPLES[:2]), DATASET.contexts, "fingerprint")
    backend = Answering()
    generate_all(backend, Questions(), dataset, tmp_path / "mine.jsonl")
    assert backend.asked == ["q0", "q1"] == [example.id for example in dataset.available]


def test_no_file_is_no_answers(tmp_path):
    assert read_predictions(tmp_path / "none.jsonl") == {}
