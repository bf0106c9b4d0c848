"""Attention over a pack on a GPU: a dense mask, or for large packs FlexAttention's block mask where it is faster."""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from slm.models.attention import visible

if TYPE_CHECKING:
    from slm.models.packed_attention import PackPlan

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
_ROUNDS = 3
# Tokens of a pack from which the blocks that nobody sees are more work than finding them.
_WORTH_COMPILING = 8192


def flex(plan: "PackPlan", window: int | None, scale: float, *, compiled: bool = True) -> Attend:
    """Attention under a block mask: blocks that nobody sees are not computed. [1, heads, tokens, d] in and out."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    layout = plan.layout
    context, branch, position = layout.context, layout.branch, layout.position

    def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        own = (context[query] == context[key]) & ((branch[key] == 0) | (branch[query] == branch[key])) & (key <= query)
        return own if window is None else own & (position[query] - position[key] < window)

    if ("block", window) not in plan.masks:
        tokens = len(layout)
        plan.masks["block", window] = create_block_mask(sees, None, None, tokens, tokens, device=position.device)
    block = plan.masks["block", window]
    run: Any = _compiled_flex() if compiled else flex_attention
    return lambda q, k, v: run(q, k, v, block_mask=block, scale=scale, enable_gqa=q.shape[1] != k.shape[1])


def dense(plan: "PackPlan", window: int | None, scale: float) -> Attend:
    """SDPA under a boolean mask [1, 1, tokens, tokens], made once for all layers."""
    if ("dense", window) not in plan.masks:
        plan.masks["dense", window] = visible(plan.layout, len(plan.layout), window)[None, None]
    mask = plan.masks["dense", window]

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        # The kernel that takes a mask and never holds the scores wants as many heads of keys as of queries.
        shared = query.shape[1] // key.shape[1]
        key, value = (one.repeat_interleave(shared, 1) if shared > 1 else one for one in (key, value))
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)

    return attend


_choice: dict[tuple[Any, ...], str] = {}


def fastest_on_gpu(
    plan: "PackPlan", query: Tensor, key: Tensor, value: Tensor, window: int | None, scale: float
) -> Attend:
    """The faster of the two for heads and dtype like these, timed forward and backward on the first large pack.

    A small one is not worth the compiling of FlexAttention, which takes longer than a whole training of small packs.
    """
    # Of a plan nothing can be timed, and a dense mask is what needs more memory.
    if query.is_meta or query.shape[2] < _WORTH_COMPILING:
        return dense(plan, window, scale)
    kinds: dict[str, Callable[..., Attend]] = {"flex": flex, "dense": dense}
    shape = (query.shape[1], key.shape[1], query.shape[3], query.dtype, window is None)
    if shape not in _choice:
        inputs = [one.detach().requires_grad_() for one in (query, key, value)]
        seconds = {name: _seconds(make(plan, window, scale), inputs) for name, make in kinds.items()}
        _choice[shape] = min(seconds, key=lambda name: seconds[name])
    return kinds[_choice[shape]](plan, window, scale)


def _seconds(attend: Attend, inputs: list[Tensor]) -> float:
    """GPU time of forward and backward, the best of a few rounds; infinity where it does not run."""
    event: Any = torch.cuda.Event
    start, end = (event(enable_timing=True) for _ in range(2))
    best = float("inf")
    try:
        with torch.enable_grad():
            for _ in range(_ROUNDS):  # the first one compiles
                start.record()
                torch.autograd.grad(attend(*inputs).sum(), inputs)
                end.record()
                torch.cuda.synchronize()
                best = min(best, start.elapsed_time(end) / 1000)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:  # such as no Triton for this GPU, or heads too wide for its kernel
        return float("inf")
    return best


@cache
def _compiled_flex() -> Any:
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)
