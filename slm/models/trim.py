"""A model without the rows of tokens that a narrow task does not need: in small models most weights are embeddings."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def trim_model(model: Any, kept: Sequence[int]) -> None:
    """Leave only the rows `kept` (old token ids, in the new order) of the embedding and of the output layer, in place.

    What `config` and `generation_config` say of single tokens follows; a token that is gone is None there.
    """
    rows = torch.tensor(list(kept))
    embedding, output = model.get_input_embeddings(), model.get_output_embeddings()
    tied = output.weight is embedding.weight
    embedding.weight = _rows(embedding.weight, rows)
    output.weight = embedding.weight if tied else _rows(output.weight, rows)
    if getattr(output, "bias", None) is not None:
        output.bias = _rows(output.bias, rows)
    embedding.num_embeddings = output.out_features = model.vocab_size = len(kept)
    place = {number: index for index, number in enumerate(kept)}
    if embedding.padding_idx is not None:
        embedding.padding_idx = place.get(embedding.padding_idx)
    model.config.vocab_size = len(kept)
    for config in (model.config, model.generation_config):
        for key, value in list(vars(config).items()):
            if key.endswith("_token_id") and value is not None:
                setattr(config, key, _renumbered(value, place))


def _rows(weight: nn.Parameter, rows: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(weight.detach()[rows].clone(), requires_grad=weight.requires_grad)


def _renumbered(value: int | list[int], place: dict[int, int]) -> int | list[int] | None:
    if isinstance(value, list):
        return [place[number] for number in value if number in place]
    return place.get(value)
