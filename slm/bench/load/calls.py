"""A phase's requests, ready to be sent: prompts turned into bodies, with a cold or a warm prefix cache."""

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from slm.bench.load.api import Call, Prompted, make_call
from slm.bench.load.records import Cache
from slm.records import Prompt

Asked = tuple[str, Prompt]  # example id and prompt


def as_messages(prompt: Prompt) -> Prompted:
    """The context as the system's message, the question as the user's: for any chat model, without its tokenizer."""
    question = {"role": "user", "content": prompt.question.strip()}
    return [{"role": "system", "content": prompt.context}, question]


def make_calls(
    phase: str,
    asked: Sequence[Asked],
    requests: int,
    cache: Cache,
    *,
    say: Callable[[Prompt], Prompted],
    model: str,
    max_tokens: int,
    usage: bool = True,
    grammar: Callable[[Prompt], str] | None = None,
) -> list[Call]:
    """So many requests for the questions in turn, each with the `grammar` of its answer where there is one.

    Cold: a random word goes before each context, so that of its prefixes only what a chat template writes before it can
    be in a cache; the prompts are some tokens longer by it.
    """
    calls = []
    for place in range(requests):
        example_id, prompt = asked[place % len(asked)]
        rules = grammar(prompt) if grammar else None
        if cache == "cold":
            prompt = Prompt(context=f"[{secrets.token_hex(4)}]\n{prompt.context}", question=prompt.question)
        call_id = f"{phase}/{place}"
        asking: dict[str, Any] = {"max_tokens": max_tokens, "usage": usage, "grammar": rules}
        calls.append(make_call(call_id, example_id, say(prompt), model=model, **asking))
    return calls


def one_a_context(asked: Sequence[Asked]) -> list[Asked]:
    """The first question of each context: sent once, these fill a prefix cache."""
    first: dict[str, Asked] = {}
    for example_id, prompt in asked:
        first.setdefault(prompt.context, (example_id, prompt))
    return list(first.values())
