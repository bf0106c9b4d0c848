"""A planned model has the layers, sizes and trained parameters of the real one; the shipped dimensions are right."""

import json

import pytest
import torch

from slm.errors import ModelError
from slm.models import list_models
from slm.models.load import count_parameters
from slm.paths import shipped
from slm.recipe import Recipe
from slm.train.plan.memory import _bytes_of, _weights
from slm.train.plan.model import _read_shipped, planned_config, planned_model
from slm.train.prepare import prepare_model
from tiny import FAMILIES, make_tiny_model, store_matrices

CPU = torch.device("cpu")
SHIPPED = sorted(shipped("configs", "architectures").glob("*.json"))


def recipe(name: str, **sections) -> Recipe:
    required = {"name": "x", "data": {"train": "a"}, "evaluate": {"suite": "b"}}
    sections["model"] = {"name": name, **sections.get("model", {})}
    return Recipe.model_validate(required | sections)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_dimensions_give_the_parameters_of_the_catalog(file):
    (entry,) = (one for one in list_models() if one.name == file.stem)
    assert json.loads(file.read_text())["source"].startswith("config.json of https://huggingface.co/")
    import transformers

    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(_read_shipped(file))
    assert count_parameters(model)[1] == entry.parameters


def test_every_model_of_the_catalog_has_shipped_dimensions():
    assert {file.stem for file in SHIPPED} == {entry.name for entry in list_models()}


VARIANTS = {
    "lora": {},
    "bfloat16": {"model": {"dtype": "bfloat16"}, "train": {"recompute": True}},
    "nf4": {"model": {"quantize": "nf4", "dtype": "bfloat16"}},
    "int8": {"model": {"quantize": "int8"}},
    "full": {"train": {"method": "full"}},
}


@pytest.mark.parametrize("stored", [torch.float32, torch.float16])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("family", ["llama", "phi3", "gemma3"])
def test_a_planned_model_has_the_tensors_of_the_real_one(family, variant, stored, tmp_path):
    wanted = recipe(str(store_matrices(make_tiny_model(family, tmp_path), stored)), **VARIANTS[variant])
    real = prepare_model(tmp_path, wanted, device=CPU)
    planned = planned_model(planned_config(str(tmp_path)), wanted, on_gpu=False)

    def tensors(model):
        return {name: (one.shape, one.dtype, one.requires_grad) for name, one in model.named_parameters()}

    assert tensors(planned) == tensors(real)
    assert all(one.is_meta for one in planned.parameters())
    assert _bytes_of(_weights(planned)) == pytest.approx(_bytes_of(_weights(real)), rel=0.02)


def test_planning_on_the_meta_device_leaves_nothing_behind_for_real_models(tmp_path):
    """bitsandbytes keeps a table for all models, which must not be left on the meta device."""
    folder = make_tiny_model("llama", tmp_path)
    quantized = recipe(str(folder), model={"quantize": "nf4"})
    planned_model(planned_config(str(folder)), quantized, on_gpu=True)
    model = prepare_model(folder, quantized, device=CPU)
    out = model(input_ids=torch.tensor([[5, 6, 7]])).logits
    assert bool(out.isfinite().all())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_configuration_of_a_folder_is_used_as_it_is(family, tmp_path):
    folder = make_tiny_model(family, tmp_path)
    assert planned_config(str(folder)).hidden_size == 64


def test_a_model_without_known_dimensions_is_refused():
    with pytest.raises(ModelError, match=r"its dimensions are not on this machine\n  expected: .*phi3-mini"):
        planned_config("some/where")
