"""The optimizer and the learning rate that a recipe asks for; every implementation is a library's."""

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from slm.errors import RecipeError
from slm.recipe import LoraSection, TrainSection

_OF_TORCH: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "sgd": partial(torch.optim.SGD, momentum=0.9),
}
_OF_BITSANDBYTES = {
    "adamw-8bit": "AdamW8bit",
    "paged-adamw": "PagedAdamW",
    "paged-adamw-8bit": "PagedAdamW8bit",
    "lion": "Lion",
}


def build_optimizer(model: Any, train: TrainSection, lora: LoraSection) -> torch.optim.Optimizer:
    """The optimizer of all parameters that are to be trained.

    Matrices are decayed by `train.weight_decay`; biases, norms and DoRA's magnitudes are not. AdamW and Lion decay
    weights directly, SGD and RMSprop add the decay to the gradient, as their libraries define it. Every group has a key
    `lr_scale`, which its learning rate is to be multiplied by: `lora.plus_ratio` for LoRA's B matrices (LoRA+,
    arXiv:2402.12354), 1.0 for the rest. On the CPU, paged optimizers are what they page: their state lies in CPU memory
    anyhow. Raises RecipeError where the library is not installed.
    """
    groups: dict[tuple[bool, float], list[Any]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            kind = parameter.ndim >= 2, lora.plus_ratio if "lora_B" in name else 1.0
            groups.setdefault(kind, []).append(parameter)
    settings = [
        {
            "params": parameters,
            "weight_decay": train.weight_decay if decays else 0.0,
            "lr": train.learning_rate * scale,
            "lr_scale": scale,
        }
        for (decays, scale), parameters in groups.items()
    ]
    return _constructor(train.optimizer)(settings, lr=train.learning_rate)


def learning_rate(step: int, steps: int, settings: TrainSection) -> float:
    """The rate of `step` (counted from 0) of `steps`: a linear rise for the warm-up, then `settings.schedule`.

    Cosine and linear fall towards zero, which they would reach one step after the last.
    """
    warm = max(1, round(settings.warmup * steps))
    if step < warm:
        return settings.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    left = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}
    return settings.learning_rate * left[settings.schedule]


def _constructor(name: str) -> Callable[..., torch.optim.Optimizer]:
    if name in _OF_TORCH:
        return _OF_TORCH[name]
    try:
        import bitsandbytes
    except ImportError as error:
        raise RecipeError(
            f"{name} is an optimizer of bitsandbytes, which is not installed",
            where="train.optimizer",
            expected=f"one of {', '.join(sorted(_OF_TORCH))}",
            hint="pip install bitsandbytes",
        ) from error
    # It warns that nothing is paged on the CPU, where nothing needs to be.
    warnings.filterwarnings("ignore", message="Paged optimizers are not supported on CPU")
    found: Callable[..., torch.optim.Optimizer] = getattr(bitsandbytes.optim, _OF_BITSANDBYTES[name])
    return found
