"""Quantized saves: they load without the full weights, to the very model that was saved."""

import pytest
import torch

from slm.models.load import load_model
from slm.models.merge import stored_dtypes
from slm.models.quantized import save_quantized
from tiny import FAMILIES, make_tiny_model

_IDS = torch.arange(20, 40)[None]


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(_IDS).logits.float()


@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_saved_comes_back(family, kind, tmp_path):
    base, out = make_tiny_model(family, tmp_path / "base"), tmp_path / "out"
    out.mkdir()
    saved = save_quantized(base, out, kind=kind, dtype="float32")
    again = load_model(out, dtype="float32")
    assert torch.equal(logits(again), logits(saved))
    assert torch.equal(logits(again), logits(load_model(base, dtype="float32", quantize=kind)))
    layers = {type(module).__name__ for module in again.model.modules()}
    assert {"nf4": "Linear4bit", "int8": "Linear8bitLt"}[kind] in layers
    assert "Linear" not in layers


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_arithmetic_in_bfloat16_changes_no_scale(kind, tmp_path):
    base, out = make_tiny_model("llama", tmp_path / "base"), tmp_path / "out"
    out.mkdir()
    save_quantized(base, out, kind=kind, dtype="bfloat16")
    again, direct = load_model(out, dtype="bfloat16"), load_model(base, dtype="bfloat16", quantize=kind)
    assert (logits(again) - logits(direct)).norm() < 0.05 * logits(direct).norm()


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_what_is_not_quantized_is_stored_as_it_was(kind, tmp_path):
    base, out = make_tiny_model("llama", tmp_path / "base"), tmp_path / "out"
    out.mkdir()
    save_quantized(base, out, kind=kind, dtype="float32")
    before, after = stored_dtypes(base), stored_dtypes(out)
    kept = before.keys() & after.keys()
    assert {name for name in kept if "proj" in name} == set()
    assert all(after[name] == before[name] for name in kept)
    assert "model.embed_tokens.weight" in kept


@pytest.mark.parametrize(("kind", "share"), [("nf4", 0.75), ("int8", 0.75)])
def test_it_is_smaller(kind, share, tmp_path):
    base, out = make_tiny_model("phi3", tmp_path / "base"), tmp_path / "out"
    out.mkdir()
    save_quantized(base, out, kind=kind, dtype="float32")
    small, full = ((folder / "model.safetensors").stat().st_size for folder in (out, base))
    assert small < share * full


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_a_base_in_half_precision_is_loaded_in_the_type_of_the_arithmetic(kind, tmp_path):
    """As models from GGUF files are stored: the embedding and the output layer are not quantized."""
    base, out = make_tiny_model("llama", tmp_path / "base"), tmp_path / "out"
    load_model(base, dtype="float32").half().save_pretrained(base)
    out.mkdir()
    save_quantized(base, out, kind=kind, dtype="float32")
    again = load_model(out, dtype="float32")
    assert stored_dtypes(out)["model.embed_tokens.weight"] == torch.float16
    assert again.get_output_embeddings().weight.dtype == torch.float32
    assert torch.equal(logits(again), logits(load_model(base, dtype="float32", quantize=kind)))
