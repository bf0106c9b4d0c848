"""Attention of branches to a context that is stored once, and to themselves: an attention function of transformers.

One step computes the tokens of new contexts, of new questions and the newest token of every slot in one row of tokens,
so that they share each matrix product with the weights. Only here they part: a branch sees its context and itself. The
keys of a context are read once for all branches and heads that see them. No mask comes from the model; what is hidden
(other contexts' columns, later tokens, what lies beyond a sliding window) follows from positions.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface

from slm.errors import ModelError
from slm.generate.local.cache import ContextCache, SlotCache
from slm.models.lora import plain_model

NAME = "slm_answering"
# Architectures (`config.model_type`) whose attention layers hand everything that matters to the attention function.
_KNOWN = ("gemma2", "gemma3_text", "llama", "phi3", "qwen2", "qwen3")


@dataclass
class NewContexts:
    """Contexts computed in this step, the first rows of it: one after the other."""

    contexts: Sequence[ContextCache]
    hidden: dict[tuple[int, int], Tensor] = field(default_factory=dict)

    def by_window(self, tokens: int, window: int | None, device: torch.device) -> Tensor | None:
        """Which keys [tokens, tokens] a query does see within a window; None where the window hides nothing."""
        if window is None or window >= tokens:
            return None
        if (tokens, window) not in self.hidden:
            place = torch.arange(tokens, device=device)
            distance = place[:, None] - place
            self.hidden[tokens, window] = (distance >= 0) & (distance < window)
        return self.hidden[tokens, window]


@dataclass
class Branches:
    """Consecutive slots whose newest tokens are computed together, and what they see.

    `position` [slots, queries] are the queries' positions. `rows` are the step's rows that hold the queries. Where
    slots have unequal numbers of queries, these are padded: `padded` [slots, queries] are their rows, with any row as
    padding, and `real` which of slots · queries are in `rows`.

    To read the keys of a context once, slots are sorted by context: `order` are the slots so sorted, `back` undoes it
    (None: they stand so already); `runs` are where those of each context are then. Slots without context come last.
    """

    rows: slice
    slots: slice
    position: Tensor
    context_tokens: Tensor
    own_tokens: int
    runs: Sequence[tuple[slice, ContextCache]]
    order: Tensor | None = None
    back: Tensor | None = None
    padded: Tensor | None = None
    real: Tensor | None = None
    hidden: dict[int | None, Tensor] = field(default_factory=dict)

    @property
    def longest_context(self) -> int:
        """Columns before a slot's own tokens."""
        return max((context.tokens for _, context in self.runs), default=0)

    def by_window(self, window: int | None) -> Tensor:
        """Which columns a query does not see: [sorted slots, 1, queries, longest context + own tokens]."""
        if window not in self.hidden:
            position, tokens = self.position, self.context_tokens
            if self.order is not None:
                position, tokens = position[self.order], tokens[self.order]
            column = torch.arange(self.longest_context, device=tokens.device).expand(len(tokens), -1)
            later = torch.iinfo(torch.long).max // 2  # than any query: columns that only a longer context has
            column = column.masked_fill(column >= tokens[:, None], later)
            own = tokens[:, None] + torch.arange(self.own_tokens, device=tokens.device)
            distance = position[:, :, None] - torch.cat([column, own], 1)[:, None]
            hidden = distance < 0 if window is None else (distance < 0) | (distance >= window)
            self.hidden[window] = hidden[:, None]
        return self.hidden[window]


@dataclass
class Step:
    """One forward pass: its rows are the tokens of new contexts, of new questions, and one token of each slot.

    All rows from `first_branch_row` on are stored, in the slots and places that are given.
    """

    cache: SlotCache
    new_contexts: NewContexts
    branches: Sequence[Branches]
    first_branch_row: int
    store_slots: Tensor
    store_places: Tensor


def answering_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: None,
    *,
    step: Step,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_kwargs: Any,
) -> tuple[Tensor, None]:
    """query [1, heads, rows, d], key and value [1, kv heads, rows, d] of one step; returns [1, rows, heads, d]."""
    # Under autocast positions are mixed in float32; the values have the type of the arithmetic.
    queries, keys, values = (each[0].transpose(0, 1).to(value.dtype) for each in (query, key, value))
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    out, start = [], 0
    for context in step.new_contexts.contexts:
        rows = slice(start, start + context.tokens)
        context.append(keys[rows], values[rows])
        seen = step.new_contexts.by_window(context.tokens, sliding_window, query.device)
        out.append(_within_context(queries[rows], keys[rows], values[rows], seen, scale, softcap))
        start = rows.stop
    first, layer = step.first_branch_row, module.layer_idx
    step.cache.write(layer, step.store_slots, step.store_places, keys[first:], values[first:])
    for branches in step.branches:
        own = step.cache.read(layer, branches.slots, branches.own_tokens)
        out.append(_from_branches(branches, queries, own, layer, sliding_window, scale, softcap))
    return torch.cat(out)[None] if len(out) > 1 else out[0][None], None


