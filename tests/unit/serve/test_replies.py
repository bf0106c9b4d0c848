"""Pieces of an answer add up to the whole, whatever characters its tokens cut."""

import json

import pytest

from slm.generate.local import Token
from slm.models.load import load_tokenizer
from slm.serve.asked import Asked
from slm.serve.replies import Reply
from slm.tasks import Rendered, Renderer
from tiny import make_tiny_model


@pytest.fixture(scope="module")
def renderer(tmp_path_factory):
    return Renderer(load_tokenizer(make_tiny_model("llama", tmp_path_factory.mktemp("llama"))))


def reply_to(renderer, *, chat: bool = True, logprobs: bool = False) -> Reply:
    asked = Asked(chat, Rendered((1, 2), (3,)), 99, stream=True, include_usage=True, logprobs=logprobs)
    return Reply(asked, "tuned", renderer)


def tokens_of(renderer, text: str, reason: str) -> list[Token]:
    ids = renderer.tokenizer(text, add_special_tokens=False)["input_ids"]
    tokens = [Token(each, -0.5, 2) for each in ids]
    if reason == "stop":
        return [*tokens, Token(renderer.end_id, -0.25, 2, "stop")]
    return [*tokens[:-1], Token(tokens[-1].id, -0.5, 2, "length")]


@pytest.mark.parametrize("reason", ["stop", "length"])
@pytest.mark.parametrize("text", ["SELECT name FROM singer", "  SELECT 1\n\n", "naïve 東京 🎷 x", " \n ", "a  b \n c"])
def test_pieces_are_the_whole(renderer, text, reason):
    reply = reply_to(renderer)
    pieces = [reply.take(token) for token in tokens_of(renderer, text, reason)]
    assert "".join(pieces) == reply.text == text.strip()
    assert not any("\ufffd" in piece for piece in pieces)
    assert reply.finish_reason == reason


def test_a_character_that_stays_cut_is_told_at_the_end(renderer):
    reply = reply_to(renderer)
    cut = [token.id for token in tokens_of(renderer, "a 🎷", "length")][:-1]
    pieces = [reply.take(Token(each, 0.0, 0, "length" if each == cut[-1] else None)) for each in cut]
    assert "".join(pieces) == reply.text == renderer.decode(cut)
    assert "\ufffd" in pieces[-1]


@pytest.mark.parametrize("chat", [True, False])
def test_every_token_has_its_log_probability_once(renderer, chat):
    streamed, whole = (reply_to(renderer, chat=chat, logprobs=True) for _ in range(2))
    given = []
    for token in tokens_of(renderer, "SELECT 東", "stop"):
        whole.take(token)
        (choice,) = streamed.chunk(streamed.take(token))["choices"]
        told = choice["logprobs"]
        given += [each["logprob"] for each in told["content"]] if chat else told["token_logprobs"]
    (choice,) = whole.whole()["choices"]
    told = choice["logprobs"]
    assert given == ([each["logprob"] for each in told["content"]] if chat else told["token_logprobs"])
    assert len(given) == len(whole.tokens)


def test_the_form_of_an_answer(renderer):
    reply = reply_to(renderer)
    for token in tokens_of(renderer, "SELECT 1", "stop"):
        reply.take(token)
    whole = reply.whole()
    assert whole["object"] == "chat.completion"
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": "SELECT 1"}
    count = len(reply.tokens)
    assert whole["usage"] == {
        "prompt_tokens": 3,
        "completion_tokens": count,
        "total_tokens": 3 + count,
        "prompt_tokens_details": {"cached_tokens": 2},
    }
    assert (reply.usage_chunk()["choices"], reply.usage_chunk()["usage"]) == ([], whole["usage"])
    assert reply_to(renderer, chat=False).first_chunk() is None
    assert json.dumps(whole)
