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

from slm.models.allocator import return_freed_memory

# Attribute of a narrowed weight: the type that it is widened to.
_WIDE = "slm_wide"
_ROWS = 8192  # of a weight compared at once
_LARGE = 2**24
_EMBEDDINGS = {"Embedding", "Gemma3TextScaledWordEmbedding"}


def wide(weight: Tensor, like: Tensor) -> Tensor:
    """The weight in the type of `like`; itself where that is its own."""
    return weight.to(like.dtype)


def compute_dtype(model: Any) -> torch.dtype:
    """The type that a model computes in, which is that of its norms: matrices may be quantized or narrowed."""
    dtype: torch.dtype = next(one.dtype for one in model.parameters() if one.is_floating_point() and one.ndim == 1)
    return dtype


def narrow(weights: Iterable[Tensor], stored: torch.dtype) -> None:
    """Keep those of the frozen `weights` in `stored` that lose nothing by it; who multiplies by them calls `wide`.

    Values are not looked at where there are none, on the meta device.
    """
    # The largest first, so that what it leaves is there for the others.
    for weight in sorted(weights, key=Tensor.numel, reverse=True):
        if weight.requires_grad or not weight.is_floating_point() or weight.dtype.itemsize <= stored.itemsize:
            continue
        narrowed = weight.detach().to(stored)
        if weight.is_meta or all(map(_equal, torch.split(narrowed, _ROWS), torch.split(weight.detach(), _ROWS))):
            setattr(weight, _WIDE, weight.dtype)
            weight.data = narrowed
            if weight.numel() > _LARGE:
                return_freed_memory()
    return_freed_memory()


def _equal(narrowed: Tensor, weight: Tensor) -> bool:
    return torch.equal(narrowed.to(weight.dtype), weight)


def known_embedding(module: Any) -> bool:
    """Whether `fuse_embedding` knows how the module computes."""
    return type(module).__name__ in _EMBEDDINGS and module.max_norm is None


def fuse_embedding(module: Any) -> None:
    """Let a known embedding layer widen what it looks up."""
    module.forward = MethodType(_embedding_forward, module)


@contextmanager
def widened(model: Any) -> Iterator[None]:
    """While entered, narrowed weights are wide: for many products with few rows, as in writing token by token."""
    stored = {weight: weight.dtype for weight in model.parameters() if hasattr(weight, _WIDE)}
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
