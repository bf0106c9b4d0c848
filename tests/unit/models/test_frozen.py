"""Frozen weights in the type of their file: the same numbers bit by bit, and only where nothing is lost."""

import copy

import pytest
import torch

from slm.models.frozen import compute_dtype, narrow, widened
from slm.models.fused import fuse
from slm.models.head_loss import labelled
from slm.models.load import load_config, load_model
from slm.models.lora import add_lora
from slm.recipe import LoraSection
from tiny import FAMILIES, make_tiny_model, store_matrices


def adapted(folder):
    torch.manual_seed(0)
    model = add_lora(load_model(folder, dtype="float32"), LoraSection(rank=4))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    return model


def results(model):
    ids = torch.randint(10, 200, (1, 19), generator=torch.Generator().manual_seed(2))
    model.zero_grad()
    with labelled(model, ids[0]) as fused:
        out = model(input_ids=ids, logits_to_keep=19).logits
    loss = out.sum() if fused else torch.nn.functional.cross_entropy(out[0], ids[0], reduction="sum")
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_the_same_to_the_bit(family, dtype, tmp_path):
    folder = store_matrices(make_tiny_model(family, tmp_path), dtype)
    assert load_config(folder).dtype == dtype
    model = adapted(folder)
    kept = copy.deepcopy(model)
    fuse(kept)
    fuse(model, stored=dtype)
    assert model.get_base_model().get_decoder().layers[0].mlp.down_proj.base_layer.weight.dtype == dtype
    assert compute_dtype(model) == torch.float32
    assert all(p.dtype == torch.float32 for p in model.parameters() if p.requires_grad or p.ndim == 1)
    (loss, gradient), (expected_loss, expected) = results(model), results(kept)
    assert torch.equal(loss, expected_loss)
    assert torch.equal(gradient, expected)


@pytest.mark.parametrize(("family", "narrowed"), [("gemma3", True), ("gemma2", False)])
def test_a_tied_embedding_is_narrowed_if_the_output_layer_can_widen_it(family, narrowed, tmp_path):
    model = adapted(store_matrices(make_tiny_model(family, tmp_path), torch.float16))
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    assert embedding.weight is head.weight
    fuse(model, stored=torch.float16)  # Gemma 2 caps its logits, so its output layer is left alone
    assert (embedding.weight.dtype == torch.float16) == narrowed


def test_a_weight_that_would_lose_something_stays():
    exact, inexact = (torch.nn.Parameter(torch.tensor([[value]]), requires_grad=False) for value in (1.5, 0.1))
    trained = torch.nn.Parameter(torch.tensor([[1.5]]))
    narrow([exact, inexact, trained], torch.bfloat16)
    assert [one.dtype for one in (exact, inexact, trained)] == [torch.bfloat16, torch.float32, torch.float32]


def test_widened_answers_as_before_and_is_narrow_again(tmp_path):
    model = adapted(store_matrices(make_tiny_model("llama", tmp_path), torch.bfloat16))
    ids = torch.arange(10, 30)[None]
    fuse(model)
    expected = model(input_ids=ids).logits
    fuse(model, stored=torch.bfloat16)
    narrowed = {name for name, value in model.named_parameters() if value.dtype == torch.bfloat16}
    assert narrowed
    assert torch.equal(model(input_ids=ids).logits, expected)
    with widened(model):
        assert not any(value.dtype == torch.bfloat16 for value in model.parameters())
        assert torch.equal(model(input_ids=ids).logits, expected)
    assert {name for name, value in model.named_parameters() if value.dtype == torch.bfloat16} == narrowed


def test_the_type_of_a_file_is_that_of_its_largest_weight(tmp_path):
    folder = make_tiny_model("llama", tmp_path)
    assert load_config(folder).dtype == torch.float32
    (folder / "model.safetensors").unlink()
    assert load_config(folder).dtype == torch.float32  # as config.json says
