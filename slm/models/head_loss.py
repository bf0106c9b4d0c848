"""The output layer and the cross entropy as one step, in chunks of rows, so that the logits never exist all at once.

With a vocabulary of 262k a row of logits is a megabyte, and autograd would keep three of them for each target. Here a
chunk of rows becomes logits, loss and gradient of the hidden states before the next one is begun. The output layer must
be frozen, as it is under LoRA; other models keep their logits.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from slm.models.lora import plain_model

_CHUNK_BYTES = 24 * 2**20
_CHUNK_ROWS = 128  # at least: the weights are read once for each chunk
_LABELS = "slm_labels"


def fuse_head(model: Any) -> None:
    """Let the output layer of a model give losses instead of logits where `labelled` says so.

    Left alone: an output layer that is trained, quantized or adapted, and one whose logits the model still changes.
    """
    head: Any = model.get_output_embeddings()
    capped = getattr(model.config, "final_logit_softcapping", None) is not None
    frozen = not any(parameter.requires_grad for parameter in head.parameters())
    if type(head) is nn.Linear and frozen and not capped and getattr(head, "bias", None) is None:
        setattr(head, _LABELS, None)
        head.forward = MethodType(_forward, head)  # type: ignore[method-assign]


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
        return nn.functional.linear(hidden, self.weight)
    losses: Tensor = _HeadLoss.apply(hidden.flatten(0, -2), self.weight, labels)  # type: ignore[no-untyped-call]
    return losses[None, :, None]


class _HeadLoss(torch.autograd.Function):
    """Cross entropy of each row of hidden [n, d] under weight [vocabulary, d] and labels [n]; -100 costs nothing."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
        rows = max(_CHUNK_ROWS, _CHUNK_BYTES // (4 * weight.shape[0]))
        losses = torch.empty(len(labels), dtype=torch.float32, device=hidden.device)
        grad = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for start in range(0, len(labels), rows):
            part = slice(start, start + rows)
            here = labels[part, None]
            counted = here != -100
            target = here.clamp(min=0)
            logits = (hidden[part] @ weight.t()).float()
            # Not `cross_entropy`: its kernel adds a vocabulary up in float32 with 50 times the error of `sum`. All in
            # place, because a chunk is the largest tensor of a training step.
            score = logits.gather(1, target)
            highest = logits.amax(-1, keepdim=True)
            shares = logits.sub_(highest).exp_()
            total = shares.sum(-1, keepdim=True)
            losses[part] = (total.log() + highest - score).masked_fill(~counted, 0.0)[:, 0]
            if grad is not None:
                chances = shares.mul_(counted / total)
                chances.scatter_add_(1, target, -counted.float())
                grad[part] = chances.to(weight.dtype) @ weight
                del chances
            del logits, shares  # before the next chunk takes as much
        ctx.save_for_backward(grad)
        return losses

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (unit,) = ctx.saved_tensors
        return unit * grad[:, None].to(unit.dtype), None, None
