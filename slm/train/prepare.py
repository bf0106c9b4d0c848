"""From a recipe and a model folder to the model that is trained: quantized, adapted, with noise, recomputing."""

import os
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slm.errors import RecipeError
from slm.models import frozen
from slm.models.allocator import return_freed_memory
from slm.models.fused import fuse
from slm.models.load import load_model
from slm.models.lora import add_lora, plain_model
from slm.models.packed_attention import NAME, packed_attention, use_packed_attention
from slm.recipe import Recipe, TrainSection

# Attribute of the embedding layer: the tokens of one example; see `set_example_tokens`.
_EXAMPLE_TOKENS = "slm_example_tokens"
_LAYERS_BETWEEN = 4  # returns of freed memory; fewer take more time and save no more


def prepare_model(folder: Path, recipe: Recipe, *, device: torch.device) -> Any:
    """The model of `folder` as `recipe` trains it on `device`, ready for `accelerator.prepare`.

    `train.method: lora` gives a PEFT model of which only the adapter, in float32, is trained. `full` gives the plain
    model with all weights in float32, because updates are smaller than bfloat16 resolves; `model.dtype: bfloat16` then
    means that its matrices are multiplied in bfloat16 (autocast). The adapter's first values come from torch's global
    random state. Raises RecipeError for what this model or machine cannot do.
    """
    if recipe.train.compile:
        _need_compiler()
    dtype = "float32" if recipe.train.method == "full" else recipe.model.dtype
    model = load_model(folder, dtype=dtype, quantize=recipe.model.quantize, as_stored=keeps_stored(recipe))
    return adapt_model(model, recipe, device=device, folder=folder)


def keeps_stored(recipe: Recipe) -> bool:
    """Whether frozen weights stay as they are stored (`slm.models.frozen`), as far as the model's modules allow it.

    Not where their values change (PiSSA) or are looked at (DoRA, LoftQ).
    """
    plain = recipe.train.method == "lora" and recipe.lora.init == "default" and not recipe.lora.dora
    return plain and recipe.model.quantize == "none" and not recipe.train.compile and not _sharded()


def adapt_model(
    model: Any, recipe: Recipe, *, device: torch.device, folder: Path | None = None, compiling: bool = True
) -> Any:
    """A loaded `model` as `recipe` trains it; `folder` has its full weights, for first values that need them.

    Without `compiling` a recipe that compiles its layers gets them as they would be compiled.
    """
    train = recipe.train
    full = train.method == "full"
    if train.packing == "shared":
        use_packed_attention(model)
    if full:
        model.requires_grad_(True)
    else:
        if recipe.lora.init == "pissa":
            model.to(device)  # it decomposes every weight
        model = add_lora(model, recipe.lora, folder=folder)
    if not train.compile:  # the compiler fuses by itself
        fuse(model)
    if train.neftune:
        _add_noise(model, train.neftune)
    if train.recompute:
        _recompute(model)
    if device.type == "cpu" and (train.recompute or train.packing == "none") and not train.compile:
        _return_memory(plain_model(model).get_decoder().layers)
    if full and recipe.model.dtype == "bfloat16" and device.type != "meta":  # where a plan sees to it
        model.forward = torch.autocast(device.type, torch.bfloat16)(model.forward)
    if train.compile and compiling:
        _compile_layers(model, train)
    return model


def _sharded() -> bool:
    """Whether the weights will be put together and cut up, for which they must be of one type."""
    return any(os.environ.get(f"ACCELERATE_USE_{name}") == "true" for name in ("FSDP", "DEEPSPEED"))


def compute_dtype(model: Any, recipe: Recipe) -> torch.dtype:
    """The number format of the arithmetic: that of the weights, or of the autocast over float32 ones."""
    if recipe.train.method == "full" and recipe.model.dtype == "bfloat16":
        return torch.bfloat16
    return frozen.compute_dtype(model)


def set_example_tokens(model: Any, tokens: float) -> None:
    """Tell NEFTune how many tokens an example of the next forward pass has, on average.

    Without NEFTune nothing changes. `model` is the unwrapped one. A pack holds many examples, and the noise is to be
    that of one example of its length.
    """
    setattr(model.get_input_embeddings(), _EXAMPLE_TOKENS, tokens)


def _add_noise(model: Any, alpha: float) -> None:
    """NEFTune (arXiv:2310.05914): while training, embeddings get even noise within ±alpha / √(tokens · size)."""

    def add(module: Any, _inputs: Any, embeddings: Tensor) -> Tensor:
        if not module.training:
            return embeddings
        tokens = getattr(module, _EXAMPLE_TOKENS, None) or embeddings.shape[1]
        bound = alpha / (tokens * embeddings.shape[2]) ** 0.5
        return embeddings + torch.empty_like(embeddings).uniform_(-bound, bound)

    model.get_input_embeddings().register_forward_hook(add)


def _recompute(model: Any) -> None:
    with warnings.catch_warnings():
        # The name that all releases of transformers 5 have; new ones ask for another.
        warnings.filterwarnings("ignore", message=".*gradient_checkpointing_enable", category=FutureWarning)
        # Not the reentrant kind: that needs an input with a gradient, and a model with an adapter has none.
        plain_model(model).gradient_checkpointing_enable({"use_reentrant": False})


def _return_memory(layers: Sequence[Any]) -> None:
    """Give freed memory back to the system at every fourth layer, forward and backward, while the model is trained.

    For trainings whose lasting tensors lie among the temporary ones, so that each layer leaves gaps that are too small
    for the next: a step of SmolLM2-135M takes 4 to 5 % longer, and an eighth (recomputing) or a thirteenth (padded)
    less memory.
    """

    def pass_layer(_layer: Any, inputs: tuple[Any, ...]) -> None:
        if not torch.is_grad_enabled():
            return
        return_freed_memory()
        if inputs and isinstance(inputs[0], Tensor) and inputs[0].requires_grad:
            inputs[0].register_hook(pass_back)  # type: ignore[no-untyped-call]

    def pass_back(_gradient: Tensor) -> None:
        return_freed_memory()

    for layer in layers[_LAYERS_BETWEEN - 1 :: _LAYERS_BETWEEN]:
        layer.register_forward_pre_hook(pass_layer)


def _compile_layers(model: Any, train: TrainSection) -> None:
    """Compile each decoder layer in place. They are alike, so that the compiler works once; lengths stay open."""
    if train.packing == "shared":
        # What packed attention does depends on each pack: it stays outside of the compiled graph.
        from transformers import AttentionInterface

        AttentionInterface.register(NAME, torch.compiler.disable(packed_attention))  # type: ignore[no-untyped-call]
    for layer in plain_model(model).get_decoder().layers:
        layer.compile(dynamic=True)


def _need_compiler() -> None:
    # What torch itself looks for.
    name = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(name) is None:
        raise RecipeError(
            f"torch.compile needs a C++ compiler, and there is no {name}",
            where="train.compile",
            expected="a C++ compiler, which the environment variable CXX may name",
            hint="install one (Debian: apt install g++), or train.compile=false",
        )
