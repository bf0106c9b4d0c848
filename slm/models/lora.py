"""LoRA adapters: which layers get one and its first values, saving one, loading one."""

import copy
import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from slm.errors import ModelError, RecipeError
from slm.models.cache import atomic_folder
from slm.models.frozen import as_integers
from slm.recipe import LoraSection

_SEPARATE = ("q_proj", "k_proj", "v_proj", "o_proj")
_FUSED = ("qkv_proj", "o_proj")
# By `config.model_type`: what each architecture calls the linear layers of its attention. The only such table.
_ATTENTION = {
    "gemma2": _SEPARATE,
    "gemma3_text": _SEPARATE,
    "llama": _SEPARATE,
    "phi3": _FUSED,
    "qwen2": _SEPARATE,
    "qwen3": _SEPARATE,
}
_ADAPTER = "default"  # PEFT's own name for the only one
# Attribute of a PEFT model whose base weights PiSSA has changed: the adapter's first values, by name.
_FIRST_VALUES = "slm_first_values"
# By randomized SVD, as its paper (arXiv:2404.02948) proposes: seconds where the whole decomposition takes minutes.
_PISSA = "pissa_niter_16"
Value = TypeVar("Value", int, float)


def add_lora(model: Any, lora: LoraSection, *, folder: Path | None = None) -> Any:
    """`model` as a PEFT model whose new adapter is all that is trained; the adapter is in float32.

    Its first values come from torch's global random state. `pissa` takes the principal part of each weight out of the
    base model and into the adapter (arXiv:2404.02948); `save_adapter` undoes that. `loftq` starts from what the 4-bit
    weights lost (arXiv:2310.08659), and needs the full weights in `folder`.
    Raises RecipeError for targets, ranks or alphas that the model has no layers for.
    """
    from peft import LoraConfig, get_peft_model

    adapted = _of_upper_layers(model, _adapted_modules(model, lora.targets), lora.upper)
    ranks = _by_module("lora.ranks", lora.ranks, adapted)
    alphas = _by_module("lora.alphas", lora.alphas, adapted)
    if lora.init != "default":
        _check_ranks(model, adapted, lora.rank, ranks, lora.init)
    with _quiet_peft(), as_integers(model):
        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=lora.rank,
            lora_alpha=lora.alpha,  # type: ignore[arg-type]  # PEFT says int and takes any number
            lora_dropout=lora.dropout,
            target_modules=_target_modules(model, lora.targets) if lora.upper == 1 else adapted,
            rank_pattern=ranks,
            alpha_pattern=alphas,
            use_rslora=lora.rslora,
            use_dora=lora.dora,
            init_lora_weights=_PISSA if lora.init == "pissa" else True,  # type: ignore[arg-type]  # its template of a name
        )
        peft_model = get_peft_model(model, config)
    if lora.init == "pissa":
        setattr(peft_model, _FIRST_VALUES, _adapter_tensors(peft_model, None))
    elif lora.init == "loftq":
        _init_loftq(peft_model, folder)
    return peft_model


def save_adapter(model: Any, folder: Path, *, state: Mapping[str, Tensor] | None = None) -> None:
    """Write the adapter of a PEFT model to `folder` as safetensors, complete or not at all.

    Equal adapters give equal files. It fits the original base model, also where PiSSA changed the weights in memory.
    `state` is the model's whole `state_dict` where its own tensors are only shards. Raises DiskFullError.
    """
    from safetensors.torch import save_file

    config = copy.deepcopy(model.peft_config[_ADAPTER])
    tensors = _adapter_tensors(model, state)
    first: dict[str, Tensor] | None = getattr(model, _FIRST_VALUES, None)
    if first is not None:
        tensors = _undo_pissa(tensors, first, config)
    config.inference_mode = True
    config.target_modules = sorted(config.target_modules)  # a set, whose order differs from process to process
    with atomic_folder(folder) as temporary:
        save_file(tensors, temporary / "adapter_model.safetensors", metadata={"format": "pt"})
        config.save_pretrained(str(temporary))


