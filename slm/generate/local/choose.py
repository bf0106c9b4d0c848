"""The next token of each answer where something constrains it; the likeliest one nearly always may come."""

from collections.abc import Sequence

import torch
from torch import Tensor

from slm.generate.constrain import Chooser

# So many of the likeliest tokens are tried before it is asked which of all may come.
NEAR = 100


def choose(choosers: Sequence[Chooser | None], logits: Tensor, likeliest: Tensor) -> Tensor:
    """Token ids (slots), from logits (slots, vocabulary) and their maxima (slots)."""
    chosen = likeliest.tolist()
    for slot, chooser in enumerate(choosers):
        if chooser is None or chooser.accept(chosen[slot]):
            continue
        near = logits[slot].topk(min(NEAR, logits.shape[-1])).indices.tolist()
        # Which of all tokens are allowed takes far longer than whether a few are.
        taken = next(filter(chooser.accept, near), None)
        chosen[slot] = chooser.choose(_ranked(chooser.allowed(), logits[slot])) if taken is None else taken
    return torch.tensor(chosen, device=likeliest.device)


def _ranked(bits: bytes, logits: Tensor) -> list[int]:
    """The tokens whose bits are set, the likeliest first."""
    octets = torch.frombuffer(bytearray(bits), dtype=torch.uint8)
    mask = ((octets[:, None] >> torch.arange(8)) & 1).flatten().bool()[: len(logits)].to(logits.device)
    allowed = mask.nonzero()[:, 0]
    return list(allowed[logits[allowed].argsort(descending=True)].tolist())
