"""Packed decoding must answer exactly as the library's own greedy generation of one prompt at a time."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slm.generate.local import LocalBackend, plan_batches
from slm.models.load import load_model, load_tokenizer
from slm.records import Prompt
from slm.tasks import Rendered, Renderer
from tiny import make_tiny_model

SCHEMA = "customer(id int pk, name text, city text)\norders(id int pk, customer_id int, total real)\n" * 2
OTHER = "coffee(id int pk, origin text)"
REQUESTS = [
    ("a", Prompt(context=SCHEMA, question="How many customers are there?")),
    ("b", Prompt(context=OTHER, question="List all origins.")),
    ("c", Prompt(context=SCHEMA, question="Which city has the most orders, and what is their total value?")),
    ("d", Prompt(context=SCHEMA, question="Total?")),
    ("e", Prompt(context=SCHEMA, question="List the names.")),
]


@pytest.fixture(params=["llama", "gemma2", "gemma3", "phi3", "qwen3"])
def parts(request, tmp_path):
    folder = make_tiny_model(request.param, tmp_path)
    model = load_model(folder, dtype="float32")
    return model, Renderer(load_tokenizer(folder))


def library_answer(model, renderer: Renderer, prompt: Prompt, length: int) -> str:
    ids = torch.tensor([renderer.render(prompt).ids])
    out = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=length,
        do_sample=False,
        eos_token_id=renderer.end_id,
        pad_token_id=renderer.end_id,
    )
    new = out[0, ids.shape[1] :].tolist()
    return renderer.decode(new[:-1] if new[-1] == renderer.end_id else new)


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_answers_equal_the_librarys(parts, batch_size):
    model, renderer = parts
    backend = LocalBackend(model, renderer, max_new_tokens=24, batch_size=batch_size)
    answers = {generation.example_id: generation for generation in backend.generate(REQUESTS)}
    assert sorted(answers) == ["a", "b", "c", "d", "e"]
    for example_id, prompt in REQUESTS:
        assert answers[example_id].text == library_answer(model, renderer, prompt, 24)
        assert answers[example_id].prompt_tokens == len(renderer.render(prompt).ids)


def test_the_context_is_computed_once(parts):
    model, renderer = parts
    backend = LocalBackend(model, renderer, max_new_tokens=2, batch_size=2)
    answers = list(backend.generate(REQUESTS))
    shared = len(renderer.render(REQUESTS[0][1]).context_ids)
    assert shared > 0
    first_of_each = [answer for answer in answers if answer.cached_tokens == 0]
    assert len(first_of_each) == 2
    assert sum(answer.cached_tokens == shared for answer in answers) == 3


def test_an_answer_that_does_not_end_is_cut_and_says_so(parts):
    model, renderer = parts
    renderer.end_id = -1
    (answer,) = LocalBackend(model, renderer, max_new_tokens=5, batch_size=1).generate(REQUESTS[:1])
    assert (answer.finish_reason, answer.completion_tokens) == ("length", 5)


@given(st.lists(st.integers(0, 4), max_size=60), st.integers(1, 9))
def test_every_question_is_in_one_batch_and_contexts_are_kept_together(contexts, size):
    prompts = [(str(n), Rendered((context,), (1,) * (n % 7))) for n, context in enumerate(contexts)]
    batches = plan_batches(prompts, size)
    assert sorted(one[0] for batch in batches for one in batch) == sorted(one[0] for one in prompts)
    assert all(0 < len(batch) <= size for batch in batches)
    for context in set(contexts):
        used = sum(any(prompt.context_ids == (context,) for _, prompt in batch) for batch in batches)
        assert used == -(-contexts.count(context) // size)
