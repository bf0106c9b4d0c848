"""Smaller vocabularies: the task's texts stay the same tokens, one to one, and any other text can still be written."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm.errors import ModelError
from slm.models.load import load_tokenizer
from slm.models.vocabulary import choose_tokens, trim_tokenizer
from tiny import make_tiny_model
from tiny_bytes import make_byte_fallback_tokenizer

TASK = ["SELECT name FROM singer", "How many singers are older than 20?", " the oldest singer", "= 'Zoë'"]
LEARNED = [*TASK, "GROUP BY city ORDER BY total DESC", "customers ordered products in every store of the country" * 2]


def encode(tokenizer):
    return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TASK]


@pytest.fixture(scope="module", params=["bytes as characters", "bytes as tokens"])
def both(request, tmp_path_factory):
    """(tokenizer, trimmed tokenizer, ids that stayed)."""
    folder = tmp_path_factory.mktemp("vocabulary")
    if request.param == "bytes as characters":
        make_tiny_model("llama", folder / "base")
    else:
        make_byte_fallback_tokenizer(folder / "base", LEARNED)
    kept = trim_tokenizer(folder / "base", folder / "trimmed", encode, common=0)
    return load_tokenizer(folder / "base"), load_tokenizer(folder / "trimmed"), kept


def test_much_is_gone_and_nothing_else_came_back(both):
    full, trimmed, kept = both
    assert len(trimmed) == len(kept) < 0.95 * len(full)
    assert max(trimmed.get_vocab().values()) == len(kept) - 1
    assert kept == sorted(set(kept))


def test_every_token_stays_what_it_was(both):
    full, trimmed, kept = both
    assert trimmed.convert_ids_to_tokens(range(len(kept))) == full.convert_ids_to_tokens(kept)
    for name in ("bos_token", "eos_token", "pad_token", "unk_token", "chat_template"):
        assert getattr(trimmed, name) == getattr(full, name)


def test_texts_of_the_task_map_one_to_one(both):
    full, trimmed, kept = both
    for text in TASK:
        assert [kept[number] for number in trimmed(text)["input_ids"]] == full(text)["input_ids"]


@settings(max_examples=200, deadline=None)
@given(
    text=st.one_of(st.text(max_size=60), st.lists(st.sampled_from([*LEARNED, "<unused0>", " ", "<eos>"])).map("".join))
)
def test_any_text_is_decoded_to_the_same(both, text):
    full, trimmed, _ = both
    before, after = (
        tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) for tokenizer in (full, trimmed)
    )
    assert after == before


@settings(max_examples=100, deadline=None)
@given(parts=st.lists(st.sampled_from(TASK), min_size=1, max_size=3))
def test_what_is_gone_makes_texts_longer_never_shorter(both, parts):
    full, trimmed, _ = both
    text = " GROUP BY ".join(parts)
    assert len(trimmed(text)["input_ids"]) >= len(full(text)["input_ids"])


def test_frequent_tokens_and_those_of_the_template_stay(tmp_path):
    base = make_tiny_model("llama", tmp_path)
    spec = json.loads((base / "tokenizer.json").read_text())
    place = {token["content"]: token["id"] for token in spec["added_tokens"]}
    none, some = (choose_tokens(spec, [], template="<|im_start|>", common=count) for count in (0, 50))
    assert place["<|im_start|>"] in none
    assert place["<|endoftext|>"] not in none
    assert 40 <= len(set(some) - set(none)) <= 50
    vocabulary = spec["model"]["vocab"]
    assert {number for token, number in vocabulary.items() if len(token) == 1} <= set(none)


def test_ids_that_must_stay_do(tmp_path):
    base = make_tiny_model("llama", tmp_path / "base")
    assert 450 in trim_tokenizer(base, tmp_path / "out", encode, keep=[450], common=0)


def test_a_tokenizer_that_does_not_merge_in_order_is_found_out(tmp_path):
    base = make_tiny_model("llama", tmp_path / "base")
    seen = []

    def moody(tokenizer):
        seen.append(tokenizer)
        return encode(tokenizer) if len(seen) == 1 else [[0], *encode(tokenizer)[1:]]

    with pytest.raises(ModelError, match="1 of the task's 4 texts would become other tokens"):
        trim_tokenizer(base, tmp_path / "out", moody, common=0)


def test_other_vocabularies_are_refused(tmp_path):
    base = make_tiny_model("llama", tmp_path)
    spec = json.loads((base / "tokenizer.json").read_text())
    spec["model"]["type"] = "Unigram"
    (base / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(ModelError, match="of type Unigram cannot be trimmed"):
        trim_tokenizer(base, tmp_path / "out", encode)
