"""Attention over a pack, in training: contexts by themselves, branches over their context and over themselves.

Computed densely under a mask, attention would be quadratic in the whole pack. On the CPU it is cut into three kinds of
plain attention, each a fused kernel that never holds a score matrix: every context over itself, the branches of a
context over that context, and all branches of the pack over themselves. The last two are parts of one softmax and
merged by their log-sum-exp, as in flash attention (Dao et al. 2022, arXiv:2205.14135); the backward pass gives each
part the merged output and log-sum-exp and adds the gradients up, which is exact. On a GPU it is FlexAttention's block
mask or a dense mask, whichever measures faster there.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from slm.models.arena import forgetting, keep, kept
from slm.models.attention import Layout, packed_mask
from slm.models.gpu_attention import fastest_on_gpu

NAME = "slm_packed"
# Lower than any score, and far from where float32 overflows when one is added.
_NEVER = -1e30
_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


@dataclass(frozen=True)
class _Group:
    """A context at [start, branches) of a pack, and its branches at [branches, end)."""

    start: int
    branches: int
    end: int


@dataclass
class PackPlan:
    """How one pack is cut up; passed through the model to every attention layer, which share its indices and masks."""

    layout: Layout
    masks: dict[Any, Any] = field(default_factory=dict)

    @cached_property
    def groups(self) -> list[_Group]:
        """The contexts in the order of the pack. Raises ValueError unless branches follow their context, one by one."""
        context, branch = self.layout.context, self.layout.branch
        starts = torch.cat([torch.zeros(1, dtype=torch.long), _changes(context)]).tolist()
        ends = [*starts[1:], len(self.layout)]
        groups = []
        for start, end in zip(starts, ends, strict=True):
            shared = int((branch[start:end] == 0).sum())
            if bool((branch[start : start + shared] != 0).any()) or bool((branch[start:end].diff() < 0).any()):
                raise ValueError("a pack must hold a context, then its branches one after the other")
            groups.append(_Group(start, start + shared, end))
        return groups

    @cached_property
    def own(self) -> tuple[Tensor, Tensor, Tensor]:
        """Token numbers of all branches [n]; the same by branch, padded [branches, longest]; which of them are real."""
        tokens = (self.layout.branch > 0).nonzero()[:, 0]
        number = self.layout.context[tokens] * (int(self.layout.branch.max()) + 1) + self.layout.branch[tokens]
        first = torch.cat([torch.zeros(1, dtype=torch.long), _changes(number)])
        count = torch.cat([first[1:], torch.tensor([len(tokens)])]) - first
        step = torch.arange(int(count.max()))
        real = step < count[:, None]
        return tokens, tokens[(first[:, None] + step).clamp(max=len(tokens) - 1)], real

    def window_mask(self, queries: slice, keys: slice, window: int | None, dtype: torch.dtype) -> Tensor | None:
        """Additive mask [1, 1, queries, keys] of a sliding window; None where all keys are within it."""
        position = self.layout.position
        if window is None or queries.start == queries.stop or keys.start == keys.stop:
            return None
        if int(position[queries.stop - 1 if keys == queries else slice(queries.start, queries.stop)].max()) < window:
            return None
        key = (queries.start, queries.stop, keys.start, window, dtype)
        return self._mask(key, position[queries], position[keys], window, dtype)

    def own_mask(self, window: int | None, dtype: torch.dtype) -> Tensor | None:
        """The same for the branches over themselves, [1, 1, longest, longest]."""
        longest = self.own[1].shape[1]
        if window is None or longest <= window:
            return None
        step = torch.arange(longest)
        return self._mask(("own", window, dtype), step, step, window, dtype)

    def _mask(self, key: Any, queries: Tensor, keys: Tensor, window: int, dtype: torch.dtype) -> Tensor:
        if key not in self.masks:
            back = queries[:, None] - keys[None, :]
            unseen = (back < 0) | (back >= window)
            self.masks[key] = torch.zeros(back.shape).masked_fill(unseen, _NEVER).to(dtype)[None, None]
        mask: Tensor = self.masks[key]
        return mask


def _changes(values: Tensor) -> Tensor:
    """Where a value differs from the one before it."""
    return values.diff().nonzero()[:, 0] + 1


def use_packed_attention(model: Any) -> None:
    """Let a model attend by `packed_attention` where it would use SDPA; others stay with the dense mask."""
    if model.config._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, packed_attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


def packed_inputs(config: Any, layout: Layout, dtype: torch.dtype) -> dict[str, Any]:
    """What a model's `forward` needs, beside ids, to see `layout` as a pack. Raises ModelError; see `packed_mask`."""
    inputs: dict[str, Any] = {"position_ids": layout.position[None]}
    if config._attn_implementation == NAME:
        # A mask of four dimensions is passed on as it is, so transformers makes none; no layer looks at it.
        return inputs | {"attention_mask": layout.position.new_zeros(1, 1, 1, 1), "pack_plan": PackPlan(layout)}
    return inputs | {"attention_mask": packed_mask(config, layout, len(layout), dtype)}


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    pack_plan: PackPlan | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """An attention function of transformers: query [1, heads, tokens, d], key and value [1, key heads, tokens, d].

    Without `pack_plan` it is SDPA. Returns [1, tokens, heads, d].
    """
    if pack_plan is None:
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return plain
    # Under autocast the rotary embedding leaves them in float32.
    query, key = query.to(value.dtype), key.to(value.dtype)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    # Where the layout is, as in training: a plan has tensors of neither device, and its layout says which is meant.
    if pack_plan.layout.position.device.type != "cpu":
        attend = fastest_on_gpu(pack_plan, query, key, value, sliding_window, scale)
        return attend(query, key, value).transpose(1, 2), None
    with forgetting(not (query.requires_grad or key.requires_grad or value.requires_grad)):
        out: Tensor = _Packed.apply(query, key, value, pack_plan, sliding_window, scale)  # type: ignore[no-untyped-call]
    return out, None


