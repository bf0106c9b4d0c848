"""Attention is never silently wrong: a few examples laid out together have the losses that they have one by one."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from slm.train.encode import Encoded
from slm.train.loss import summed_loss
from slm.train.pack import Packing, plan_packs, to_tensors

# With fewer, what a wrong position does to the loss can be less than what bfloat16's rounding may.
_BRANCHES = 6


def packing_probe(
    model: Any, config: Any, encoded: Sequence[Encoded], *, dtype: torch.dtype, packing: Packing = "shared"
) -> tuple[float, list[str]]:
    """How far the loss of a few examples laid out together is from their losses one by one, relative; and their ids.

    One by one they go through the model as the library runs it, with its own masks and positions. The examples are the
    shortest that show both kinds of sharing, branches of one context and a second context, and if there are any, that
    are longer than the model's sliding window. Dropout is off. No ids where no example has a target.
    Raises ModelError for an architecture that takes no packs.
    """
    with_target = [one for one in encoded if one.target_ids]
    if not with_target:
        return 0.0, []
    chosen = _shortest(with_target, window=getattr(config, "sliding_window", None) or 0)
    room = len(chosen) * max(one.tokens for one in chosen)
    device = next(model.parameters()).device
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        # Layers that are compiled would be compiled again, for lengths that never come back.
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):
            packs = plan_packs(chosen, batch_tokens=room, seed=0, epoch=0, packing=packing)
            together = sum(
                float(summed_loss(model, config, to_tensors(pack).to(device), dtype=dtype)) for pack in packs
            )
            alone = sum(float(_library_loss(model, one, device)) for one in chosen)
    finally:
        for module, mode in modes:
            module.training = mode
    return abs(together - alone) / max(abs(alone), 1e-9), [one.example_id for one in chosen]


def _library_loss(model: Any, example: Encoded, device: torch.device) -> Tensor:
    """Cross entropy summed over one example's target tokens, fp32."""
    row = torch.tensor([example.context_ids + example.question_ids + example.target_ids], device=device)
    count = len(example.target_ids)
    logits = model(input_ids=row, use_cache=False, logits_to_keep=count + 1).logits[0, :-1]
    return torch.nn.functional.cross_entropy(logits.float(), row[0, -count:], reduction="sum")


def _shortest(encoded: Sequence[Encoded], *, window: int) -> list[Encoded]:
    by_context: dict[tuple[int, ...], list[Encoded]] = {}
    for one in encoded:
        by_context.setdefault(one.context_ids, []).append(one)
    for group in by_context.values():
        group.sort(key=lambda one: one.tokens)
    # Contexts with enough branches first, those that show the window next, then short ones before long ones.
    first, *others = sorted(
        by_context.values(),
        key=lambda group: (-min(len(group), _BRANCHES), group[0].tokens <= window, group[0].tokens),
    )
    return first[:_BRANCHES] + (others[0][:1] if others else [])
