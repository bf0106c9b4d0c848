"""What a request says."""

import json

import pytest

from slm.bench.load.calls import as_messages, make_calls
from slm.records import Prompt

ASKED = [("a", Prompt(context="t(x)", question="How many?")), ("b", Prompt(context="u(y)", question="Which?"))]


@pytest.mark.parametrize("cache", ["cold", "warm"])
def test_the_grammar_of_each_schema_goes_with_its_questions(cache):
    calls = make_calls(
        "p", ASKED, 3, cache, say=as_messages, model="m", max_tokens=9, grammar=lambda prompt: f"of {prompt.context}"
    )
    sent = [json.loads(call.body)["structured_outputs"] for call in calls]
    assert sent == [{"grammar": f"of {context}"} for context in ("t(x)", "u(y)", "t(x)")]


def test_without_one_nothing_is_said_of_it():
    (call,) = make_calls("p", ASKED, 1, "warm", say=as_messages, model="m", max_tokens=9)
    assert set(json.loads(call.body)) == {"model", "temperature", "max_tokens", "stream", "stream_options", "messages"}