def _within_context(
    query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None, scale: float, softcap: float | None
) -> Tensor:
    """Causal attention of one context to itself; query [tokens, heads, d], returns the same shape."""
    query, key, value = (each.transpose(0, 1) for each in (query, key, value))
    if softcap is None:
        attend = torch.nn.functional.scaled_dot_product_attention
        options: dict[str, Any] = {"scale": scale, "enable_gqa": query.shape[0] != key.shape[0]}
        out = attend(query[None], key[None], value[None], attn_mask=seen, is_causal=seen is None, **options)
        return out[0].transpose(0, 1)
    if seen is None:
        seen = torch.ones(query.shape[1], query.shape[1], dtype=torch.bool, device=query.device).tril()
    heads, tokens, size = query.shape
    folded = query.reshape(key.shape[0], -1, size)  # the heads that share keys, one below the other
    scores = _cap(folded @ key.transpose(1, 2) * scale, softcap).view(heads, tokens, tokens)
    weights = scores.masked_fill_(~seen, float("-inf")).softmax(-1, dtype=torch.float32).to(query.dtype)
    return (weights.view(key.shape[0], -1, tokens) @ value).view(heads, tokens, size).transpose(0, 1)


def _from_branches(
    branches: Branches,
    queries: Tensor,
    own: tuple[Tensor, Tensor],
    layer: int,
    window: int | None,
    scale: float,
    softcap: float | None,
) -> Tensor:
    """What the branches' queries see: one softmax over their context and their own tokens; [rows, heads, d]."""
    own_key, own_value = own
    asked = queries[branches.rows, None] if branches.padded is None else queries[branches.padded]
    slots, length, heads, size = asked.shape
    groups, columns = own_key.shape[1], branches.longest_context
    # The heads that share keys stand together: [kv heads, slots, heads of a group · queries, d].
    asked = (
        (asked * scale).view(slots, length, groups, -1, size).permute(2, 0, 3, 1, 4).reshape(groups, slots, -1, size)
    )
    to_own = (asked.transpose(0, 1) @ own_key.transpose(-1, -2)).transpose(0, 1)
    asked = _pick(asked, branches.order)
    scores = asked.new_empty(*asked.shape[:3], columns + branches.own_tokens)
    scores[..., columns:] = _pick(to_own, branches.order)
    for where, context in branches.runs:
        found = asked[:, where].flatten(1, 2) @ context.keys[layer].transpose(1, 2)
        scores[:, where, :, : context.tokens] = found.view(groups, -1, asked.shape[2], context.tokens)
    scores = _cap(scores, softcap)
    scores.view(groups, slots, -1, length, scores.shape[-1]).masked_fill_(branches.by_window(window), float("-inf"))
    weights = scores.softmax(-1, dtype=torch.float32).to(queries.dtype)
    out = (_pick(weights[..., columns:], branches.back).transpose(0, 1) @ own_value).transpose(0, 1)
    if branches.runs:
        out = out + _pick(_from_contexts(branches, weights, layer), branches.back)
    seen = out.reshape(groups, slots, -1, length, size).permute(1, 3, 0, 2, 4).reshape(slots * length, heads, size)
    return seen if branches.real is None else seen[branches.real]


def _from_contexts(branches: Branches, weights: Tensor, layer: int) -> Tensor:
    """The contexts' values, weighted; `weights` [kv heads, sorted slots, heads of a group · queries, columns].

    Returns [kv heads, sorted slots, heads of a group · queries, d].
    """
    found = [
        weights[:, where, :, : context.tokens].flatten(1, 2) @ context.values[layer] for where, context in branches.runs
    ]
    groups, slots, folded, _ = weights.shape
    if without := slots - branches.runs[-1][0].stop:
        found.append(found[0].new_zeros(groups, without * folded, found[0].shape[-1]))
    together = found[0] if len(found) == 1 else torch.cat(found, 1)
    return together.view(groups, slots, folded, -1)


def _pick(tensor: Tensor, order: Tensor | None) -> Tensor:
    return tensor if order is None else tensor.index_select(1, order)


def _cap(scores: Tensor, softcap: float | None) -> Tensor:
    return scores if softcap is None else scores.div_(softcap).tanh_().mul_(softcap)


def known_model(model: Any) -> Any:
    """The transformers model, without what is around it. Raises ModelError for an unknown architecture."""
    plain = plain_model(model)
    if plain.config.model_type not in _KNOWN:
        raise ModelError(
            f"answers of architecture {plain.config.model_type!r} cannot be generated here",
            where=getattr(plain.config, "name_or_path", None) or None,
            expected=f"one of: {', '.join(_KNOWN)}",
        )
    return plain


@contextmanager
def answering(model: Any) -> Iterator[None]:
    """Within it a transformers model takes `step` and attends by it; afterwards it is as it was, also in training."""
    AttentionInterface.register(NAME, answering_attention)
    training = [module for module in model.modules() if module.training]
    compiled = any(module._compiled_call_impl is not None for module in model.modules())
    before = model.config._attn_implementation
    model.eval()
    model.set_attn_implementation(NAME)
    try:
        if not compiled:
            yield
            return
        # Every step has new shapes: compiled layers would be compiled again and again.
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        model.set_attn_implementation(before)
        for module in training:
            module.training = True
