"""Frozen weights in the number format of their file: half the memory where the arithmetic is in float32.

Published weights have 16 bits. Trained in float32, as a CPU has to, a frozen one needs 32 only while it is multiplied:
kept as it is in its file and widened for each product, which is exact, it gives the same results bit by bit.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

# Attribute of a weight that is kept as it is stored: the type that it is widened to.
_WIDE = "slm_wide"
_EMBEDDINGS = {"Embedding", "Gemma3TextScaledWordEmbedding"}


def wide(weight: Tensor, like: Tensor) -> Tensor:
    """The weight in the type of `like`; itself where that is its own."""
    return weight.to(like.dtype)


def compute_dtype(model: Any) -> torch.dtype:
    """The type that a model computes in, that of its norms: matrices may be quantized, or as they are stored."""
    dtype: torch.dtype = next(one.dtype for one in model.parameters() if one.is_floating_point() and one.ndim == 1)
    return dtype


def mark(model: Any, dtype: torch.dtype) -> None:
    """Say of the matrices of a model, loaded as they are stored, that they are computed in `dtype`."""
    for parameter in model.parameters():
        if parameter.ndim > 1 and parameter.is_floating_point() and parameter.dtype.itemsize < dtype.itemsize:
            setattr(parameter, _WIDE, dtype)


def is_marked(module: Any) -> bool:
    """Whether the module's weight is kept as it is stored."""
    return hasattr(getattr(module, "weight", None), _WIDE)


def _marked(model: Any) -> list[Tensor]:
    return [weight for weight in model.parameters() if hasattr(weight, _WIDE)]


def widen(model: Any, *, but: Iterable[Tensor] = ()) -> None:
    """Make the marked weights of a model wide for good, but for those that are multiplied by who calls `wide`."""
    left = {id(weight) for weight in but}
    for weight in _marked(model):
        if id(weight) not in left:
            weight.data = weight.data.to(getattr(weight, _WIDE))
            delattr(weight, _WIDE)


@contextmanager
def as_integers(model: Any) -> Iterator[None]:
    """While entered, marked weights look like integers: to floats beside it PEFT rounds an adapter's first values."""
    stored = {weight: weight.dtype for weight in _marked(model)}
    for weight in stored:
        weight.requires_grad_(False)
        weight.data = weight.data.view(torch.int16)
    try:
        yield
    finally:
        for weight, dtype in stored.items():
            weight.data = weight.data.view(dtype)


def known_embedding(module: Any) -> bool:
    """Whether `fuse_embedding` knows how the module computes."""
    return type(module).__name__ in _EMBEDDINGS and module.max_norm is None


def fuse_embedding(module: Any) -> None:
    """Let a known embedding layer widen what it looks up."""
    module.forward = MethodType(_embedding_forward, module)


@contextmanager
def widened(model: Any) -> Iterator[None]:
    """While entered, marked weights are wide: for many products with few rows, as in writing token by token."""
    stored = {weight: weight.dtype for weight in _marked(model)}
    for weight in stored:
        weight.data = weight.data.to(getattr(weight, _WIDE))
    try:
        yield
    finally:
        for weight, dtype in stored.items():
            weight.data = weight.data.to(dtype)


def _embedding_forward(self: Any, input_ids: Tensor) -> Tensor:
    found = nn.functional.embedding(input_ids, self.weight).to(getattr(self.weight, _WIDE, self.weight.dtype))
    scale = getattr(self, "embed_scale", None)
    return found if scale is None else found * scale.to(found.dtype)
