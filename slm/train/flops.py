"""Floating-point operations that a training step needs, counted from the model's own layers.

Counted: matrix products, 2 operations a multiply-add, of every linear layer (the adapter's too), of the output layer at
target tokens alone, and of attention over the tokens that each token sees. The backward pass costs a linear layer the
gradient of its input, and of its weight where that is trained; attention twice its forward pass (the counting of
Chowdhery et al. 2022, arXiv:2204.02311, appendix B, with causal attention and frozen weights taken into account).
Layers below the first that is trained have no backward pass.
Not counted: norms, activations, softmax, rotations, the embedding's look-up, the optimizer, dequantizing weights, and
DoRA's second product. Counted though not needed: the input gradient of the first trained layer, where all below is
frozen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from slm.models.lora import plain_model
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
        layers = plain_model(model).get_decoder().layers
        below = _untrained_below(model, layers)
        frozen = {module for layer in layers[:below] for module in layer.modules()}
        self._trunk = _multiply_adds(module for module in model.modules() if module not in head)
        self._below = _multiply_adds(frozen)[0]
        self._head = _multiply_adds(head)
        self._recompute = any(getattr(module, "gradient_checkpointing", False) for module in model.modules())
        config = model.config
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._pair = 4 * config.num_attention_heads * size  # a query meets a key, and its weight meets a value
        self._windows = _windows(config, 0)
        self._trained_windows = _windows(config, below)

    def of(self, pack: Pack) -> Flops:
        """One pass forward and one backward over a pack; padding does not count."""
        return self.linear(pack) + self.attention(pack)

    def linear(self, pack: Pack) -> Flops:
        """The linear layers' part."""
        (trunk, trunk_trained), (head, head_trained) = self._trunk, self._head
        inside = 2 * trunk * pack.tokens
        forward = inside + 2 * head * pack.target_tokens
        weights = 2 * trunk_trained * pack.tokens + 2 * head_trained * pack.target_tokens
        below = 2 * self._below * pack.tokens
        return Flops(forward, forward - below + weights, inside - below if self._recompute else 0)

    def attention(self, pack: Pack) -> Flops:
        """Attention's part: scores and weighted sums over what each token sees."""
        forward, trained = (
            self._pair * sum(count * seen_pairs(pack, window) for window, count in windows.items())
            for windows in (self._windows, self._trained_windows)
        )
        return Flops(forward, 2 * trained, trained if self._recompute else 0)


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


def _untrained_below(model: Any, layers: Any) -> int:
    """How many of the first decoder layers have no backward pass: nothing is trained in them, nor below them."""
    if any(value.requires_grad for value in model.get_input_embeddings().parameters()):
        return 0
    trained = (any(value.requires_grad for value in layer.parameters()) for layer in layers)
    return next((index for index, found in enumerate(trained) if found), 0)


def _windows(config: Any, below: int) -> dict[int | None, int]:
    """How many layers, without the first `below`, look through each sliding window; None: all the way back."""
    window: int | None = getattr(config, "sliding_window", None)
    kinds: Sequence[str] | None = getattr(config, "layer_types", None)
    if kinds is None:
        return {window: config.num_hidden_layers - below}
    kinds = kinds[below:]
    sliding = sum(kind == "sliding_attention" for kind in kinds)
    return {None: len(kinds) - sliding, window: sliding} if window is not None else {None: len(kinds)}
