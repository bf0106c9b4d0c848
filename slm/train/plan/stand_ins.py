"""What a step on the meta device must be told about the device that is planned for: its attention, dropout and kernels.

Some functions of PyTorch choose a kernel by the device, and on the meta device choose one that needs other memory. Some
operations of bitsandbytes make temporary tensors inside, which nothing outside sees. Both stand here written out.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from slm.models import arena
from slm.train.plan.tracker import MemoryTracker, StandIns

_aten = torch.ops.aten
_PRODUCTS = {_aten.mm.default, _aten.mm.out, _aten.addmm.default, _aten.addmm_.default, _aten.bmm.default}
_AUTOCAST = {"linear", "matmul", "scaled_dot_product_attention"}


class DeviceFunctions(TorchFunctionMode):
    """While entered, attention and dropout are those of a GPU or of the CPU; with `autocast`, products of bfloat16."""

    def __init__(self, *, on_gpu: bool, autocast: bool = False) -> None:
        super().__init__()
        self._on_gpu, self._autocast = on_gpu, autocast

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`, or what the device would call."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if self._autocast and name in _AUTOCAST:
            args = tuple(_half(value) for value in args)
        if name == "scaled_dot_product_attention":
            return (_gpu_attention if self._on_gpu else _cpu_attention)(*args, **kwargs)
        if name == "dropout" and self._on_gpu:
            return _gpu_dropout(*args, **kwargs)
        return func(*args, **kwargs)


def _half(value: Any) -> Any:
    return value.to(torch.bfloat16) if isinstance(value, Tensor) and value.dtype == torch.float32 else value


def _cpu_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, **_: Any,
) -> Tensor:  # fmt: skip
    """The CPU's flash kernel, which takes fewer key heads as they are and a mask as numbers to add."""
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        attn_mask = query.new_zeros(attn_mask.shape)
    out: Tensor = _aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, dropout_p, is_causal, attn_mask=attn_mask, scale=scale
    )[0]
    return out


def _gpu_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Tensor:  # fmt: skip
    """The memory-efficient kernel, the only one that takes any mask; flash attention needs the same without one."""
    if enable_gqa and key.shape[1] != query.shape[1]:
        repeats = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = query.new_zeros(attn_mask.shape)
        attn_mask = attn_mask.expand(*query.shape[:3], key.shape[2])
    out: Tensor = _aten._scaled_dot_product_efficient_attention(
        query, key, value, attn_mask, True, dropout_p, is_causal, scale=scale
    )[0]
    return out


def _gpu_dropout(values: Tensor, p: float = 0.5, training: bool = True, **_: Any) -> Tensor:
    """One that keeps a byte for each value; the CPU's keeps a number."""
    if not training or not p:
        return values
    out: Tensor = _aten.native_dropout(values, p, True)[0]
    return out


def library_stand_ins(*, on_gpu: bool) -> StandIns:
    """Operations of bitsandbytes as it computes them from others: multiplying by 4-bit weights, and 8-bit optimizers.

    For as many rows as a pack has, a GPU dequantizes 4-bit weights, too. Its optimizers are single kernels.
    """
    try:
        import bitsandbytes.backends.cpu.ops as on_cpu
        import bitsandbytes.backends.default.ops as default
    except ImportError:
        return {}
    operations = torch.ops.bitsandbytes
    found: dict[Any, Callable[..., Any]] = {operations.gemm_4bit.default: default._gemm_4bit_default_impl}
    if not on_gpu:
        found[operations.optimizer_update_32bit.default] = on_cpu._optimizer_update_32bit_cpu
        found[operations.optimizer_update_8bit_blockwise.default] = on_cpu._optimizer_update_8bit_blockwise_cpu
    return found


def scratch_bytes(operation: Any, result: Tensor) -> int:
    """What a product takes on this CPU beside its result: oneDNN adds up bfloat16 in a whole float32 result.

    Not where the CPU has units for bfloat16, whose kernels work block by block.
    """
    if result.dtype != torch.bfloat16 or operation not in _PRODUCTS or _has_bfloat16_units():
        return 0
    return 4 * result.numel()


@cache
def _has_bfloat16_units() -> bool:
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


class _CountedArena:
    """Stands in for the arena of `slm.models.arena`: what it would hand out counts as kept, until it is rewound."""

    def __init__(self, tracker: MemoryTracker) -> None:
        self._tracker = tracker
        # Storages, not tensors: a tensor would hold on to the graph that it becomes a part of.
        self._held: dict[int, Any] = {}

    def rewind(self) -> None:
        self._held.clear()

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        before, self._tracker.phase = self._tracker.phase, "kept"
        tensor = torch.empty(tuple(shape), dtype=dtype, device="meta")
        self._tracker.phase = before
        storage = tensor.untyped_storage()
        self._held[storage._cdata] = storage
        return tensor

    def holds(self, tensor: Tensor) -> bool:
        return tensor.untyped_storage()._cdata in self._held


@contextmanager
def counted_arena(tracker: MemoryTracker) -> Iterator[None]:
    """While entered, `tracker` counts what training on the CPU keeps for its backward passes."""
    counted = _CountedArena(tracker)
    with arena.standing_in(counted):
        yield
    counted.rewind()
