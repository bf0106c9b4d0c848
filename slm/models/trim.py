"""A model without the rows of tokens that a narrow task does not need: in small models most weights are embeddings."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn


def named_tokens(model: Any) -> set[int]:
    """The ids that `config` and `generation_config` name: beginning, end, padding and the like."""
    named: set[int] = set()
    for _, _, value in _token_settings(model):
        named.update(value if isinstance(value, list) else [value])
    return named


def trim_model(model: Any, kept: Sequence[int]) -> None:
    """Leave only the rows `kept` (old token ids, in the new order) of the embedding and of the output layer, in place.

    `config` and `generation_config` get the new ids; all tokens that they name must be among `kept`.
    """
    rows = torch.tensor(list(kept))
    embedding, output = model.get_input_embeddings(), model.get_output_embeddings()
    tied = output.weight is embedding.weight
    embedding.weight = _rows(embedding.weight, rows)
    output.weight = embedding.weight if tied else _rows(output.weight, rows)
    place = {number: index for index, number in enumerate(kept)}
    if embedding.padding_idx is not None:
        embedding.padding_idx = place[embedding.padding_idx]
    embedding.num_embeddings = output.out_features = len(kept)
    model.vocab_size = model.config.vocab_size = len(kept)
    for config, key, value in list(_token_settings(model)):
        setattr(config, key, [place[number] for number in value] if isinstance(value, list) else place[value])


def _token_settings(model: Any) -> Iterator[tuple[Any, str, int | list[int]]]:
    for config in (model.config, model.generation_config):
        for key, value in vars(config).items():
            if key.endswith("_token_id") and value is not None:
                yield config, key, value


def _rows(weight: nn.Parameter, rows: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(weight.detach()[rows].clone(), requires_grad=weight.requires_grad)
