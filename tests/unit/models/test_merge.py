"""Merged weights answer as base and adapter do, are stored as asked for, and are finite or refused by name."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from slm.errors import ModelError
from slm.models.load import load_model, load_tokenizer
from slm.models.lora import load_adapter
from slm.models.merge import merge, save_merged, stored_dtypes
from slm.recipe import ModelSection
from tiny import FAMILIES
from tiny_run import make_tiny_run

_IDS = torch.arange(20, 40)[None]


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(_IDS).logits


def sections(folder, **changes) -> ModelSection:
    return ModelSection(name=str(folder), **changes)


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_and_stored_in_float32_it_is_the_same_model(family, tmp_path):
    run = make_tiny_run(family, tmp_path)
    base, out = tmp_path / "base", tmp_path / "out"
    tuned = load_adapter(load_model(base, dtype="float32"), run.adapter)
    merged = merge(base, sections(base), run.adapter)
    assert (logits(tuned) - logits(load_model(base, dtype="float32"))).abs().max() > 0.01, "the adapter does nothing"
    assert torch.allclose(logits(merged), logits(tuned), atol=1e-4)
    out.mkdir()
    save_merged(merged, out, base=base, tokenizer=base, dtype="float32")
    assert torch.equal(logits(load_model(out, dtype="float32")), logits(merged))
    assert load_tokenizer(out).get_vocab() == load_tokenizer(base).get_vocab()


def test_weights_are_stored_as_the_base_stores_each(tmp_path):
    run = make_tiny_run("llama", tmp_path)
    base, out = tmp_path / "base", tmp_path / "out"
    halves = {
        name: value.to(torch.bfloat16 if value.ndim > 1 else torch.float32)
        for name, value in load_file(base / "model.safetensors").items()
    }
    save_file(halves, base / "model.safetensors", metadata={"format": "pt"})
    out.mkdir()
    save_merged(merge(base, sections(base), run.adapter), out, base=base, tokenizer=base)
    assert stored_dtypes(out) == stored_dtypes(base)
    assert set(stored_dtypes(out).values()) == {torch.bfloat16, torch.float32}


@pytest.mark.parametrize("quantize", ["nf4", "int8"])
def test_an_adapter_of_quantized_weights_is_merged_into_what_they_stand_for(quantize, tmp_path):
    run = make_tiny_run("llama", tmp_path, f"model.quantize={quantize}")
    base = tmp_path / "base"
    tuned = load_adapter(load_model(base, dtype="float32", quantize=quantize), run.adapter)
    tuned.train()  # in evaluation int8 also rounds the inputs of layers
    merged = merge(base, sections(base, quantize=quantize), run.adapter)
    into_full = merge(base, sections(base), run.adapter)
    ours, other = ((logits(each) - logits(tuned)).norm() for each in (merged, into_full))
    assert ours < other / 2


def test_a_weight_that_is_not_finite_is_named(tmp_path):
    run = make_tiny_run("llama", tmp_path)
    file = run.adapter / "adapter_model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if "layers.1.mlp.up_proj.lora_B" in name)
    weights[name][3, 0] = float("nan")
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(
        ModelError, match=r"64 of the 8192 values of model\.layers\.1\.mlp\.up_proj\.weight are not finite"
    ):
        merge(tmp_path / "base", sections(tmp_path / "base"), run.adapter)


def test_a_weight_out_of_the_range_of_its_type_is_named(tmp_path):
    run = make_tiny_run("llama", tmp_path)
    model = merge(tmp_path / "base", sections(tmp_path / "base"), run.adapter)
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight[0, 0] = 1e5
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(ModelError, match=r"layers\.0\.mlp\.down_proj\.weight are not finite in float16(.|\n)*--dtype"):
        save_merged(model, out, base=tmp_path / "base", tokenizer=tmp_path / "base", dtype="float16")