def load_adapter(model: Any, folder: Path) -> Any:
    """`model` with the adapter of `folder`, for inference. Raises ModelError if it is not an adapter of this model."""
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import SafetensorError, safe_open

    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise ModelError(f"no {name}", where=str(folder), expected="a folder with a LoRA adapter that slm saved")
    if _is_loftq(folder) and not getattr(model, "is_loaded_in_4bit", False):
        raise _unfit(model, folder, "it also makes up for what 4-bit weights lose", "that model in 4 bits (nf4)")
    try:
        with _quiet_peft():
            adapted = PeftModel.from_pretrained(model, str(folder)).eval()
    except (ValueError, RuntimeError, SafetensorError) as error:
        raise _unfit(model, folder, str(error).strip().splitlines()[0]) from error
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        stored = set(file.keys())
    # PEFT ignores stored layers that the model has not, and leaves random those that were not stored.
    if different := sorted(stored ^ set(get_peft_model_state_dict(adapted, save_embedding_layers=False))):
        raise _unfit(model, folder, f"only one of them has {different[0]}")
    return adapted


def plain_model(model: Any) -> Any:
    """The transformers model itself, without what DDP and PEFT have put around it."""
    inner = getattr(model, "module", model)
    return inner.get_base_model() if hasattr(inner, "get_base_model") else inner


def _unfit(model: Any, folder: Path, problem: str, expected: str | None = None) -> ModelError:
    return ModelError(
        f"the adapter does not fit the model: {problem}",
        where=str(folder),
        expected=expected or f"an adapter of {model.name_or_path}",
    )


def _is_loftq(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / "adapter_config.json").read_bytes()).get("loftq_config"))
    except (ValueError, AttributeError):
        return False  # PEFT will say so


