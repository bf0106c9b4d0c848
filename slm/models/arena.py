"""Memory on the CPU for what a forward pass leaves to its backward pass: large blocks, filled in order, step by step.

Left to the C library, tensors that last until the backward pass and those that last for one operation lie side by side
among thousands of small objects, and the gaps between them are seldom of use: a training process took twice what its
tensors had, and lost time on fresh pages. Here what lasts stands apart, so that the rest of memory is empty again after
each layer. A GPU needs none of this; PyTorch manages its memory so by itself.
"""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

_BLOCK_BYTES = 256 * 2**20  # what is not used of a block takes no memory
_ALIGNMENT = 64  # bytes, as PyTorch's own tensors


class Blocks(Protocol):
    """Memory that is handed out in order until it is rewound."""

    def rewind(self) -> None:
        """Begin again."""

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A tensor with undefined values."""

    def holds(self, tensor: Tensor) -> bool:
        """Whether a tensor lies here."""


class _Arena:
    """Blocks of bytes, of which the first `_full` are used up and the next one up to `_used`."""

    def __init__(self) -> None:
        self._blocks: list[np.ndarray[tuple[int], np.dtype[np.uint8]]] = []
        self._full = self._used = 0

    def rewind(self) -> None:
        """Begin with the first block again. A block in which a tensor still lies is left to that tensor."""
        references = _references(self._blocks)
        self._blocks = [block for block, count in zip(self._blocks, references, strict=True) if count <= _UNUSED]
        self._full = self._used = 0

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """A tensor with undefined values. It keeps its block from being used again for as long as it lives."""
        size = math.prod(shape) * dtype.itemsize
        while self._full < len(self._blocks) and self._used + size > len(self._blocks[self._full]):
            self._full, self._used = self._full + 1, 0
        if self._full == len(self._blocks):
            self._blocks.append(np.empty(max(size, _BLOCK_BYTES), np.uint8))
        part = self._blocks[self._full][self._used : self._used + size]
        self._used += -(-size // _ALIGNMENT) * _ALIGNMENT
        return torch.from_numpy(part).view(dtype).view(*shape)

    def holds(self, tensor: Tensor) -> bool:
        """Whether a tensor lies in one of the blocks."""
        address = tensor.data_ptr()
        return any(
            0 <= address - block.__array_interface__["data"][0] < len(block) for block in self._blocks[: self._full + 1]
        )


def _references(blocks: Sequence[Any]) -> list[int]:
    """How often each block is referred to; every tensor that lies in it adds one."""
    return [sys.getrefcount(block) for block in blocks]


_UNUSED = _references([np.empty(1, np.uint8)])[0]
_arena: Blocks = _Arena()
_open = False


@contextmanager
def remembering(wanted: bool) -> Iterator[None]:
    """While entered, and if `wanted`, `kept` and `keep` take memory that is used again at the next time."""
    global _open
    _arena.rewind()
    _open = wanted
    try:
        yield
    finally:
        _open = False


@contextmanager
def forgetting(wanted: bool) -> Iterator[None]:
    """While entered, and if `wanted`, nothing is kept: no gradient will come here."""
    global _open
    before, _open = _open, _open and not wanted
    try:
        yield
    finally:
        _open = before


@contextmanager
def standing_in(blocks: Blocks) -> Iterator[None]:
    """While entered, `blocks` take the place of the real ones: for a plan, which counts memory and takes none."""
    global _arena
    before, _arena = _arena, blocks
    try:
        yield
    finally:
        _arena = before


def kept(shape: Sequence[int], like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A tensor for values that the backward pass needs, with undefined values, of the dtype of `like` or another."""
    dtype = dtype or like.dtype
    return _arena.empty(shape, dtype) if _open else torch.empty(*shape, dtype=dtype, device=like.device)


def keep(tensor: Tensor) -> Tensor:
    """The tensor, detached, or its copy where it should lie."""
    tensor = tensor.detach()
    if not _open or _arena.holds(tensor):
        return tensor
    return _arena.empty(tensor.shape, tensor.dtype).copy_(tensor)
