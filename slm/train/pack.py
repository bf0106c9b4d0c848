"""Packs: examples that share a context laid out as one sequence, the context once and every example a branch of it.

A branch sees its context and itself, and its positions continue those of the context, so that the gradients equal those
of the examples one by one, at a fraction of the tokens. Packs depend on the data, the token budget and the seed alone,
never on the number of processes.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from slm.models.attention import Layout
from slm.train.encode import Encoded


@dataclass(frozen=True)
class Pack:
    """Examples for one forward pass, grouped by context."""

    groups: tuple[tuple[Encoded, ...], ...]

    @property
    def examples(self) -> Iterator[Encoded]:
        """Every example, in the order of its tokens."""
        return (example for group in self.groups for example in group)

    @cached_property
    def tokens(self) -> int:
        """Length of the packed sequence."""
        return sum(_group_tokens(group) for group in self.groups)

    @cached_property
    def unshared_tokens(self) -> int:
        """What the same examples would take one by one."""
        return sum(example.tokens for example in self.examples)

    @cached_property
    def target_tokens(self) -> int:
        """Tokens that carry loss."""
        return sum(len(example.target_ids) for example in self.examples)


@dataclass(frozen=True)
class PackTensors:
    """A pack as tensors: `input_ids` [1, tokens]; `predict_at` and `labels` [target tokens]."""

    input_ids: Tensor
    layout: Layout
    predict_at: Tensor
    labels: Tensor


def plan_packs(examples: Sequence[Encoded], *, batch_tokens: int, seed: int, epoch: int) -> list[Pack]:
    """Every example exactly once, in packs of at most `batch_tokens` tokens, in a seeded order that differs by epoch.

    A context that leaves no room for a branch gets a pack of its own for each example, above the budget. Groups too
    small to fill a pack share one.
    """
    rng = random.Random(f"{seed}/{epoch}")  # noqa: S311 - a reproducible shuffle, not a secret
    by_context: dict[tuple[int, ...], list[Encoded]] = {}
    for example in examples:
        by_context.setdefault(example.context_ids, []).append(example)
    full: list[Pack] = []
    small: list[tuple[Encoded, ...]] = []
    for members in by_context.values():
        rng.shuffle(members)
        *complete, last = _split(members, batch_tokens)
        full.extend(Pack((group,)) for group in complete)
        small.append(last)
    rng.shuffle(small)
    packs = full + _first_fit(small, batch_tokens)
    rng.shuffle(packs)
    return packs


def to_tensors(pack: Pack) -> PackTensors:
    """Lay a pack out as one sequence."""
    ids: list[int] = []
    position: list[int] = []
    context: list[int] = []
    branch: list[int] = []
    predict_at: list[int] = []
    labels: list[int] = []

    def add(tokens: Sequence[int], start: int, context_number: int, branch_number: int) -> None:
        ids.extend(tokens)
        position.extend(range(start, start + len(tokens)))
        context.extend([context_number] * len(tokens))
        branch.extend([branch_number] * len(tokens))

    for context_number, group in enumerate(pack.groups):
        shared = group[0].context_ids
        add(shared, 0, context_number, 0)
        for branch_number, example in enumerate(group, 1):
            add(example.question_ids + example.target_ids[:-1], len(shared), context_number, branch_number)
            # The token before each target token predicts it; the last target token predicts nothing and is left out.
            predict_at.extend(range(len(ids) - len(example.target_ids), len(ids)))
            labels.extend(example.target_ids)
    layout = Layout(torch.tensor(position), torch.tensor(context), torch.tensor(branch))
    return PackTensors(torch.tensor([ids]), layout, torch.tensor(predict_at), torch.tensor(labels))


def _group_tokens(group: Sequence[Encoded]) -> int:
    return len(group[0].context_ids) + sum(example.branch_tokens for example in group)


def _split(members: Sequence[Encoded], batch_tokens: int) -> list[tuple[Encoded, ...]]:
    """Cut one context's examples into groups that keep the budget (a single example may exceed it)."""
    groups: list[list[Encoded]] = []
    for example in members:
        if groups and _group_tokens(groups[-1]) + example.branch_tokens <= batch_tokens:
            groups[-1].append(example)
        else:
            groups.append([example])
    return [tuple(group) for group in groups]


def _first_fit(groups: Sequence[tuple[Encoded, ...]], batch_tokens: int) -> list[Pack]:
    bins: list[list[tuple[Encoded, ...]]] = []
    room: list[int] = []
    for group in groups:
        need = _group_tokens(group)
        for index, free in enumerate(room):
            if need <= free:
                bins[index].append(group)
                room[index] -= need
                break
        else:
            bins.append([group])
            room.append(batch_tokens - need)
    return [Pack(tuple(groups)) for groups in bins]
