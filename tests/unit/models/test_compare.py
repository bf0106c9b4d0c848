"""What precision explains passes, and the smallest change that it does not explain is found and named."""

import copy

import pytest
import torch

from slm.models.compare import compare_weights
from slm.models.load import load_model
from tiny import make_tiny_model

NAME = "model.layers.1.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_tiny_model("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def model(folder):
    return load_model(folder, dtype="float32")


def rounded(model, dtype):
    """A copy whose values are those of `dtype`, in float32."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for value in other.parameters():
            value.copy_(value.to(dtype).float())
    return other


def test_equal_models(model):
    found = compare_weights(model, copy.deepcopy(model))
    assert (found.unlike, found.worst) == (None, None)
    assert found.compared == len(dict(model.named_parameters(remove_duplicate=False)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rounding_is_explained_and_a_changed_weight_is_not(model, dtype):
    other = rounded(model, dtype)
    assert compare_weights(model, other).worst is None
    weight = other.get_parameter(NAME)
    with torch.no_grad():
        weight[2, 3] = float((weight[2, 3] + 0.02).to(dtype))
    found = compare_weights(model, other).worst
    assert found is not None
    assert found.name == NAME
    assert found.largest > found.allowed_largest


def test_a_change_that_only_the_whole_matrix_shows(model):
    """Each weight a little too large: as after merging with a wrong scale."""
    other = rounded(model, torch.bfloat16)
    with torch.no_grad():
        other.get_parameter(NAME).mul_(1.02)
    found = compare_weights(model, other).worst
    assert found is not None
    assert found.name == NAME


@pytest.mark.parametrize("quantize", ["nf4", "int8"])
def test_quantized_layers_are_compared_as_what_they_stand_for(folder, model, quantize):
    other = load_model(folder, dtype="float32", quantize=quantize)
    found = compare_weights(model, other)
    assert (found.unlike, found.worst) == (None, None)
    wrong = copy.deepcopy(model)
    with torch.no_grad():
        wrong.get_parameter(NAME).copy_(wrong.get_parameter(NAME).flip(0))
    found = compare_weights(wrong, other)
    assert found.worst is not None
    assert found.worst.name == NAME


def test_a_value_that_is_not_finite(model):
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.get_parameter(NAME)[0, 0] = float("nan")
    found = compare_weights(model, other).worst
    assert found is not None
    assert found.name == NAME


def test_a_trimmed_vocabulary_is_compared_row_by_row(model):
    rows = [number for number in range(500) if number % 3]
    other = copy.deepcopy(model)
    kept = torch.nn.Parameter(model.get_input_embeddings().weight[rows].detach().clone())
    other.get_input_embeddings().weight = other.get_output_embeddings().weight = kept
    assert compare_weights(model, other, rows=rows).worst is None
    with torch.no_grad():
        kept[[7, 8]] = kept[[8, 7]]
    found = compare_weights(model, other, rows=rows).worst
    assert found is not None
    assert "embed_tokens" in found.name
    assert "embed_tokens" in (compare_weights(model, other).unlike or "")


def test_another_architecture(model, tmp_path):
    other = load_model(make_tiny_model("qwen3", tmp_path), dtype="float32")
    assert "k_norm" in (compare_weights(model, other).unlike or "")
