"""A tuned model as one set of weights: the adapter merged in float32, and the files that hold the result."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slm.errors import ModelError
from slm.files import write_json
from slm.models.forms import StoredDtype
from slm.models.load import copy_tokenizer, load_model, quiet_transformers
from slm.models.lora import load_adapter
from slm.recipe import ModelSection

_SAFETENSORS = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def merge(base: Path, section: ModelSection, adapter: Path | None) -> Any:
    """The model in `base` with the adapter merged into its weights, all in float32, on the CPU.

    Where the recipe quantizes the base, the adapter was trained on what the quantized weights stand for, and these are
    what it is merged into. Raises ModelError for weights that are not finite.
    """
    network = load_model(base, dtype="float32", quantize=section.quantize)
    if section.quantize != "none":
        with quiet_transformers():
            network = network.dequantize(dtype=torch.float32)
    if adapter is not None:
        network = load_adapter(network, adapter).merge_and_unload()
    network.is_loaded_in_4bit = network.is_loaded_in_8bit = False
    for name, value in network.named_parameters():
        check_finite(name, value, str(adapter or base))
    return network.to("cpu").eval()


def check_finite(name: str, value: Tensor, where: str, hint: str | None = None) -> None:
    """Raises ModelError that names the weight if any of its values is NaN or infinite."""
    wrong = int(value.numel() - torch.isfinite(value).sum())
    if wrong:
        raise ModelError(
            f"{wrong} of the {value.numel()} values of {name} are not finite in {_name(value.dtype)}",
            where=where,
            expected="finite weights",
            hint=hint,
        )


def save_merged(model: Any, folder: Path, *, base: Path, tokenizer: Path, dtype: StoredDtype = "base") -> None:
    """Write a float32 model into an existing folder, so that `load_model` loads it; with it the files of `tokenizer`.

    `base` is the folder of the base model. Raises ModelError for a weight that is out of the range of `dtype`.
    """
    state = whole_state(model)
    like = stored_dtypes(base) if dtype == "base" else dict.fromkeys(state, getattr(torch, dtype))
    for name, value in state.items():
        state[name] = value.to(like.get(name, value.dtype))
        check_finite(name, state[name], str(folder), hint="--dtype float32")
    write_weights(
        model, state, folder, dtype=str(read_config(base).get("dtype", "float32")) if dtype == "base" else dtype
    )
    copy_tokenizer(tokenizer, folder)


def whole_state(model: Any) -> dict[str, Tensor]:
    """The model's weights by name; an output layer that is the embedding is left out, as in any file."""
    state = dict(model.state_dict())
    output = model.get_output_embeddings()
    if output.weight is model.get_input_embeddings().weight:
        name = next(name for name, module in model.named_modules() if module is output)
        del state[f"{name}.weight"]
    return state


def write_weights(model: Any, state: Mapping[str, Tensor], folder: Path, *, dtype: str) -> None:
    """Write `model.safetensors` with `state`, and the model's configurations, which call its type `dtype`.

    Equal weights give equal files.
    """
    from safetensors.torch import save_file

    seen: set[int] = set()
    tensors = {}
    for name, value in sorted(state.items()):
        plain = value.detach().cpu().contiguous()
        # The maps of quantized weights are one tensor for all layers, and safetensors takes no tensor twice.
        tensors[name] = plain.clone() if plain.data_ptr() in seen else plain
        seen.add(plain.data_ptr())
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    config = read_config(folder) | {"dtype": dtype, "architectures": [type(model).__name__]}
    write_json(folder / "config.json", config)


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a model folder, as it stands there."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    return config


def stored_dtypes(folder: Path) -> dict[str, torch.dtype]:
    """How the safetensors files of a model folder store each floating point weight, by its name."""
    from safetensors import safe_open

    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 - not a mapping
        found.update({name: _SAFETENSORS[kind] for name, kind in kinds.items() if kind in _SAFETENSORS})
    return found


def _name(dtype: torch.dtype) -> str:
    return str(dtype).rpartition(".")[2]
