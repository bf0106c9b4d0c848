"""Several answers to a question: which one is given."""

import apsw
import pytest

from slm.generate.candidates import Candidates, Samples, agreed
from slm.records import Generation, Prompt
from slm.sql import Judge

RIGHT = "SELECT name FROM city WHERE people > 5"
SAME = "SELECT name FROM city WHERE people >= 6"
OTHER = "SELECT name FROM city"
BROKEN = "SELECT town FROM city"
NOTHING = "SELECT name FROM city WHERE people > 99"


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
        ([NOTHING, NOTHING, OTHER], 2),  # rows are more than none
        ([BROKEN, NOTHING], 1),
        (["DELETE FROM city", OTHER], 1),
    ],
)
def test_the_first_of_those_that_most_agree_with(judge, database, texts, index):
    assert agreed(judge, database, texts) == index


class Sampler:
    """Gives the texts it is told, the last candidate first."""

    def __init__(self, texts):
        self.texts = texts
        self.drawn = []

    def draw(self, requests, numbers):
        for number in reversed(numbers):
            for name, _ in requests:
                self.drawn.append((name, number))
                text = self.texts[name][number]
                yield number, Generation(example_id=name, text=text, completion_tokens=4, total_s=0.5, prompt_tokens=9)


def test_more_are_drawn_only_where_the_greedy_answer_gives_nothing(database):
    texts = {"fine": [OTHER, RIGHT, SAME], "broken": [BROKEN, RIGHT, SAME], "empty": [NOTHING, NOTHING, OTHER]}
    sampler = Sampler(texts)
    requests = [(name, Prompt(context="", question=name)) for name in texts]
    given = {
        answer.example_id: answer
        for answer in Candidates(sampler, 3, dict.fromkeys(texts, database)).generate(requests)
    }
    assert {name: answer.text for name, answer in given.items()} == {"fine": OTHER, "broken": RIGHT, "empty": OTHER}
    assert given["fine"].candidates == ()
    assert given["broken"].candidates == tuple(texts["broken"])
    assert (given["broken"].completion_tokens, given["broken"].total_s, given["broken"].prompt_tokens) == (12, 1.5, 27)
    assert sorted(sampler.drawn) == sorted(
        [*((name, 0) for name in texts), *((n, c) for n in ("broken", "empty") for c in (1, 2))]
    )


def test_samples_are_all_given_and_none_is_the_greedy_one(database):
    sampler = Sampler({"one": [OTHER, RIGHT, SAME], "two": [RIGHT, BROKEN, BROKEN]})
    requests = [(name, Prompt(context="", question=name)) for name in sampler.texts]
    given = {answer.example_id: answer for answer in Samples(sampler, 2).generate(requests)}
    assert {name: sorted(answer.candidates) for name, answer in given.items()} == {
        "one": sorted([RIGHT, SAME]),
        "two": [BROKEN, BROKEN],
    }
    assert given["one"].completion_tokens == 8
