"""What a model expects along given answers: the next-token distributions by which two models are compared.

A vocabulary has up to 262,144 tokens, and a distribution is nearly always on a few of them. So each is kept as the
probabilities of the reference's `TOP` likeliest tokens and of all others together. The KL divergence of such coarser
distributions is never more than the exact one (data-processing inequality), and what it leaves out is the shape of a
tail that has almost no weight.
"""

import copy
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from slm.models.lora import plain_model
from slm.tasks import Rendered

TOP = 512
_ABSENT = -1  # in a mapping: the other vocabulary has no such token
# Probabilities below it count as this much, or one token that cannot come would make a divergence infinite.
_LEAST = -20.7  # log(1e-9)


@dataclass(frozen=True)
class Line:
    """A prompt, and an answer that is taken as given: token ids, the token that ends it included."""

    prompt: Rendered
    answer: tuple[int, ...]


@dataclass(frozen=True)
class Along:
    """What a model expects at each token of an answer; ids are the reference's, logarithms natural.

    `chosen` [tokens]: the likeliest token. `given` [tokens]: log-probability of the answer's own. `ids` [tokens, k]:
    the reference's likeliest, `buckets` [tokens, k + 1]: their log-probabilities, and that of all others together.
    `absent` [tokens, k]: which of `ids` the model has no token for.
    """

    chosen: Tensor
    given: Tensor
    ids: Tensor
    buckets: Tensor
    absent: Tensor


@dataclass(frozen=True)
class Distance:
    """How far a model is from the reference over all tokens of all answers, in nats a token.

    `agree` of `tokens` would be chosen by both. `end` and `reference_end` are mean log-probabilities of the end.
    """

    tokens: int
    kl_mean: float
    kl_max: float
    agree: int
    end: float
    reference_end: float


@torch.no_grad()
def along(
    model: Any,
    lines: Sequence[Line],
    *,
    reference: Sequence[Along] | None = None,
    mapping: Sequence[int] | None = None,
) -> list[Along]:
    """What `model` expects along the answers of `lines`; each context is computed once.

    `reference` is what the reference expects along the same answers; None if `model` is the reference. `mapping` has
    the model's id of each of the reference's tokens, -1 for none; None: the same vocabulary.
    """
    ids_of = torch.tensor(mapping) if mapping is not None else None
    found: dict[int, Along] = {}
    for number, logprobs in _log_probabilities(model, lines):
        ids = reference[number].ids if reference else logprobs.topk(min(TOP, logprobs.shape[-1])).indices
        own = ids if ids_of is None else ids_of[ids]
        given = logprobs.gather(1, torch.tensor(lines[number].answer)[:, None])[:, 0]
        chosen = logprobs.argmax(-1)
        if ids_of is not None:
            chosen = _inverse(ids_of, logprobs.shape[-1])[chosen]
        found[number] = Along(chosen, given, ids, _buckets(logprobs, own), own == _ABSENT)
    return [found[number] for number in range(len(lines))]


def distance(reference: Sequence[Along], other: Sequence[Along]) -> Distance:
    """KL(reference ‖ other) and agreement along the same answers; both empty is an error of the caller."""
    kl = torch.cat([_divergence(first, second) for first, second in zip(reference, other, strict=True)])
    agree = [first.chosen == second.chosen for first, second in zip(reference, other, strict=True)]
    return Distance(
        tokens=len(kl),
        kl_mean=float(kl.mean()),
        kl_max=float(kl.max()),
        agree=int(torch.cat(agree).sum()),
        end=_mean_end(other),
        reference_end=_mean_end(reference),
    )


def _log_probabilities(model: Any, lines: Sequence[Line]) -> Iterator[tuple[int, Tensor]]:
    """(number of the line, log-probabilities [answer tokens, vocabulary] on the CPU)."""
    network = plain_model(model)
    device = network.device
    by_context: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, line in enumerate(lines):
        by_context[_context(line.prompt)].append(number)
    for context, numbers in by_context.items():
        cache = None
        if context:
            ids = torch.tensor([context], device=device)
            cache = network(input_ids=ids, use_cache=True, logits_to_keep=1).past_key_values
        for number in numbers:
            line = lines[number]
            rest = torch.tensor([[*line.prompt.ids[len(context) :], *line.answer[:-1]]], device=device)
            out = network(
                input_ids=rest,
                past_key_values=copy.deepcopy(cache),  # the model appends to the one that it is given
                use_cache=True,
                logits_to_keep=len(line.answer),
            )
            yield number, out.logits[0].float().log_softmax(-1).cpu()


def _context(prompt: Rendered) -> tuple[int, ...]:
    """The shared part of a prompt, but never all of it: the answer follows a token."""
    return prompt.context_ids[: len(prompt.ids) - 1]


def _buckets(logprobs: Tensor, ids: Tensor) -> Tensor:
    """[tokens, k + 1] log-probabilities of `ids` [tokens, k], none for absent ones, and of all others together."""
    absent = ids == _ABSENT
    present = ids.masked_fill(absent, 0)
    own = logprobs.gather(1, present).masked_fill(absent, float("-inf"))
    kept = torch.zeros_like(logprobs, dtype=torch.int32).scatter_add_(1, present, (~absent).int())
    rest = logprobs.masked_fill(kept > 0, float("-inf")).logsumexp(-1, keepdim=True)
    return torch.cat([own, rest], 1)


def _divergence(first: Along, second: Along) -> Tensor:
    """KL(first ‖ second) in nats, a token [tokens]; tokens that either has not count among the others."""
    absent = first.absent | second.absent
    one, other = (_joined(each.buckets, absent) for each in (first, second))
    terms = one.exp() * (one.clamp(min=_LEAST) - other.clamp(min=_LEAST))
    return terms.sum(-1).clamp(min=0.0)


def _joined(buckets: Tensor, absent: Tensor) -> Tensor:
    """The same buckets with the absent tokens' probability moved to that of all others."""
    own, rest = buckets[:, :-1], buckets[:, -1:]
    moved = own.masked_fill(~absent, float("-inf"))
    return torch.cat([own.masked_fill(absent, float("-inf")), torch.cat([moved, rest], 1).logsumexp(-1, True)], 1)


def _inverse(mapping: Tensor, size: int) -> Tensor:
    """The reference's id of each of the model's `size` tokens, -1 for none."""
    inverse = torch.full((size,), _ABSENT)
    there = (mapping != _ABSENT).nonzero()[:, 0]
    inverse[mapping[there]] = there
    return inverse


def _mean_end(answers: Sequence[Along]) -> float:
    return float(torch.stack([each.given[-1] for each in answers]).mean())
