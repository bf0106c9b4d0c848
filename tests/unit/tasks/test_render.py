"""A prompt is the text that the chat template makes, split where questions part."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm.errors import ModelError
from slm.models.load import load_tokenizer
from slm.records import Prompt
from slm.tasks import Renderer
from tiny import make_tiny_model

FAMILIES = ["llama", "gemma2", "phi3"]


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    return {family: load_tokenizer(make_tiny_model(family, tmp_path_factory.mktemp(family))) for family in FAMILIES}


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=25)
@given(question=st.text(min_size=1, max_size=40), context=st.text(min_size=1, max_size=60))
def test_split_prompt_is_the_prompt_that_a_server_would_tokenize(tokenizers, family, chat, question, context):
    tokenizer = tokenizers[family]
    renderer = Renderer(tokenizer, chat)
    before, after = renderer._template(context)
    whole = tokenizer(before + question.strip() + after, add_special_tokens=not chat)["input_ids"]
    assert list(renderer.render(Prompt(context=context, question=question)).ids) == whole


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_questions_about_one_context_share_its_ids(tokenizers, family, chat):
    renderer = Renderer(tokenizers[family], chat)
    context = "coffee(id int pk, origin text)"
    prompts = [
        renderer.render(Prompt(context=context, question=text)) for text in ("How many?", "2 or 3?", "List all.")
    ]
    assert len({prompt.context_ids for prompt in prompts}) == 1
    assert context in renderer.tokenizer.decode(prompts[0].context_ids)
    assert "How many?" in renderer.tokenizer.decode(prompts[0].question_ids)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_target_ends_with_the_token_that_ends_the_turn(tokenizers, family):
    tokenizer = tokenizers[family]
    chat = Renderer(tokenizer, True)
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "SELECT 1"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    assert text.split("SELECT 1")[1].lstrip().startswith(tokenizer.decode([chat.end_id]))
    assert chat.target_ids("SELECT 1")[-1] == chat.end_id
    assert chat.decode(chat.target_ids("SELECT 1")) == "SELECT 1"
    assert Renderer(tokenizer, False).end_id == tokenizer.eos_token_id


def test_chat_without_a_template_is_refused():
    tokenizer = SimpleNamespace(chat_template=None, name_or_path="base-model")
    with pytest.raises(ModelError, match="no chat template"):
        Renderer(tokenizer, True)


@pytest.mark.parametrize("family", FAMILIES)
def test_messages_are_what_the_template_makes_the_prompt_of(tokenizers, family):
    tokenizer = tokenizers[family]
    asked = Prompt(context="coffee(id int pk)", question=" How many? ")
    renderer = Renderer(tokenizer, True)
    messages = renderer.messages(asked)
    assert [turn["role"] for turn in messages] == (["user"] if family == "gemma2" else ["system", "user"])
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == renderer.text(asked)
    assert tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) == renderer.render(asked).ids


def test_without_a_template_a_prompt_is_text_alone(tokenizers):
    renderer = Renderer(tokenizers["llama"], False)
    asked = Prompt(context="coffee(id int pk)", question="How many?")
    assert renderer.messages(asked) is None
    assert renderer.text(asked) == "coffee(id int pk)\n\nQuestion: How many?\nSQL:\n"
