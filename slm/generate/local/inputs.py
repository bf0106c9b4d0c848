"""What the model is given for one step: ids, positions, and where every token stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from slm.generate.local.attention import Branches, NewContexts, Step
from slm.generate.local.cache import ContextCache, SlotCache
from slm.generate.local.schedule import Question


@dataclass(frozen=True)
class StepInputs:
    """`model`: arguments of its forward pass; `computed`: how many tokens are computed for each active question."""

    model: dict[str, Any]
    computed: list[int]


def step_inputs(cache: SlotCache, active: Sequence[Question], new: int, device: torch.device) -> StepInputs:
    """The next step of the `active` questions, one a slot, of which the last `new` are computed for the first time.

    Rows: new contexts, one after the other; the new questions but for their last tokens; one token of each slot, from
    which the logits are read. The questions count the tokens that this step stores for them.
    """
    admitted = active[len(active) - new :]
    ids: list[int] = []
    position: list[int] = []
    computed = [1] * len(active)
    contexts = []
    for slot, question in enumerate(active):
        if question.computes_context and not question.tokens:
            contexts.append(question.context)
            ids.extend(question.prompt.context_ids)
            position.extend(range(question.context.tokens))
            computed[slot] += question.context.tokens
    first_branch_row = len(ids)
    stored: list[tuple[int, int]] = []  # slot and place of each row from here on
    lengths = [len(question.prompt.question_ids) - 1 for question in admitted]
    for slot, (question, length) in enumerate(zip(admitted, lengths, strict=True), len(active) - new):
        ids.extend(question.prompt.question_ids[:-1])
        stored.extend((slot, place) for place in range(length))
        computed[slot] += length
        question.tokens = length
    for slot, question in enumerate(active):
        ids.append(question.ids[-1] if question.ids else question.prompt.question_ids[-1])
        stored.append((slot, question.tokens))
        question.tokens += 1
    position.extend(active[slot].context.tokens + place for slot, place in stored)
    cache.reserve(max(question.tokens for question in active))
    where = torch.tensor(stored, device=device)
    parts = [_newest(active, len(ids), device)]
    if any(lengths):
        parts.insert(0, _questions(admitted, lengths, first_branch_row, len(active) - new, device))
    step = Step(cache, NewContexts(contexts), parts, first_branch_row, where[:, 0], where[:, 1])
    rows = torch.tensor([ids, position], device=device)
    return StepInputs({"input_ids": rows[:1], "position_ids": rows[1:], "step": step}, computed)


def _newest(active: Sequence[Question], rows: int, device: torch.device) -> Branches:
    """The newest token of every slot, in the last of `rows`."""
    tokens = [question.context.tokens for question in active]
    last = [question.context.tokens + question.tokens - 1 for question in active]
    return Branches(
        rows=slice(rows - len(active), rows),
        slots=slice(0, len(active)),
        position=torch.tensor(last, device=device)[:, None],
        context_tokens=torch.tensor(tokens, device=device),
        own_tokens=max(question.tokens for question in active),
        **_by_context(active, device),
    )


def _questions(
    admitted: Sequence[Question], lengths: Sequence[int], first_row: int, first_slot: int, device: torch.device
) -> Branches:
    """New questions but for their last tokens, `lengths` of each, in rows from `first_row` on."""
    count, longest = torch.tensor(lengths, device=device), max(lengths)
    place = torch.arange(longest, device=device)
    real = place < count[:, None]
    start = first_row + count.cumsum(0) - count
    context_tokens = torch.tensor([question.context.tokens for question in admitted], device=device)
    return Branches(
        rows=slice(first_row, first_row + sum(lengths)),
        slots=slice(first_slot, first_slot + len(admitted)),
        position=context_tokens[:, None] + place,
        context_tokens=context_tokens,
        own_tokens=longest,
        **_by_context(admitted, device),
        padded=torch.where(real, start[:, None] + place, first_row),
        real=real.flatten().nonzero()[:, 0],
    )


def _by_context(questions: Sequence[Question], device: torch.device) -> dict[str, Any]:
    """`runs`, `order` and `back` of `Branches`."""
    members: dict[ContextCache, list[int]] = {}
    for number, question in enumerate(questions):
        members.setdefault(question.context, []).append(number)
    some = sorted(members.items(), key=lambda item: item[0].tokens == 0)
    runs, order = [], list[int]()
    for context, numbers in some:
        if context.tokens:
            runs.append((slice(len(order), len(order) + len(numbers)), context))
        order.extend(numbers)
    if order == sorted(order):
        return {"runs": runs}
    sorting = torch.tensor(order, device=device)
    return {"runs": runs, "order": sorting, "back": sorting.argsort()}
