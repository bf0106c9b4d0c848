"""Frozen weights in the type of their file: the same numbers bit by bit, and only where nothing is lost."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from slm.errors import ModelError
from slm.models.frozen import compute_dtype, widened
from slm.models.fused import fuse
from slm.models.head_loss import labelled
from slm.models.load import load_config, load_model
from slm.models.lora import add_lora
from slm.recipe import LoraSection
from tiny import FAMILIES, make_tiny_model, store_matrices


def adapted(folder, *, as_stored, **lora):
    torch.manual_seed(0)
    model = add_lora(load_model(folder, dtype="float32", as_stored=as_stored), LoraSection(rank=4, **lora))
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
    kept, model = (adapted(folder, as_stored=as_stored) for as_stored in (False, True))
    fuse(kept)
    fuse(model)
    assert model.get_base_model().get_decoder().layers[0].mlp.down_proj.base_layer.weight.dtype == dtype
    assert compute_dtype(model) == torch.float32
    assert all(p.dtype == torch.float32 for p in model.parameters() if p.requires_grad or p.ndim == 1)
    (loss, gradient), (expected_loss, expected) = results(model), results(kept)
    assert torch.equal(loss, expected_loss)
    assert torch.equal(gradient, expected)


@pytest.mark.parametrize("lora", [{"targets": "attention"}, {"dropout": 0.5}])
def test_layers_without_a_fused_adapter_are_the_same_to_the_bit(lora, tmp_path):
    folder = store_matrices(make_tiny_model("qwen2", tmp_path), torch.bfloat16)  # its layers have biases
    kept, model = (adapted(folder, as_stored=as_stored, **lora).train() for as_stored in (False, True))
    fuse(kept)
    fuse(model)
    layer = model.get_base_model().get_decoder().layers[0].mlp.down_proj
    assert getattr(layer, "base_layer", layer).weight.dtype == torch.bfloat16
    expected, found = [], []
    for one, into in ((kept, expected), (model, found)):
        torch.manual_seed(3)  # of the dropout
        into.extend(results(one))
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))


def test_without_its_adapter_a_model_answers_as_the_base(tmp_path):
    folder = store_matrices(make_tiny_model("llama", tmp_path), torch.float16)
    model, ids = adapted(folder, as_stored=True), torch.arange(10, 30)[None]
    fuse(model)
    with model.disable_adapter():
        expected = load_model(folder, dtype="float32")(input_ids=ids).logits
        assert torch.allclose(model(input_ids=ids).logits, expected, atol=1e-5)


@pytest.mark.parametrize(("family", "narrowed"), [("gemma3", True), ("gemma2", False)])
def test_a_tied_embedding_is_narrowed_if_the_output_layer_can_widen_it(family, narrowed, tmp_path):
    model = adapted(store_matrices(make_tiny_model(family, tmp_path), torch.float16), as_stored=True)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    assert embedding.weight is head.weight
    fuse(model)  # Gemma 2 caps its logits, so its output layer is left alone
    assert (embedding.weight.dtype == torch.float16) == narrowed


def test_files_that_do_not_allow_it_are_loaded_wide(tmp_path):
    folder = store_matrices(make_tiny_model("gemma3", tmp_path), torch.float16)
    weights = load_file(folder / "model.safetensors")
    one = next(name for name, value in weights.items() if value.ndim == 2)
    for changed in (weights | {one: weights[one].float()}, {f"other.{name}": value for name, value in weights.items()}):
        save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
        if "other" in next(iter(changed)):
            with pytest.raises(ModelError, match="weights are missing"):
                load_model(folder, dtype="float32", as_stored=True)
        else:
            model = load_model(folder, dtype="float32", as_stored=True)
            assert {value.dtype for value in model.parameters()} == {torch.float32}


def test_what_is_no_matrix_has_its_exact_value(tmp_path):
    folder = store_matrices(make_tiny_model("gemma3", tmp_path), torch.float16)
    weights = load_file(folder / "model.safetensors")
    norms = {name: torch.rand_like(value) for name, value in weights.items() if value.ndim == 1}
    save_file(weights | norms, folder / "model.safetensors", metadata={"format": "pt"})
    wide, model = (load_model(folder, dtype="float32", as_stored=as_stored) for as_stored in (False, True))
    same = dict(wide.named_parameters())
    assert all(torch.equal(value, same[name]) for name, value in model.named_parameters() if value.ndim == 1)
    buffers = dict(wide.named_buffers())
    assert buffers.keys() == dict(model.named_buffers()).keys()
    assert all(torch.equal(value, buffers[name]) for name, value in model.named_buffers())


def test_widened_answers_as_before_and_is_narrow_again(tmp_path):
    folder = store_matrices(make_tiny_model("llama", tmp_path), torch.bfloat16)
    plain, model = (adapted(folder, as_stored=as_stored) for as_stored in (False, True))
    ids = torch.arange(10, 30)[None]
    fuse(plain)
    expected = plain(input_ids=ids).logits
    fuse(model)
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
