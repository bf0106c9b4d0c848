"""A model without rows computes what it computed before on the tokens that stayed."""

import pytest
import torch

from slm.models.load import count_parameters, load_model
from slm.models.trim import named_tokens, trim_model
from tiny import FAMILIES, make_tiny_model


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tokens_that_stay_get_the_same_logits(family, tmp_path):
    full, trimmed = (load_model(make_tiny_model(family, tmp_path), dtype="float32") for _ in range(2))
    kept = sorted(named_tokens(full) | set(range(10, 500, 3)))
    trim_model(trimmed, kept)
    new = torch.arange(5, 40)
    with torch.no_grad():
        before, after = full(torch.tensor(kept)[new][None]).logits, trimmed(new[None]).logits
    assert after.shape[-1] == trimmed.config.vocab_size == len(kept)
    assert torch.allclose(after, before[..., kept], atol=1e-5)
    copies = 2 if family == "phi3" else 1  # whose output layer is not the embedding
    assert count_parameters(full)[1] - count_parameters(trimmed)[1] == copies * 64 * (500 - len(kept))


def test_special_ids_follow(tmp_path):
    model = load_model(make_tiny_model("gemma3", tmp_path), dtype="float32")
    ends = model.generation_config.eos_token_id
    kept = sorted({*named_tokens(model), *range(50, 100)})
    trim_model(model, kept)
    assert [kept[number] for number in model.generation_config.eos_token_id] == ends
    assert kept[model.config.bos_token_id] == 0 or model.config.bos_token_id is not None
