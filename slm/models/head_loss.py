"""The output layer and the cross entropy as one step, a block of the vocabulary at a time: no logits exist all at once.

With a vocabulary of 262k a row of logits is a megabyte, and autograd would keep three of them for each target. Here the
gradient of the hidden states is there when the last block has been seen: it is the mean of the vocabulary's vectors by
their probability, less the target's. The output layer must be frozen, as under LoRA; other models keep their logits.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from slm.models.frozen import wide
from slm.models.lora import plain_model

_BLOCK_BYTES = 24 * 2**20  # of logits, and of the weights that they are made with
_ROWS = 1024  # at once: more would make blocks of few columns
_LABELS = "slm_labels"


def fuse_head(model: Any) -> bool:
    """Let the output layer of a model give losses instead of logits where `labelled` says so; whether it can.

    Left alone: an output layer that is trained, quantized or adapted, and one whose logits the model still changes.
    """
    head: Any = model.get_output_embeddings()
    capped = getattr(model.config, "final_logit_softcapping", None) is not None
    frozen = not any(parameter.requires_grad for parameter in head.parameters())
    if type(head) is not nn.Linear or not frozen or capped or getattr(head, "bias", None) is not None:
        return False
    setattr(head, _LABELS, None)
    head.forward = MethodType(_forward, head)  # type: ignore[method-assign]
    return True


@contextmanager
def labelled(model: Any, labels: Tensor) -> Iterator[bool]:
    """While entered, the output layer takes `labels` [targets]; yields whether it does. If not, it gives logits."""
    head = plain_model(model).get_output_embeddings()
    fused = hasattr(head, _LABELS)
    if fused:
        setattr(head, _LABELS, labels)
    try:
        yield fused
    finally:
        if fused:
            setattr(head, _LABELS, None)


def _forward(self: Any, hidden: Tensor) -> Tensor:
    """Logits as ever, or with labels the losses of the targets [1, targets, 1] in float32."""
    labels = getattr(self, _LABELS)
    if labels is None:
        return nn.functional.linear(hidden, wide(self.weight, hidden))
    losses: Tensor = _HeadLoss.apply(hidden.flatten(0, -2), self.weight, labels)  # type: ignore[no-untyped-call]
    return losses[None, :, None]


class _HeadLoss(torch.autograd.Function):
    """Cross entropy of each row of hidden [n, d] under weight [vocabulary, d] and labels [n]; -100 costs nothing."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        losses = torch.empty(len(labels), dtype=torch.float32, device=hidden.device)
        grad = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for start in range(0, len(labels), _ROWS):
            part = slice(start, start + _ROWS)
            counted = labels[part, None] != -100
            target = labels[part, None].clamp(min=0)
            loss, mean = _loss_and_mean(hidden[part], weight, target, mean_wanted=grad is not None)
            losses[part] = loss.masked_fill(~counted, 0.0)[:, 0]
            if grad is not None and mean is not None:
                grad[part] = mean.sub_(weight[target[:, 0]]).masked_fill_(~counted, 0.0)
        ctx.save_for_backward(grad)
        return losses

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (unit,) = ctx.saved_tensors
        return unit * grad[:, None].to(unit.dtype), None, None


def _loss_and_mean(
    hidden: Tensor, weight: Tensor, target: Tensor, *, mean_wanted: bool
) -> tuple[Tensor, Tensor | None]:
    """Cross entropy [n, 1] of hidden [n, d], and the mean of `weight`'s rows [n, d], each weighed by its probability.

    As flash attention does (arXiv:2205.14135): sums over the blocks seen so far are relative to the highest logit among
    them, and shrink when a block has a higher one. All in place, because a block is the largest tensor of a step.
    """
    rows = len(hidden)
    highest = torch.full((rows, 1), -torch.inf, dtype=torch.float32, device=hidden.device)
    total, score = torch.zeros_like(highest), torch.zeros_like(highest)
    mean = torch.zeros(hidden.shape, dtype=torch.float32, device=hidden.device) if mean_wanted else None
    columns = max(1, _BLOCK_BYTES // (4 * max(hidden.shape)))
    for start in range(0, len(weight), columns):
        block = wide(weight[start : start + columns], hidden)
        logits = (hidden @ block.t()).float()
        place = (target - start).clamp(0, len(block) - 1)
        score = torch.where(target == place + start, logits.gather(1, place), score)
        higher = torch.maximum(highest, logits.amax(-1, keepdim=True))
        shrink = (highest - higher).exp_()
        highest = higher
        # Not `logsumexp`: adding up by `sum` has a fiftieth of the error that some kernels have over 262k columns.
        shares = logits.sub_(highest).exp_()
        total.mul_(shrink).add_(shares.sum(-1, keepdim=True))
        if mean is not None:
            mean.mul_(shrink).add_(shares.to(block.dtype) @ block)
        del block, logits, shares  # before the next block takes as much
    if mean is not None:
        mean.div_(total)
    return total.log() + highest - score, mean
