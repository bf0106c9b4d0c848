"""A prompt has the tokens that the local backend gives it, and questions about one schema share that schema."""

import pytest

from slm.models.load import load_tokenizer
from slm.records import Prompt
from slm.serve.prompts import Prompts
from slm.serve.refused import Refused
from slm.tasks import Renderer
from tiny import FAMILIES, make_tiny_model

SCHEMA = "customer(id int pk, name text)\norders(id int pk, total real)"
QUESTIONS = ("How many are there?", "How many orders?", "List all names.", "7 or 8?")


@pytest.fixture(scope="module", params=FAMILIES)
def tokenizer(request, tmp_path_factory):
    return load_tokenizer(make_tiny_model(request.param, tmp_path_factory.mktemp(request.param)))


@pytest.mark.parametrize("chat", [True, False])
def test_tokens_are_the_local_backends_and_the_schema_is_shared(tokenizer, chat):
    renderer = Renderer(tokenizer, chat)
    prompts = Prompts(renderer, 2048)
    shared = set()
    for question in QUESTIONS:
        prompt = Prompt(context=SCHEMA, question=question)
        messages = renderer.messages(prompt)
        made = prompts.of_messages(messages) if messages else prompts.of_text(renderer.text(prompt))
        assert made.ids == renderer.render(prompt).ids
        shared.add(made.context_ids)
    (context,) = shared
    assert "total real" in tokenizer.decode(list(context))
    assert len(context) <= len(renderer.render(prompt).context_ids)


def test_a_schema_in_the_users_message_behind_a_short_instruction(tmp_path):
    renderer = Renderer(load_tokenizer(make_tiny_model("llama", tmp_path)))
    prompts = Prompts(renderer, 2048)
    told = {"role": "system", "content": "You write SQL."}
    contexts = {
        prompts.of_messages([told, {"role": "user", "content": f"{SCHEMA}\n\n{question}"}]).context_ids
        for question in QUESTIONS
    }
    (context,) = contexts
    assert "total real" in renderer.tokenizer.decode(list(context))


def test_a_later_turn_is_asked_behind_what_was_said_before(tmp_path):
    renderer = Renderer(load_tokenizer(make_tiny_model("llama", tmp_path)))
    messages = [
        {"role": "system", "content": SCHEMA},
        {"role": "user", "content": "How many?"},
        {"role": "assistant", "content": "SELECT 1"},
        {"role": "user", "content": "And now?"},
    ]
    made = Prompts(renderer, 2048).of_messages(messages)
    text = renderer.tokenizer.decode(list(made.ids))
    assert text.index("How many?") < text.index("SELECT 1") < text.index("And now?")
    assert made.context_ids == Prompts(renderer, 2048).of_messages(messages[:2]).context_ids


def test_what_cannot_be_asked(tmp_path):
    tokenizer = load_tokenizer(make_tiny_model("gemma2", tmp_path))
    with pytest.raises(Refused, match="System role not supported"):
        Prompts(Renderer(tokenizer), 2048).of_messages([{"role": "system", "content": "x"}])
    with pytest.raises(Refused, match="use /v1/completions"):
        Prompts(Renderer(tokenizer, chat=False), 2048).of_messages([{"role": "user", "content": "x"}])
    with pytest.raises(Refused, match="tokens, and the model takes 5 with the answer") as raised:
        Prompts(Renderer(tokenizer), 5).of_text("one two three four five six")
    assert raised.value.code == "context_length_exceeded"
