"""LoRA adapters: which layers get one, saving one, loading one."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from slm.errors import ModelError, RecipeError
from slm.models.cache import atomic_folder
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


def add_lora(model: Any, lora: LoraSection) -> Any:
    """`model` as a PEFT model whose new adapter is all that is trained; the adapter is in float32.

    Its first values come from torch's global random state. Raises RecipeError for targets that the model has not.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # PEFT says int and takes any number
        lora_dropout=lora.dropout,
        target_modules=_target_modules(model, lora.targets),
    )
    with _without_deprecations():
        return get_peft_model(model, config)


def save_adapter(model: Any, folder: Path) -> None:
    """Write the adapter of a PEFT model to `folder` as safetensors, complete or not at all. Raises DiskFullError."""
    with atomic_folder(folder) as temporary:
        # With embedding layers PEFT would ask a hub for the base model's configuration.
        model.save_pretrained(temporary, safe_serialization=True, save_embedding_layers=False)
        (temporary / "README.md").unlink(missing_ok=True)  # a model card of blanks to fill in


def load_adapter(model: Any, folder: Path) -> Any:
    """`model` with the adapter of `folder`, for inference. Raises ModelError if it is not an adapter of this model."""
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import SafetensorError, safe_open

    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise ModelError(f"no {name}", where=str(folder), expected="a folder with a LoRA adapter that slm saved")
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # that layers are missing; see below
            adapted = PeftModel.from_pretrained(model, str(folder)).eval()
    except (ValueError, RuntimeError, SafetensorError) as error:
        raise _unfit(model, folder, str(error).strip().splitlines()[0]) from error
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        stored = set(file.keys())
    # PEFT ignores stored layers that the model has not, and leaves random those that were not stored.
    if different := sorted(stored ^ set(get_peft_model_state_dict(adapted, save_embedding_layers=False))):
        raise _unfit(model, folder, f"only one of them has {different[0]}")
    return adapted


def _unfit(model: Any, folder: Path, problem: str) -> ModelError:
    return ModelError(
        f"the adapter does not fit the model: {problem}",
        where=str(folder),
        expected=f"an adapter of {model.name_or_path}",
    )


@contextmanager
def _without_deprecations() -> Iterator[None]:
    with warnings.catch_warnings():
        # PEFT asks transformers by a name that transformers has since deprecated; nobody here can mend that.
        warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
        yield


def _target_modules(model: Any, targets: str | tuple[str, ...]) -> str | list[str]:
    if targets == "all-linear":
        return "all-linear"  # PEFT's own: every linear layer but the output layer
    linear = _linear_modules(model)
    if targets == "attention":
        names = _ATTENTION.get(model.config.model_type)
        if names is None:
            raise RecipeError(
                f"the attention layers of architecture {model.config.model_type!r} are not known",
                where="lora.targets",
                expected=f'"all-linear", or a list out of: {_short_names(linear)}',
            )
        return list(names)
    unmatched = [name for name in targets if not any(path == name or path.endswith(f".{name}") for path in linear)]
    if unmatched:
        raise RecipeError(
            f"{model.name_or_path or 'the model'} has no linear layer named {', '.join(unmatched)}",
            where="lora.targets",
            expected=f'"all-linear", "attention", or a list out of: {_short_names(linear)}',
        )
    return list(targets)


def _linear_modules(model: Any) -> list[str]:
    """Full names of all linear layers, quantized or not, but for the output layer."""
    output = model.get_output_embeddings()
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and module is not output]


def _short_names(paths: list[str]) -> str:
    return ", ".join(sorted({path.rpartition(".")[2] for path in paths}))
