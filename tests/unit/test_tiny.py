"""The tiny models that other tests use are small, quick, whole and of the right architecture."""

import time

import pytest
import torch

from slm.models.load import load_model, load_tokenizer
from tiny import FAMILIES, WINDOW, make_tiny_model

_MODEL_TYPE = {"gemma3": "gemma3_text"}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tiny_model_loads_and_generates(family, tmp_path):
    started = time.monotonic()
    folder = make_tiny_model(family, tmp_path / family)
    assert time.monotonic() - started < 5
    tokenizer, model = load_tokenizer(folder), load_model(folder, dtype="float32")
    assert model.config.model_type == _MODEL_TYPE.get(family, family)
    assert sum(file.stat().st_size for file in folder.iterdir()) < 1_000_000
    assert len(tokenizer) <= model.config.vocab_size
    text = "SELECT 1  FROM t -- é"
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "How many?"}], return_tensors="pt", return_dict=False
    )
    assert model.generate(ids, max_new_tokens=3, do_sample=False).shape[1] > ids.shape[1]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_first_weights_are_always_the_same(family, tmp_path):
    state = torch.random.get_rng_state()
    folders = [make_tiny_model(family, tmp_path / name) for name in ("first", "second")]
    assert torch.equal(state, torch.random.get_rng_state())
    first, second = (load_model(folder, dtype="float32").state_dict() for folder in folders)
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("family", ["gemma2", "gemma3", "phi3"])
def test_sliding_windows_are_in_effect(family, tmp_path):
    """The last token of a long text must not see the first one directly: with one layer only through the window."""
    model = load_model(make_tiny_model(family, tmp_path), dtype="float32")
    assert model.config.sliding_window == WINDOW
    model.model.layers = model.model.layers[:1]
    ids = torch.arange(20, 20 + 2 * WINDOW)[None]
    other = ids.clone()
    other[0, 0] = 300
    with torch.no_grad():
        difference = (model(ids, use_cache=False).logits - model(other, use_cache=False).logits).abs().amax(-1)[0]
    assert difference[WINDOW - 1] > 1e-4
    assert difference[WINDOW:].max() == 0
