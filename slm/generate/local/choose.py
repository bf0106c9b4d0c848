"""The next token of each answer where it is not just the likeliest: drawn, or held to a constraint, or both."""

from collections.abc import Sequence

import torch
from torch import Tensor

from slm.generate.constrain import Chooser

# So many of the likeliest tokens are tried before it is asked which of all may come; none but them is drawn.
NEAR = 100
TEMPERATURE = 0.7


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
        if draw is None and (chooser is None or chooser.accept(chosen[slot])):
            continue
        near = logits[slot].topk(min(NEAR, logits.shape[-1]))
        ids = near.indices.cpu()
        ids = ids if draw is None else ids[draw.order(near.values)]
        if chooser is None:
            chosen[slot] = int(ids[0])
            continue
        # Which of all tokens are allowed takes far longer than whether a few are.
        taken = next(filter(chooser.accept, ids.tolist()), None)
        chosen[slot] = chooser.choose(_ranked(chooser.allowed(), logits[slot])) if taken is None else taken
    return torch.tensor(chosen, device=likeliest.device)


def _ranked(bits: bytes, logits: Tensor) -> list[int]:
    """The tokens whose bits are set, the likeliest first."""
    octets = torch.frombuffer(bytearray(bits), dtype=torch.uint8)
    mask = ((octets[:, None] >> torch.arange(8)) & 1).flatten().bool()[: len(logits)].to(logits.device)
    allowed = mask.nonzero()[:, 0]
    return list(allowed[logits[allowed].argsort(descending=True)].tolist())
