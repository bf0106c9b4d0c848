"""The loss: cross entropy of the target tokens, with logits computed only where a target token is predicted."""

from typing import Any

import torch
from torch import Tensor

from slm.models.shared_attention import packed_inputs
from slm.train.pack import Pack, to_tensors


def summed_loss(model: Any, config: Any, pack: Pack, *, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Cross entropy summed over the pack's target tokens, in fp32; a scalar.

    `model` may be wrapped (PEFT, DDP); `config` is the plain model's. A vocabulary of 262k makes logits dearer than the
    whole trunk of a 270M model, so they are computed at `predict_at` alone.
    """
    tensors = to_tensors(pack)
    layout = tensors.layout.to(device)
    logits = model(
        input_ids=tensors.input_ids.to(device),
        logits_to_keep=tensors.predict_at.to(device),
        use_cache=False,
        **packed_inputs(config, layout, len(layout), dtype),
    ).logits[0]
    return torch.nn.functional.cross_entropy(logits.float(), tensors.labels.to(device), reduction="sum")
