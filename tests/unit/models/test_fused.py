"""Fused steps change nothing but the time: outputs and gradients of every architecture, and who is left alone."""

import copy

import pytest
import torch

from slm.models.fused import fuse
from slm.models.load import load_model
from slm.models.lora import add_lora
from slm.recipe import LoraSection
from tiny import FAMILIES, make_tiny_model


def adapted(folder, dtype="float32", noise=0.2, **lora):
    torch.manual_seed(0)
    model = add_lora(load_model(folder, dtype=dtype), LoraSection(rank=4, **lora))
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():  # an adapter that is not the identity, norms that are not ones
        for name, parameter in model.named_parameters():
            if "lora_" in name or "norm" in name:
                parameter.add_(torch.randn(parameter.shape, generator=draw).mul_(noise))
    return model


def results(model):
    ids = torch.randint(10, 200, (2, 19), generator=torch.Generator().manual_seed(2))
    loss = model(input_ids=ids, labels=ids).loss
    model.zero_grad()
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def error(gradient, exact):
    return float((gradient - exact).norm() / exact.norm())


@pytest.mark.parametrize("family", FAMILIES)
def test_outputs_and_gradients_stay_the_same(family, tmp_path):
    model = adapted(make_tiny_model(family, tmp_path))
    _, exact = results(copy.deepcopy(model).double())
    loss, gradient = results(model)
    fuse(model)
    fused = {type(m).__name__ for m in model.modules() if "forward" in vars(m)}
    assert any(name.endswith("RMSNorm") for name in fused)
    assert any(name.endswith("MLP") for name in fused)
    assert "Linear" in fused
    fused_loss, fused_gradient = results(model)
    assert fused_loss == pytest.approx(loss, rel=1e-6)
    # These models magnify rounding, so the measure is how far the library's own gradient is from that in float64.
    assert error(fused_gradient, exact) <= 2 * error(gradient, exact) <= 1e-3


def test_bfloat16_is_no_less_exact_than_the_library(tmp_path):
    folder = make_tiny_model("llama", tmp_path)
    _, exact = results(adapted(folder, noise=0.02).double())
    model = adapted(folder, dtype="bfloat16", noise=0.02)
    loss, gradient = results(model)
    fuse(model)
    fused_loss, fused_gradient = results(model)
    assert fused_loss == pytest.approx(loss, rel=0.02)
    assert fused_gradient.dtype == gradient.dtype == torch.float32
    assert error(gradient, exact) <= 0.3, "or the comparison says nothing"
    assert error(fused_gradient, exact) <= 1.2 * error(gradient, exact)


@pytest.mark.parametrize("variant", [{"dropout": 0.1}, {"dora": True}])
def test_adapters_that_do_more_are_left_alone(variant, tmp_path):
    model = adapted(make_tiny_model("llama", tmp_path), **variant)
    fuse(model)
    assert not any("lora_A" in vars(m).get("_modules", {}) and "forward" in vars(m) for m in model.modules())


def test_norms_that_are_trained_are_left_alone(tmp_path):
    model = load_model(make_tiny_model("llama", tmp_path), dtype="float32")
    fuse(model)
    assert not any(type(m).__name__ == "LlamaRMSNorm" and "forward" in vars(m) for m in model.modules())


def test_a_disabled_adapter_is_the_base(tmp_path):
    model = adapted(make_tiny_model("llama", tmp_path))
    ids = torch.arange(10, 20)[None]
    with model.disable_adapter():
        expected = model(input_ids=ids).logits
        fuse(model)
        assert torch.allclose(model(input_ids=ids).logits, expected, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_nothing_of_a_step_is_held_when_layers_are_computed_again(family, tmp_path):
    model = adapted(make_tiny_model(family, tmp_path))
    fuse(model)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    results(model)
    held = [vars(module)["slm_together"] for module in model.modules() if "slm_together" in vars(module)]
    assert held
    assert all(one._input is None and not one._outputs for one in held)
