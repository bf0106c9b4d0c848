"""Who sees whom in a packed sequence: a context once, then many branches that see the context and themselves.

Training and generation lay tokens out in the same way, so they share these masks. A packed sequence is one row of
tokens. Each token has a position (branches continue the positions of their context), the number of its context, and the
number of its branch, 0 standing for the context itself:

    token     schema schema schema | how many ? 3 | which city ? Rome
    position       0      1      2 |   3    4 5 6 |     3    4 5    6
    context        0      0      0 |   0    0 0 0 |     0    0 0    0
    branch         0      0      0 |   1    1 1 1 |     2    2 2    2
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from slm.errors import ModelError

# How each architecture (`config.model_type`) takes a ready mask: one tensor, or one for each layer type.
_ONE_MASK = {"llama", "phi3"}
_MASK_PER_LAYER_TYPE = {"gemma2", "gemma3_text", "qwen2", "qwen3"}


@dataclass(frozen=True)
class Layout:
    """Where every token of a packed sequence stands; three int64 tensors of shape [tokens]."""

    position: Tensor
    context: Tensor
    branch: Tensor

    def __len__(self) -> int:
        return self.position.shape[0]

    def append(self, other: "Layout") -> "Layout":
        """This layout followed by another one."""
        return Layout(
            torch.cat([self.position, other.position]),
            torch.cat([self.context, other.context]),
            torch.cat([self.branch, other.branch]),
        )

    def to(self, device: torch.device) -> "Layout":
        """This layout on another device."""
        return Layout(self.position.to(device), self.context.to(device), self.branch.to(device))


def can_pack(config: Any) -> bool:
    """Whether the architecture is known to take the masks of a pack."""
    return config.model_type in _ONE_MASK | _MASK_PER_LAYER_TYPE


def packed_mask(config: Any, layout: Layout, queries: int, dtype: torch.dtype) -> Tensor | dict[str, Tensor]:
    """The attention mask of the last `queries` tokens over all tokens of `layout`, as the model expects it.

    Additive, [1, 1, queries, tokens], 0 where a token is seen and the dtype's minimum where not; for architectures with
    several kinds of layer a dict by layer type. Sliding windows count positions, so a branch sees as far back as it
    would alone. Raises ModelError for an architecture whose attention is not known to take such masks.
    """
    seen = visible(layout, queries)
    windowed = visible(layout, queries, getattr(config, "sliding_window", None))
    if config.model_type in _ONE_MASK:
        return _additive(windowed, dtype)
    if config.model_type in _MASK_PER_LAYER_TYPE:
        return {"full_attention": _additive(seen, dtype), "sliding_attention": _additive(windowed, dtype)}
    known = ", ".join(sorted(_ONE_MASK | _MASK_PER_LAYER_TYPE))
    raise ModelError(
        f"architecture {config.model_type!r} is not known to take the attention mask of a shared context",
        where=getattr(config, "name_or_path", None) or None,
        expected=f"one of: {known}",
    )


def visible(layout: Layout, queries: int, window: int | None = None) -> Tensor:
    """Whether the last `queries` tokens see each token: bool [queries, tokens]. A window counts positions."""
    tokens = len(layout)
    index = torch.arange(tokens, device=layout.position.device)
    mine = slice(tokens - queries, tokens)
    same_context = layout.context[mine, None] == layout.context[None, :]
    shared_or_own = (layout.branch[None, :] == 0) | (layout.branch[mine, None] == layout.branch[None, :])
    seen = same_context & shared_or_own & (index[None, :] <= index[mine, None])
    if window is None:
        return seen
    return seen & (layout.position[mine, None] - layout.position[None, :] < window)


def _additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)[
        None, None
    ]
