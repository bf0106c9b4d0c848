"""Floating-point operations that a training step needs, counted from the model's own layers.

Counted: matrix products, 2 operations a multiply-add, of every linear layer (the adapter's too), of the output layer at
target tokens alone, and of attention over the tokens that each token sees. The backward pass costs a linear layer the
gradient of its input, and of its weight where that is trained; attention twice its forward pass (the counting of
Chowdhery et al. 2022, arXiv:2204.02311, appendix B, with causal attention and frozen weights taken into account).
Not counted: norms, activations, softmax, rotations, the embedding's look-up, the optimizer, dequantizing weights, and
DoRA's second product. Counted though not needed: the first layer's input gradient where the embedding is frozen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from slm.train.pack import Pack


@dataclass(frozen=True)
class Flops:
    """Operations of one pass: `forward` and `backward`; `recompute` is what activation checkpointing does once more."""

    forward: int = 0
    backward: int = 0
    recompute: int = 0

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(self.forward + other.forward, self.backward + other.backward, self.recompute + other.recompute)


class FlopCount:
    """Counts for one model, unwrapped, with its adapter: what it has to do for a pack."""

    def __init__(self, model: Any) -> None:
        head = set(model.get_output_embeddings().modules())
        self._trunk = _multiply_adds(module for module in model.modules() if module not in head)
        self._head = _multiply_adds(head)
        self._recompute = any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
        config = model.config
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._pair = 4 * config.num_attention_heads * size  # a query meets a key, and its weight meets a value
        self._windows = _windows(config)

    def of(self, pack: Pack) -> Flops:
        """One pass forward and one backward over a pack; padding does not count."""
        return self.linear(pack) + self.attention(pack)

    def linear(self, pack: Pack) -> Flops:
        """The linear layers' part."""
        (trunk, trunk_trained), (head, head_trained) = self._trunk, self._head
        inside = 2 * trunk * pack.tokens
        forward = inside + 2 * head * pack.target_tokens
        weights = 2 * trunk_trained * pack.tokens + 2 * head_trained * pack.target_tokens
        return Flops(forward, forward + weights, inside if self._recompute else 0)

    def attention(self, pack: Pack) -> Flops:
        """Attention's part: scores and weighted sums over what each token sees."""
        pairs = sum(count * seen_pairs(pack, window) for window, count in self._windows.items())
        forward = pairs * self._pair
        return Flops(forward, 2 * forward, forward if self._recompute else 0)


def seen_pairs(pack: Pack, window: int | None) -> int:
    """How often a token sees a token in one layer: itself, its branch so far and its context, within the window."""
    total = 0
    for group in pack.groups:
        context = len(group[0].context_ids)
        if not pack.padded:
            total += _pairs(0, context, window)
        for example in group:
            total += _pairs(0 if pack.padded else context, context + example.branch_tokens, window)
    return total


def _pairs(start: int, end: int, window: int | None) -> int:
    """The sum of min(position + 1, window) over positions [start, end)."""
    if window is None or end <= window:
        return (end * (end + 1) - start * (start + 1)) // 2
    if start >= window:
        return (end - start) * window
    return _pairs(start, window, None) + (end - window) * window


def _multiply_adds(modules: Iterable[Any]) -> tuple[int, int]:
    """(of all linear layers, of those whose weight is trained), a token."""
    # By the layers' sizes: a weight in 4 bits has another shape.
    sizes = [(one.in_features * one.out_features, one) for one in modules if isinstance(one, nn.Linear)]
    return sum(size for size, _ in sizes), sum(size for size, one in sizes if one.weight.requires_grad)


def _windows(config: Any) -> dict[int | None, int]:
    """How many layers look through each sliding window; None: all the way back."""
    window: int | None = getattr(config, "sliding_window", None)
    kinds: Sequence[str] | None = getattr(config, "layer_types", None)
    if kinds is None:
        return {window: config.num_hidden_layers}
    sliding = sum(kind == "sliding_attention" for kind in kinds)
    return {None: len(kinds) - sliding, window: sliding} if window is not None else {None: len(kinds)}
