"""Packs: examples that share a context laid out as one sequence, the context once and every example a branch of it.

A branch sees its context and itself, and its positions continue those of the context, so that the gradients equal those
of the examples one by one, at a fraction of the tokens. Packs depend on the data, the token budget and the seed alone,
never on the number of processes. For models whose attention cannot be packed there are padded batches instead.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from slm.models.attention import Layout
from slm.train.encode import Encoded


@dataclass(frozen=True)
class Pack:
    """Examples for one forward pass, grouped by context; or, `padded`, a row of its own for each."""

    groups: tuple[tuple[Encoded, ...], ...]
    padded: bool = False

    @property
    def examples(self) -> Iterator[Encoded]:
        """Every example, in the order of its tokens."""
        return (example for group in self.groups for example in group)

    @cached_property
    def tokens(self) -> int:
        """Real tokens that are computed."""
        return self.unshared_tokens if self.padded else sum(_group_tokens(group) for group in self.groups)

    @cached_property
    def padded_tokens(self) -> int:
        """Tokens that are computed, with padding."""
        if not self.padded:
            return self.tokens
        lengths = [example.tokens for example in self.examples]
        return len(lengths) * max(lengths)

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
    """A pack as tensors.

    Packed: `input_ids` [1, tokens] with their `layout`, `predict_at` [target tokens] and `labels` [target tokens].
    Padded: `input_ids` and `mask` [examples, longest], padded on the left, and `labels` [examples, longest target],
    which belong to the last positions, -100 where there is no target.
    """

    input_ids: Tensor
    labels: Tensor
    layout: Layout | None = None
    predict_at: Tensor | None = None
    mask: Tensor | None = None

    def to(self, device: torch.device) -> "PackTensors":
        """The same on another device."""
        moved = {name: value.to(device) for name, value in vars(self).items() if value is not None}
        return replace(self, **moved)


Packing = Literal["shared", "none"]


def plan_packs(
    examples: Sequence[Encoded], *, batch_tokens: int, seed: int, epoch: int, packing: Packing = "shared"
) -> list[Pack]:
    """Every example exactly once, in packs of at most `batch_tokens` tokens, in a seeded order that differs by epoch.

    A context that leaves no room for a branch gets a pack of its own for each example, above the budget. Groups too
    small to fill a pack share one. With packing `none`, batches of examples of about equal length.
    """
    rng = random.Random(f"{seed}/{epoch}")  # noqa: S311 - a reproducible shuffle, not a secret
    if packing == "none":
        return _padded_batches(examples, batch_tokens, rng)
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
    """Lay a pack out as one sequence, or as padded rows."""
    if pack.padded:
        return _to_rows(list(pack.examples))
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
    return PackTensors(torch.tensor([ids]), torch.tensor(labels), layout, torch.tensor(predict_at))


def _to_rows(examples: Sequence[Encoded]) -> PackTensors:
    # On the left, so that the targets of all rows end at the last position and logits are needed only there.
    longest = max(example.tokens for example in examples)
    targets = max(len(example.target_ids) for example in examples)
    ids = torch.zeros(len(examples), longest, dtype=torch.long)
    mask = torch.zeros(len(examples), longest, dtype=torch.long)
    labels = torch.full((len(examples), targets), -100)
    for row, example in enumerate(examples):
        ids[row, longest - example.tokens :] = torch.tensor(
            example.context_ids + example.question_ids + example.target_ids[:-1]
        )
        mask[row, longest - example.tokens :] = 1
        labels[row, targets - len(example.target_ids) :] = torch.tensor(example.target_ids)
    return PackTensors(ids, labels, mask=mask)


def _padded_batches(examples: Sequence[Encoded], batch_tokens: int, rng: random.Random) -> list[Pack]:
    shuffled = list(examples)
    rng.shuffle(shuffled)
    batches: list[list[Encoded]] = []
    for example in sorted(shuffled, key=lambda one: one.tokens):  # the last one of a batch is its longest
        if batches and (len(batches[-1]) + 1) * example.tokens <= batch_tokens:
            batches[-1].append(example)
        else:
            batches.append([example])
    packs = [Pack(tuple((example,) for example in batch), padded=True) for batch in batches]
    rng.shuffle(packs)
    return packs


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