class _Packed(torch.autograd.Function):
    """The three kinds of attention and their merging. Token-major inside: [tokens, heads, d]."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, plan: PackPlan, window: int | None, scale: float
    ) -> Tensor:
        q, k, v = (keep(one[0].transpose(0, 1)) for one in (query, key, value))
        out = kept(q.shape, q)
        lse = kept(q.shape[:2], q, torch.float32)
        if len(plan.own[0]):
            _own_forward(q, k, v, out, lse, plan, window, scale)
        for queries, keys, causal in _parts(plan):
            mask, lay = plan.window_mask(queries, keys, window, q.dtype), _Rows(causal, k.shape[1], q.shape[1])
            seen, seen_lse = _flash(
                lay.queries(q[queries]), _heads(k[keys]), _heads(v[keys]), 0.0, causal and mask is None,
                attn_mask=lay.mask(mask), scale=scale,
            )  # fmt: skip
            seen, seen_lse = lay.tokens(seen), lay.tokens(seen_lse)
            if causal:
                out[queries], lse[queries] = seen, seen_lse
            else:
                _merge(out[queries], lse[queries], seen, seen_lse)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.plan, ctx.window, ctx.scale = plan, window, scale
        return out[None]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        plan, window, scale = ctx.plan, ctx.window, ctx.scale
        grads = [one.new_zeros(one.shape) for one in (q, k, v)]
        for queries, keys, causal in _parts(plan):
            mask, lay = plan.window_mask(queries, keys, window, q.dtype), _Rows(causal, k.shape[1], q.shape[1])
            grad_q, grad_k, grad_v = _flash_backward(
                lay.queries(grad[0, queries]), lay.queries(q[queries]), _heads(k[keys]), _heads(v[keys]),
                lay.queries(out[queries]), lay.queries(lse[queries]), 0.0, causal and mask is None,
                attn_mask=lay.mask(mask), scale=scale,
            )  # fmt: skip
            grads[0][queries] += lay.tokens(grad_q)
            grads[1][keys] += grad_k[0].transpose(0, 1)
            grads[2][keys] += grad_v[0].transpose(0, 1)
        if len(plan.own[0]):
            _own_backward(grad[0], q, k, v, out, lse, grads, plan, window, scale)
        return *(one.transpose(0, 1)[None] for one in grads), None, None, None


def _parts(plan: PackPlan) -> Iterator[tuple[slice, slice, bool]]:
    """(queries, keys, causal): contexts over themselves, then branches over their context."""
    for group in plan.groups:
        context, branches = slice(group.start, group.branches), slice(group.branches, group.end)
        if group.branches > group.start:
            yield context, context, True
            if group.end > group.branches:
                yield branches, context, False


@dataclass(frozen=True, slots=True)
class _Rows:
    """How queries are laid out for the kernel: head by head where a query sees what stands before it (`causal`).

    Where all queries see the same keys, those of a group of heads stand one after the other as queries of one head, so
    that the kernel works on larger blocks: [1, groups, heads / groups · tokens, …].
    """

    causal: bool
    groups: int
    heads: int

    def queries(self, tokens: Tensor) -> Tensor:
        """[tokens, heads, …] as the kernel takes it."""
        if self.causal:
            return tokens.transpose(0, 1)[None]
        by_group = tokens.view(len(tokens), self.groups, -1, *tokens.shape[2:]).movedim(0, 2)
        return by_group.flatten(1, 2)[None]

    def tokens(self, rows: Tensor) -> Tensor:
        """The kernel's rows as [tokens, heads, …] again."""
        if self.causal:
            return rows[0].transpose(0, 1)
        by_group = rows[0].view(self.groups, self.heads // self.groups, -1, *rows.shape[3:])
        return by_group.movedim(2, 0).flatten(1, 2)

    def mask(self, mask: Tensor | None) -> Tensor | None:
        """A mask [1, 1, tokens, keys] for these rows."""
        return mask if mask is None or self.causal else mask.repeat(1, 1, self.heads // self.groups, 1)


def _heads(tokens: Tensor) -> Tensor:
    """[tokens, heads, d] as a batch of one, [1, heads, tokens, d]."""
    return tokens.transpose(0, 1)[None]


def _merge(out: Tensor, lse: Tensor, more: Tensor, more_lse: Tensor) -> None:
    """Two parts of one softmax become the whole, in place of the first: [n, heads, d] and [n, heads]."""
    both = torch.logaddexp(lse, more_lse)
    out.mul_((lse - both).exp_()[..., None]).add_(more * (more_lse - both).exp_()[..., None])
    lse.copy_(both)


def _own_forward(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, plan: PackPlan, window: int | None, scale: float
) -> None:
    """Branches over themselves, padded to the longest; padding stands behind, where no real query looks."""
    tokens, by_branch, real = plan.own
    mask = plan.own_mask(window, q.dtype)
    seen, seen_lse = _flash(
        *(one[by_branch].transpose(1, 2) for one in (q, k, v)), 0.0, mask is None, attn_mask=mask, scale=scale
    )
    out[tokens] = seen.transpose(1, 2)[real]
    lse[tokens] = seen_lse.transpose(1, 2)[real]


def _own_backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, grads: list[Tensor],
    plan: PackPlan, window: int | None, scale: float,
) -> None:  # fmt: skip
    tokens, by_branch, real = plan.own
    mask = plan.own_mask(window, q.dtype)
    # What stands in for padding must weigh nothing: no gradient comes in, and exp(score - lse) is 0.
    padded_grad = grad[by_branch].masked_fill(~real[..., None, None], 0.0)
    padded_lse = lse[by_branch].masked_fill(~real[..., None], -_NEVER)
    parts = _flash_backward(
        padded_grad.transpose(1, 2), *(one[by_branch].transpose(1, 2) for one in (q, k, v, out)),
        padded_lse.transpose(1, 2), 0.0, mask is None, attn_mask=mask, scale=scale,
    )  # fmt: skip
    for whole, part in zip(grads, parts, strict=True):
        whole[tokens] += part.transpose(1, 2)[real]
