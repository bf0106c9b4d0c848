"""Whether two models are the same to the last bit of what they expect: how an adapter that does nothing is found."""

from collections.abc import Sequence

import torch
from torch import Tensor

from slm.generate.local.backend import LocalBackend
from slm.records import Prompt


@torch.no_grad()
def probe(backend: LocalBackend, prompts: Sequence[Prompt]) -> list[Tensor]:
    """What the model expects after every token of each prompt: logits [tokens, vocabulary] on the CPU."""
    model = backend.model.eval()
    ids = [torch.tensor([backend.renderer.render(prompt).ids], device=model.device) for prompt in prompts]
    return [model(input_ids=each, use_cache=False).logits[0].float().cpu() for each in ids]


def same(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    """Whether two models answered the same prompts with the same logits."""
    return all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
