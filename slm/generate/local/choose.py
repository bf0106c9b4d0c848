"""The next token of each answer where it is not just the likeliest: drawn, or held to a constraint, or both."""

from collections.abc import Sequence

import torch
from torch import Tensor

from slm.generate.constrain import Chooser

# So many of the likeliest tokens are tried before it is asked which of all may come.
NEAR = 100
TEMPERATURE = 0.7
# What is less likely than the likeliest by this factor (its logarithm) is not drawn; 262k tokens are too many to sort.
_RARE = 10.0


class Draw:
    """Draws the tokens of one answer. What comes depends on the seed alone, not on what else is computed."""

    def __init__(self, seed: int) -> None:
        self._random = torch.Generator().manual_seed(seed)

    def order(self, logits: Tensor) -> Tensor:
        """Indices into logits [n]: the one drawn, then the one drawn if it could not be that one, and so on.

        Gumbel noise makes the largest a draw from the softmax (Gumbel 1954), and the rest one without replacement.
        """
        noise = torch.rand(len(logits), generator=self._random).clamp_min(1e-9).log_().neg_().log_().neg_()
        return (logits.cpu() / TEMPERATURE + noise).argsort(descending=True)


def choose(
    choosers: Sequence[Chooser | None], draws: Sequence[Draw | None], logits: Tensor, likeliest: Tensor
) -> Tensor:
    """Token ids (slots), from logits (slots, vocabulary) and their maxima (slots)."""
    chosen = likeliest.tolist()
    for slot, (chooser, draw) in enumerate(zip(choosers, draws, strict=True)):
        drawn = [chosen[slot]] if draw is None else _drawn(draw, logits[slot], chosen[slot])
        chosen[slot] = drawn[0] if chooser is None else _taken(chooser, drawn, logits[slot])
    return torch.tensor(chosen, device=likeliest.device)


def _drawn(draw: Draw, logits: Tensor, likeliest: int) -> list[int]:
    """Tokens in the order in which they were drawn."""
    ids = (logits > logits[likeliest] - _RARE * TEMPERATURE).nonzero()[:, 0]
    return list(ids[draw.order(logits[ids]).to(ids.device)].tolist())


def _taken(chooser: Chooser, first: Sequence[int], logits: Tensor) -> int:
    """The first of these tokens that the chooser takes, or the likeliest of all that it takes."""
    for token in first:
        if chooser.accept(token):
            return token
    # Which of all tokens are allowed takes far longer than whether a few are.
    near = logits.topk(min(NEAR, len(logits))).indices.tolist()
    taken = next(filter(chooser.accept, near), None)
    return chooser.choose(_ranked(chooser.allowed(), logits)) if taken is None else taken


def _ranked(bits: bytes, logits: Tensor) -> list[int]:
    """The tokens whose bits are set, the likeliest first."""
    octets = torch.frombuffer(bytearray(bits), dtype=torch.uint8)
    mask = ((octets[:, None] >> torch.arange(8)) & 1).flatten().bool()[: len(logits)].to(logits.device)
    allowed = mask.nonzero()[:, 0]
    return list(allowed[logits[allowed].argsort(descending=True)].tolist())
