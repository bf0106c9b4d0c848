"""An engine that is asked at any time gives the answers of the local backend, and frees what nobody waits for."""

import queue
import random

import pytest

from slm.errors import JobError
from slm.generate.local import Engine, LocalBackend, Token
from slm.generate.local.engine import QUESTION_TOKENS
from slm.models.load import load_model
from slm.records import Prompt
from slm.tasks import Rendered
from tiny import make_tiny_model

LENGTH = 16


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(make_tiny_model("gemma3", tmp_path_factory.mktemp("gemma3")), dtype="float32")


def random_tokens(count: int, seed: int) -> tuple[int, ...]:
    return tuple(random.Random(f"{count} {seed}").choices(range(10, 490), k=count))  # noqa: S311


PROMPTS = [
    Rendered(random_tokens(shared, seed=0), random_tokens(own, seed=seed))
    for seed, (shared, own) in enumerate([(60, 5), (60, 9), (7, 30), (60, 1), (0, 12), (7, 2), (40, 0), (60, 21)])
]


class Asked:
    """One question that was submitted, and what comes of it."""

    def __init__(self, engine: Engine, prompt: Rendered, length: int = LENGTH) -> None:
        self.events: queue.Queue[Token | JobError] = queue.Queue()
        self.question = engine.submit(prompt, length, self.events.put)

    def next(self) -> Token | JobError:
        return self.events.get(timeout=60)

    def answer(self) -> list[Token]:
        tokens = []
        while not tokens or tokens[-1].finish_reason is None:
            event = self.next()
            assert isinstance(event, Token), event
            tokens.append(event)
        return tokens


class _Plain:
    end_id = -1

    def render(self, prompt: Prompt) -> Rendered:
        return PROMPTS[int(prompt.question)]

    def decode(self, ids) -> str:
        return " ".join(map(str, ids))


@pytest.fixture(scope="module")
def expected(model):
    backend = LocalBackend(model, _Plain(), max_new_tokens=LENGTH, batch_size=1)
    requests = [(str(number), Prompt(context="", question=str(number))) for number in range(len(PROMPTS))]
    return {int(answer.example_id): answer for answer in backend.generate(requests)}


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_answers_are_those_of_the_local_backend(model, expected, batch_size):
    with Engine(model, -1, batch_size=batch_size) as engine:
        asked = [Asked(engine, prompt) for prompt in PROMPTS]
        answers = [each.answer() for each in asked]
    for number, answer in enumerate(answers):
        assert " ".join(str(token.id) for token in answer) == expected[number].text
        assert sum(token.logprob for token in answer) == pytest.approx(expected[number].logprob, abs=1e-4)
        assert answer[-1].finish_reason == "length"


def test_an_answer_ends_with_its_end_token(model, expected):
    end_id = int(expected[0].text.split()[3])
    with Engine(model, end_id, batch_size=2) as engine:
        answer = Asked(engine, PROMPTS[0]).answer()
    ids = [token.id for token in answer]
    assert ids == list(map(int, expected[0].text.split()))[: ids.index(end_id) + 1]
    assert answer[-1].finish_reason == "stop"


def test_a_context_is_computed_once_and_kept_between_questions(model):
    with Engine(model, -1, batch_size=2) as engine:
        cached = [Asked(engine, PROMPTS[number]).answer()[0].cached_tokens for number in (0, 1, 2, 3)]
    assert cached == [0, 60, 0, 60]


def test_a_new_question_joins_while_another_is_answered(model, expected):
    with Engine(model, -1, batch_size=2) as engine:
        long = Asked(engine, PROMPTS[1], length=1500)
        long.next()
        short = Asked(engine, PROMPTS[0]).answer()
        assert " ".join(str(token.id) for token in short) == expected[0].text
        assert engine.running == 1, "the long one goes on"
        engine.cancel(long.question)


def test_what_is_cancelled_frees_its_slot_and_its_place_in_the_queue(model):
    with Engine(model, -1, batch_size=1) as engine:
        long = Asked(engine, PROMPTS[1], length=1500)
        long.next()
        waits, last = Asked(engine, PROMPTS[2]), Asked(engine, PROMPTS[0], length=2)
        engine.cancel(waits.question)
        engine.cancel(long.question)
        assert len(last.answer()) == 2
        assert waits.events.empty()
        assert long.events.qsize() < 1499
        assert (engine.running, engine.waiting) == (0, 0)


def test_a_failure_is_told_and_the_next_question_is_answered(model, expected, monkeypatch, capsys):
    with Engine(model, -1, batch_size=4) as engine:
        monkeypatch.setattr(engine._decoder, "step", lambda: 1 / 0)
        error = Asked(engine, PROMPTS[0]).next()
        assert isinstance(error, JobError)
        assert "division by zero" in str(error)
        answer = Asked(engine, PROMPTS[0]).answer()
    assert " ".join(str(token.id) for token in answer) == expected[0].text
    assert "the model failed" in capsys.readouterr().err


def test_a_long_question_takes_no_room_in_every_slot(model):
    ids = random_tokens(2 * QUESTION_TOKENS, seed=3)
    with Engine(model, -1, batch_size=2) as engine:
        first = Asked(engine, Rendered((), ids)).answer()
        again = Asked(engine, Rendered(ids[:9], ids[9:])).answer()
        assert engine._decoder._cache.capacity < QUESTION_TOKENS
    assert [token.id for token in again] == [token.id for token in first]
    assert [tokens[0].cached_tokens for tokens in (first, again)] == [0, len(ids) - 1]


def test_a_stopped_engine_tells_those_who_wait(model):
    with Engine(model, -1, batch_size=1) as engine:
        long = Asked(engine, PROMPTS[1], length=1500)
        long.next()
        waits = Asked(engine, PROMPTS[2])
    assert isinstance(waits.next(), JobError)


def test_a_prompt_without_room_for_an_answer_is_refused(model):
    with Engine(model, -1, batch_size=1) as engine, pytest.raises(ValueError, match="no room"):
        Asked(engine, Rendered((), random_tokens(engine.longest, seed=1)))
