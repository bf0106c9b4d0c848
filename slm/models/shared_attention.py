"""Attention over packed sequences without the work that a mask would throw away.

In a packed sequence a branch sees its context and itself. Computed densely under a mask, attention is quadratic in the
whole pack; here every branch meets only the tokens it sees, and keys of grouped heads are not copied. The result equals
`scaled_dot_product_attention` under `packed_mask`, in training and in decoding, to rounding.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from slm.models.attention import Layout, packed_mask

NAME = "slm_shared_context"


@dataclass(frozen=True)
class _Branches:
    """The branches of one context among the newest tokens of a sequence, padded to equal lengths.

    `queries` and `keys` are token numbers [branches, longest], `queries` counted from the first new token; `real` tells
    the queries that are not padding. `context` are the token numbers of the context's keys [context tokens].
    """

    context: Tensor
    queries: Tensor
    real: Tensor
    keys: Tensor
    own: Tensor


@dataclass
class SharedContext:
    """How one forward pass is cut up; passed through the model to every attention layer."""

    context_queries: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    branches: list[_Branches] = field(default_factory=list)
    masks: dict[tuple[int, int], Tensor] = field(default_factory=dict)


def use_shared_attention(model: Any) -> None:
    """Let a model attend by `shared_attention`, where it would use SDPA; others stay with the mask."""
    if model.config._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, shared_attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


def packed_inputs(config: Any, layout: Layout, queries: int, dtype: torch.dtype) -> dict[str, Any]:
    """What a model's `forward` needs, beside ids, for the last `queries` tokens of `layout`."""
    inputs: dict[str, Any] = {
        "position_ids": layout.position[None, len(layout) - queries :],
        "attention_mask": packed_mask(config, layout, queries, dtype),
    }
    if config._attn_implementation == NAME:
        inputs["shared_context"] = _cut(layout, queries)
    return inputs


def _cut(layout: Layout, queries: int) -> SharedContext:
    """Sort the last `queries` tokens into those of contexts and those of branches, with the keys each one sees."""
    start = len(layout) - queries
    cut = SharedContext()
    for context in torch.unique(layout.context[start:]).tolist():
        here = layout.context == context
        shared = (here & (layout.branch == 0)).nonzero()[:, 0]
        if (new := shared[shared >= start]).numel():
            cut.context_queries.append((new - start, shared))
        own = here & (layout.branch > 0)
        if own[start:].any():
            asked = torch.unique(layout.branch[start:][own[start:]])
            new_tokens, real = _by_branch(layout.branch[start:], own[start:], asked)
            tokens, own_real = _by_branch(layout.branch, own, asked)
            cut.branches.append(_Branches(shared, new_tokens, real, tokens, own_real))
    return cut


def _by_branch(branch: Tensor, mine: Tensor, asked: Tensor) -> tuple[Tensor, Tensor]:
    """Token numbers [branches, longest] of each branch in `asked`, padded with its first; and which are real."""
    tokens = mine.nonzero()[:, 0]
    number = branch[tokens]
    order = number.argsort(stable=True)
    tokens, number = tokens[order], number[order]
    first = torch.searchsorted(number, asked)
    count = torch.searchsorted(number, asked, right=True) - first
    step = torch.arange(int(count.max()), device=branch.device)
    real = step < count[:, None]
    return tokens[first[:, None] + torch.where(real, step, 0)], real


def shared_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    shared_context: SharedContext | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """An attention function of transformers: query [1, heads, new, d], key and value [1, key heads, tokens, d].

    Without `shared_context` it is SDPA. Returns [1, new, heads, d].
    """
    if shared_context is None or attention_mask is None:
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **kwargs
        )
        return plain
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    out = torch.empty_like(query[0])
    for queries, keys in shared_context.context_queries:
        mask = attention_mask[0, 0][queries][:, keys]
        seen = torch.nn.functional.scaled_dot_product_attention(
            query[:, :, queries],
            key[:, :, keys],
            value[:, :, keys],
            attn_mask=mask[None, None],
            scale=scale,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        out[:, queries] = seen[0]
    for number, branches in enumerate(shared_context.branches):
        mask = _branch_mask(shared_context, number, attention_mask)
        out[:, branches.queries[branches.real]] = _branch_attention(branches, query[0], key[0], value[0], mask, scale)
    return out.transpose(0, 1)[None], None


def _branch_mask(cut: SharedContext, number: int, mask: Tensor) -> Tensor:
    """[branches, longest query, context + longest key]; made once for all layers that share a mask."""
    if (found := cut.masks.get((number, id(mask)))) is not None:
        return found
    one = cut.branches[number]
    rows = mask[0, 0][one.queries]
    to_own = rows.gather(2, one.keys[:, None].expand(-1, rows.shape[1], -1))
    to_own = to_own.masked_fill(~one.own[:, None], torch.finfo(mask.dtype).min)
    return cut.masks.setdefault((number, id(mask)), torch.cat([rows[:, :, one.context], to_own], -1))


def _branch_attention(one: _Branches, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scale: float) -> Tensor:
    """What the branches' real queries see, [heads, real queries, d]. All heads of a group meet their keys at once."""
    heads, groups, size = query.shape[0], key.shape[0], query.shape[-1]
    branches, longest = one.queries.shape
    asks = query[:, one.queries].view(groups, heads // groups, branches, longest, size)
    context_key, context_value = key[:, one.context], value[:, one.context]
    own_key, own_value = key[:, None, one.keys], value[:, None, one.keys]
    to_context = asks.flatten(1, 3) @ context_key.transpose(1, 2)
    to_own = asks @ own_key.transpose(-1, -2)
    scores = torch.cat([to_context.view(*asks.shape[:-1], one.context.shape[0]), to_own], -1) * scale + mask
    weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    tokens = one.context.shape[0]
    from_context = weights[..., :tokens].flatten(1, 3) @ context_value
    seen = from_context.view(asks.shape) + weights[..., tokens:] @ own_value
    return seen.reshape(heads, branches, longest, size)[:, one.real]
