"""The model of a recipe without its weights: on the meta device, quantized, adapted and fused as training does it."""

import copy
import json
from pathlib import Path
from typing import Any

import torch

from slm.errors import ModelError
from slm.models import find_model, model_folder
from slm.models.frozen import compute_dtype, mark
from slm.models.load import load_config, quantization_config, quiet_transformers
from slm.paths import shipped
from slm.recipe import Recipe
from slm.train.prepare import adapt_model, keeps_stored

_META = torch.device("meta")


def planned_config(name: str) -> Any:
    """The configuration of the model `name`: of its folder if it has been pulled, or one of `configs/architectures`.

    Raises ModelError where neither is here.
    """
    entry = find_model(name)
    folder = model_folder(entry)
    if (folder / "config.json").is_file():
        return _plain_positions(load_config(folder))
    known = {path.stem: path for path in sorted(shipped("configs", "architectures").glob("*.json"))}
    if entry.name in known:
        return _plain_positions(_read_shipped(known[entry.name]))
    raise ModelError(
        "its dimensions are not on this machine",
        where=name,
        expected=f"a model that has been pulled, or one of {', '.join(known)}",
        hint=f"slm models pull {entry.name}",
    )


def planned_model(config: Any, recipe: Recipe, *, on_gpu: bool) -> Any:
    """The model that `recipe` trains, ready for its first step and on the meta device. `config` is not changed.

    The adapter's first values take no memory of their own, and compiled layers are planned as if they were not.
    """
    import transformers

    auto: Any = transformers.AutoModelForCausalLM
    dtype = "float32" if recipe.train.method == "full" else recipe.model.dtype
    with _META, quiet_transformers():
        model = auto.from_config(copy.deepcopy(config), dtype=getattr(torch, dtype))
    if recipe.model.quantize != "none":
        _quantize(model, recipe, on_gpu=on_gpu)
    if keeps_stored(recipe):
        _as_stored(model, config.dtype)
    plain = recipe.model_copy(update={"lora": recipe.lora.model_copy(update={"init": "default"})})
    with _META:
        return adapt_model(model.eval(), plain, device=_META, compiling=False)


def _as_stored(model: Any, stored: torch.dtype | None) -> None:
    """As `load_model` gives them: matrices in the type of the file, None where unknown, if that has fewer bits."""
    wide = compute_dtype(model)
    for weight in model.parameters():
        if stored is not None and weight.ndim > 1 and stored.itemsize < wide.itemsize:
            weight.data = weight.data.to(stored)
    mark(model, wide)


def _read_shipped(file: Path) -> Any:
    from transformers import AutoConfig

    values = json.loads(file.read_text(encoding="utf-8"))["config"]
    return AutoConfig.for_model(values.pop("model_type"), **values)


def _plain_positions(config: Any) -> Any:
    """Without stretched rotary positions, whose code looks at values. They take no more memory."""
    found = getattr(config, "rope_parameters", None) or {}
    if found.get("rope_type", "default") != "default":
        kept = {key: found[key] for key in ("rope_theta", "partial_rotary_factor") if key in found}
        config.rope_parameters = {"rope_type": "default", **kept}
    return config


def _quantize(model: Any, recipe: Recipe, *, on_gpu: bool) -> None:
    """Give the model bitsandbytes' layers, with weights and scales of their true sizes."""
    import bitsandbytes
    import transformers.integrations
    from transformers.quantizers.base import get_keys_to_not_convert

    functional: Any = bitsandbytes.functional
    layers: Any = bitsandbytes.nn
    integrations: Any = transformers.integrations
    # A table that bitsandbytes makes once, on the device that asks first; one on the meta device would be of no use.
    functional.name2qmap.setdefault("dynamic", functional.create_dynamic_map())
    quantize, dtype = recipe.model.quantize, getattr(torch, recipe.model.dtype)
    config = quantization_config(quantize, recipe.model.dtype)
    integrations.replace_with_bnb_linear(model, get_keys_to_not_convert(model), config)
    for module in model.modules():
        if isinstance(module, (layers.Linear4bit, layers.Linear8bitLt)):
            weight: Any = module.weight
            weight.data = weight.data.to(dtype)
            module.weight = weight._quantize("meta")
            if isinstance(module, layers.Linear8bitLt):
                _plan_int8(module, on_gpu=on_gpu)
    setattr(model, "is_loaded_in_4bit" if quantize == "nf4" else "is_loaded_in_8bit", True)


def _plan_int8(layer: Any, *, on_gpu: bool) -> None:
    """What the library decides by the device; which columns have outliers only values tell, so none are planned."""
    from bitsandbytes.autograd._functions import MatMul8bitFp

    layer.state.threshold = 0.0
    if on_gpu:
        return

    def forward(x: Any) -> Any:
        if layer.weight.CB is not None:
            layer.init_8bit_state()
        return MatMul8bitFp.apply(x, layer.weight, None, layer.bias, layer.state)  # type: ignore[no-untyped-call]

    layer.forward = forward
