"""Golds stay possible, and whatever grammar and scope let through together runs."""

import os
import random

import pytest
import sqlglot
from hypothesis import given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher

from slm.data import load_dataset
from slm.generate.constrain.grammar import sql_grammar
from slm.generate.constrain.scope import SchemaScope
from slm.sql import one_line, read_schema

END = 256
LONGEST = 240


def refused(dataset, tokenizer, step: int) -> list[str]:
    """Golds, every `step`th, that the grammar or the scope would not let through."""
    known: dict[str, tuple[LLMatcher, SchemaScope]] = {}
    found = []
    for example in dataset.available[::step]:
        texts = dataset.double_quoted_text
        if example.context_id not in known:
            schema = read_schema(dataset.contexts[example.context_id])
            lark = LLMatcher.grammar_from_lark(sql_grammar(schema, double_quoted_text=texts))
            known[example.context_id] = LLMatcher(tokenizer, lark), SchemaScope(schema, double_quoted_text=texts)
        grammar, scope = known[example.context_id]
        matcher, sql = grammar.deep_copy(), one_line(example.targets[0])
        taken = matcher.try_consume_tokens(list(sql.encode())) == len(sql.encode()) and matcher.is_accepting()
        viable = all(scope.viable(sql[:end], finished=False) for end in range(len(sql) + 1))
        if not (taken and viable and scope.viable(sql, finished=True)):
            found.append(f"{example.id}: {sql}")
    return found


def test_golds_of_the_embedded_suite_stay_possible(byte_tokens):
    assert refused(load_dataset("roastery:test"), byte_tokens, step=2) == []


@pytest.mark.skipif("SLM_DATA" not in os.environ, reason="SLM_DATA is not set: Spider's databases are elsewhere")
def test_golds_of_spider_stay_possible(byte_tokens):
    assert refused(load_dataset("spider:dev"), byte_tokens, step=15) == []


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_random_queries_that_are_let_through_run(shop, scope, matcher, seed):
    dice, walker, text = random.Random(seed), matcher.deep_copy(), ""  # noqa: S311
    while len(text) < LONGEST:
        bits = walker.compute_bitmask()
        tokens = [token for token in (*range(128), END) if bits[token // 8] >> token % 8 & 1]
        # Ends come first half of the time; what makes it longer comes last once it is long.
        late = len(text) > LONGEST // 3
        rank = {token: dice.random() + (late and chr(token) in "(,+-*/%|'\"") - (token == END) for token in tokens}
        for token in sorted(tokens, key=rank.__getitem__):
            shown = text if token == END else text + chr(token)
            if scope.viable(shown, finished=token == END):
                break
        else:
            pytest.fail(f"nothing may follow {text!r}")
        if token == END:
            break
        walker.consume_token(token)
        text += chr(token)
    else:
        return
    shop.execute(f"EXPLAIN {text}")
    sqlglot.parse_one(text, read="sqlite")