def _adapter_tensors(model: Any, state: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Copies of the adapter's tensors on the CPU, by PEFT's names."""
    from peft import get_peft_model_state_dict

    # With embedding layers PEFT would ask a hub for the base model's configuration.
    found = get_peft_model_state_dict(model, state_dict=state, save_embedding_layers=False)
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in found.items()}


def _undo_pissa(tensors: dict[str, Tensor], first: dict[str, Tensor], config: Any) -> dict[str, Tensor]:
    """An adapter of the original weights: B A - B0 A0 as one product of twice the rank. Changes `config` to fit.

    PEFT's `path_initial_model_for_weight_conversion` does the same; but it asks a hub, holds a second adapter in memory
    and cannot take gathered shards.
    """
    # The scale must stay: it is alpha / rank, or alpha / √rank for rsLoRA.
    factor = 2**0.5 if config.use_rslora else 2
    config.init_lora_weights = True
    config.r *= 2
    config.lora_alpha *= factor
    config.rank_pattern = {name: 2 * rank for name, rank in config.rank_pattern.items()}
    config.alpha_pattern = {name: factor * alpha for name, alpha in config.alpha_pattern.items()}
    return {
        name: torch.cat([tensor, first[name]], 0) if "lora_A" in name else torch.cat([tensor, -first[name]], 1)
        for name, tensor in tensors.items()
    }


@torch.no_grad()
def _init_loftq(model: Any, folder: Path | None) -> None:
    """Set scale B A of every layer to the best approximation of what quantization lost.

    PEFT's own runs on GPUs alone and leaves the scale out. The base model is not changed, so the adapter fits every
    4-bit copy of it; `load_adapter` finds the mark left here and refuses others.
    """
    from bitsandbytes.functional import dequantize_4bit
    from peft.tuners.lora import LoraLayer

    if folder is None:
        raise ValueError("LoftQ needs the folder of the full weights")
    stored = _stored_weights(folder)
    for path, layer in model.get_base_model().named_modules():
        if not isinstance(layer, LoraLayer):
            continue
        quantized: Any = layer.get_base_layer()
        value = dequantize_4bit(quantized.weight.data, quantized.weight.quant_state).float()
        lost = stored(f"{path}.weight").to(value.device, torch.float32) - value
        left, sizes, right = torch.linalg.svd(lost, full_matrices=False)
        rank = layer.r[_ADAPTER]
        root = (sizes[:rank] / layer.scaling[_ADAPTER]).sqrt()
        first: Any = layer.lora_A[_ADAPTER]
        second: Any = layer.lora_B[_ADAPTER]
        first.weight.copy_(root[:, None] * right[:rank])
        second.weight.copy_(left[:, :rank] * root)
    model.peft_config[_ADAPTER].loftq_config = {"loftq_bits": 4, "loftq_iter": 1}


def _stored_weights(folder: Path) -> Callable[[str], Tensor]:
    """Reads one weight of a model folder by its name."""
    from safetensors import safe_open

    files: dict[str, Path] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            files.update(dict.fromkeys(file.keys(), path))

    def read(name: str) -> Tensor:
        if name not in files:
            raise ModelError(f"no weight {name}", where=str(folder), expected="the full weights, which LoftQ needs")
        with safe_open(files[name], "pt") as file:
            tensor: Tensor = file.get_tensor(name)
        return tensor

    return read


@contextmanager
def _quiet_peft() -> Iterator[None]:
    with warnings.catch_warnings():
        # PEFT asks transformers by a name that transformers has since deprecated; nobody here can mend that.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        # That layers are missing (`load_adapter` looks for itself), that LoftQ is over, that PEFT could not undo PiSSA.
        warnings.filterwarnings("ignore", category=UserWarning)
        yield


def _target_modules(model: Any, targets: str | tuple[str, ...]) -> str | list[str]:
    if targets == "all-linear":
        return "all-linear"  # PEFT's own: every linear layer but the output layer
    if targets == "attention":
        return list(_ATTENTION[model.config.model_type])
    return list(targets)


def _adapted_modules(model: Any, targets: str | tuple[str, ...]) -> list[str]:
    """Full names of the layers that get an adapter. Raises RecipeError for targets that the model has not."""
    linear = _linear_modules(model)
    if targets == "all-linear":
        return linear
    names: Sequence[str] = targets
    if targets == "attention":
        if model.config.model_type not in _ATTENTION:
            raise RecipeError(
                f"the attention layers of architecture {model.config.model_type!r} are not known",
                where="lora.targets",
                expected=f'"all-linear", or a list out of: {_short_names(linear)}',
            )
        names = _ATTENTION[model.config.model_type]
    if unmatched := _unmatched(names, linear):
        raise RecipeError(
            f"{model.name_or_path or 'the model'} has no linear layer named {', '.join(unmatched)}",
            where="lora.targets",
            expected=f'"all-linear", "attention", or a list out of: {_short_names(linear)}',
        )
    return [path for path in linear if any(_matches(name, path) for name in names)]


def _of_upper_layers(model: Any, adapted: list[str], share: float) -> list[str]:
    """Those in this share of the decoder layers, from the last one down, rounded to at least one layer."""
    layers = model.get_decoder().layers
    upper = layers[-max(1, round(share * len(layers))) :]
    inside = {module for layer in upper for module in layer.modules()}
    return [path for path in adapted if share == 1 or model.get_submodule(path) in inside]


def _by_module(key: str, values: Mapping[str, Value], adapted: Sequence[str]) -> dict[str, Value]:
    """`values` with the longest names first: PEFT takes the first that fits, and the most specific one should win."""
    if unmatched := _unmatched(values, adapted):
        raise RecipeError(
            f"no layer that gets an adapter is named {', '.join(unmatched)}",
            where=key,
            expected=f"names out of: {_short_names(adapted)}",
        )
    return dict(sorted(values.items(), key=lambda item: (-len(item[0]), item[0])))


def _check_ranks(model: Any, adapted: Sequence[str], rank: int, ranks: Mapping[str, int], init: str) -> None:
    """A singular value decomposition has no more parts than the smaller side of the matrix."""
    for path in adapted:
        layer = model.get_submodule(path)
        own = next((value for name, value in ranks.items() if _matches(name, path)), rank)
        if own > (most := min(layer.in_features, layer.out_features)):
            raise RecipeError(
                f"rank {own} of {path} is more than the weight has",
                where="lora.ranks" if own != rank else "lora.rank",
                expected=f"at most {most} with lora.init: {init}",
            )


def _matches(name: str, path: str) -> bool:
    return path == name or path.endswith(f".{name}")


def _unmatched(names: Iterator[str] | Sequence[str] | Mapping[str, Any], paths: Sequence[str]) -> list[str]:
    return [name for name in names if not any(_matches(name, path) for path in paths)]


def _linear_modules(model: Any) -> list[str]:
    """Full names of all linear layers, quantized or not, but for the output layer."""
    output = model.get_output_embeddings()
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not output]


def _short_names(paths: Sequence[str]) -> str:
    return ", ".join(sorted({path.rpartition(".")[2] for path in paths}))
