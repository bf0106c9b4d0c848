"""Several answers to a question: which one is given."""

import apsw
import pytest

from slm.generate.candidates import Agreement, agreed
from slm.records import Generation, Prompt
from slm.sql import Judge

RIGHT = "SELECT name FROM city WHERE people > 5"
SAME = "SELECT name FROM city WHERE people >= 6"
OTHER = "SELECT name FROM city"
BROKEN = "SELECT town FROM city"


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "city.sqlite"
    connection = apsw.Connection(str(path))
    connection.execute(
        "CREATE TABLE city(name TEXT, people INTEGER); INSERT INTO city VALUES ('A', 3), ('B', 6), ('C', 9)"
    )
    connection.close()
    return path


@pytest.fixture(scope="module")
def judge():
    with Judge(timeout_s=5, workers=1) as session:
        yield session


@pytest.mark.parametrize(
    ("texts", "index"),
    [
        ([RIGHT], 0),
        ([OTHER, RIGHT, SAME], 1),  # two of one result, written in two ways
        ([OTHER, RIGHT, OTHER, SAME, RIGHT], 1),
        ([BROKEN, BROKEN, BROKEN, OTHER], 3),  # what does not run has no voice
        ([BROKEN, "no query"], 0),
        ([OTHER, RIGHT], 0),  # the greedy answer, where nothing speaks for another
        (["", OTHER], 1),
        (["DELETE FROM city", OTHER], 1),
    ],
)
def test_the_first_of_those_that_most_agree_with(judge, database, texts, index):
    assert agreed(judge, database, texts) == index


class Sampler:
    """Gives the texts it is told, the last candidate first."""

    def __init__(self, texts):
        self.texts = texts

    def draw(self, requests, candidates):
        for number in reversed(range(candidates)):
            for name, _ in requests:
                text = self.texts[name][number]
                yield number, Generation(example_id=name, text=text, completion_tokens=4, total_s=0.5, prompt_tokens=9)


def test_what_is_given_has_all_candidates_and_what_they_took(database):
    texts = {"a": [OTHER, RIGHT, SAME], "b": [RIGHT, BROKEN, BROKEN]}
    backend = Agreement(Sampler(texts), 3, {"a": database, "b": database})
    requests = [(name, Prompt(context="", question=name)) for name in texts]
    given = {answer.example_id: answer for answer in backend.generate(requests)}
    assert {name: answer.text for name, answer in given.items()} == {"a": RIGHT, "b": RIGHT}
    assert given["a"].candidates == tuple(texts["a"])
    assert (given["a"].completion_tokens, given["a"].total_s, given["a"].prompt_tokens) == (12, 1.5, 27)
