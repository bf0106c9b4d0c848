"""Keys and values: of each context once, shared by its questions, and of what each slot holds beyond its context."""

import torch
from torch import Tensor

_FIRST_CAPACITY = 64  # tokens of a slot; grows as answers do


class ContextCache:
    """Keys and values of one context by layer, each [kv heads, tokens, d]; empty until it is computed."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    @property
    def computed(self) -> bool:
        """Whether questions can be answered from it."""
        return bool(self.keys) or not self.tokens

    def append(self, key: Tensor, value: Tensor) -> None:
        """Keep the next layer's key and value [tokens, kv heads, d]."""
        # Copies: a slice would keep alive everything that was computed in the same step.
        self.keys.append(key.transpose(0, 1).clone(memory_format=torch.contiguous_format))
        self.values.append(value.transpose(0, 1).clone(memory_format=torch.contiguous_format))


class SlotCache:
    """Keys and values of all slots in one tensor [layers, 2, slots, kv heads, capacity, d], written in place.

    A slot's tokens stand at the places 0, 1, … behind its context. Nothing is allocated before the first write.
    """

    def __init__(self, layers: int, slots: int) -> None:
        self.layers, self.slots = layers, slots
        self.capacity = _FIRST_CAPACITY
        self._stored: Tensor | None = None

    def reserve(self, tokens: int) -> None:
        """Make room for so many tokens in every slot."""
        if tokens <= self.capacity:
            return
        while self.capacity < tokens:
            self.capacity *= 2
        if self._stored is not None:
            before = self._stored
            self._stored = before.new_zeros(*before.shape[:4], self.capacity, before.shape[5])
            self._stored[..., : before.shape[4], :] = before

    def write(self, layer: int, slots: Tensor, places: Tensor, key: Tensor, value: Tensor) -> None:
        """Store tokens [tokens, kv heads, d], each in its slot at its place."""
        if self._stored is None:
            # Zeros: a token beyond a slot's end gets the weight 0, and 0 times garbage may be NaN.
            shape = (self.layers, 2, self.slots, key.shape[1], self.capacity, key.shape[2])
            self._stored = key.new_zeros(shape)
        self._stored[layer, 0][slots, :, places] = key
        self._stored[layer, 1][slots, :, places] = value

    def read(self, layer: int, slots: slice, tokens: int) -> tuple[Tensor, Tensor]:
        """Key and value of the first `tokens` of some slots: views [slots, kv heads, tokens, d]."""
        if self._stored is None:
            raise RuntimeError("read before the first write")
        key, value = self._stored[layer, :, slots, :, :tokens]
        return key, value

    def move(self, source: int, target: int, tokens: int) -> None:
        """Copy the first `tokens` of one slot to another."""
        if self._stored is not None:
            self._stored[:, :, target, :, :tokens] = self._stored[:, :, source, :, :tokens]
