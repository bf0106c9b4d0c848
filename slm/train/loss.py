"""The loss: cross entropy of the target tokens, with logits computed only where a target token is predicted."""

from typing import Any

import torch
from torch import Tensor

from slm.models.arena import remembering
from slm.models.head_loss import labelled
from slm.models.lora import plain_model
from slm.models.packed_attention import packed_inputs
from slm.train.pack import PackTensors


def summed_loss(model: Any, config: Any, tensors: PackTensors, *, dtype: torch.dtype) -> Tensor:
    """Cross entropy summed over the target tokens, in fp32; a scalar.

    `model` may be wrapped (PEFT, DDP); `config` is the plain model's. A vocabulary of 262k makes logits dearer than the
    whole trunk of a 270M model, so they are computed where a target is predicted and nowhere else.
    """
    if tensors.layout is not None:
        inputs = packed_inputs(config, tensors.layout, dtype)
        inputs["logits_to_keep"] = tensors.predict_at
    else:
        mask = tensors.mask
        assert mask is not None  # noqa: S101 - a pack is laid out in one of two ways
        position = (mask.cumsum(-1) - 1).clamp(min=0)
        inputs = {"attention_mask": mask, "position_ids": position, "logits_to_keep": tensors.labels.shape[1]}
    labels = tensors.labels.flatten()
    with labelled(model, labels) as fused, remembering(_leaves_much(model, labels)):
        out: Tensor = model(input_ids=tensors.input_ids, use_cache=False, **inputs).logits
    if fused:
        return out.sum()
    return torch.nn.functional.cross_entropy(out.flatten(0, 1).float(), labels, ignore_index=-100, reduction="sum")


def _leaves_much(model: Any, labels: Tensor) -> bool:
    """Whether the forward pass keeps its activations, on the CPU, for a backward pass."""
    if labels.device.type != "cpu" or not torch.is_grad_enabled():
        return False
    return not any(getattr(layer, "gradient_checkpointing", False) for layer in plain_model(model).get_decoder().layers)
