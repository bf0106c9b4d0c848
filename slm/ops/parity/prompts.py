"""Prompts as two tokenizers make them: the same tokens in the same order, or the first that differs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slm.ops.parity.certificate import Check
from slm.records import Prompt
from slm.tasks import Renderer


@dataclass(frozen=True)
class Vocabularies:
    """Two tokenizers side by side. `size`: one more than the form's largest id.

    `mapping`: the form's id of each of the reference's tokens, -1 for none.
    """

    mapping: tuple[int, ...]
    missing: int
    foreign: tuple[str, ...]
    size: int

    @property
    def identical(self) -> bool:
        """Whether both have the same tokens with the same ids."""
        return not self.missing and not self.foreign and all(own == other for own, other in enumerate(self.mapping))

    def rows(self) -> tuple[int, ...]:
        """The reference's id of each id of the form."""
        pairs = sorted((other, own) for own, other in enumerate(self.mapping) if other >= 0)
        return tuple(own for _, own in pairs)


def compare_vocabularies(reference: Any, form: Any) -> Vocabularies:
    """Both are transformers tokenizers."""
    ours, theirs = reference.get_vocab(), form.get_vocab()
    by_id = {number: token for token, number in ours.items()}
    mapping = tuple(theirs.get(by_id.get(number), -1) for number in range(max(by_id) + 1))
    foreign = tuple(sorted(theirs.keys() - ours.keys()))
    return Vocabularies(mapping, len(ours.keys() - theirs.keys()), foreign, max(theirs.values()) + 1)


def check_tokenizer(vocabularies: Vocabularies, *, trimmed: bool) -> Check:
    """Whether the form has the reference's tokenizer, or where its vocabulary is trimmed, a part of it."""
    name = "tokenizer"
    if vocabularies.foreign:
        shown = ", ".join(map(repr, vocabularies.foreign[:3]))
        count = len(vocabularies.foreign)
        return Check.failed(name, f"{count} tokens that the reference has not, such as {shown}")
    if trimmed:
        kept = len(vocabularies.mapping) - vocabularies.missing
        return Check.passed(name, f"{kept} of the reference's {len(vocabularies.mapping)} tokens")
    if vocabularies.missing:
        return Check.failed(name, f"{vocabularies.missing} of the reference's tokens are missing")
    if not vocabularies.identical:
        own = next(own for own, other in enumerate(vocabularies.mapping) if own != other)
        detail = f"the reference's token {own} has id {vocabularies.mapping[own]}"
        return Check.failed(name, detail)
    return Check.passed(name, f"the same {len(vocabularies.mapping)} tokens")


def check_prompts(
    reference: Renderer, form: Renderer, prompts: Mapping[str, Prompt], *, trimmed: bool
) -> tuple[Check, Check]:
    """(prompt ids, BOS). Tokens are compared by what they are called, as a trimmed vocabulary has other ids."""
    different, resplit, without_bos = None, 0, 0
    bos = _first_if_bos(reference, prompts)
    for example_id, prompt in prompts.items():
        ours, theirs = (_tokens(renderer, prompt) for renderer in (reference, form))
        without_bos += bos is not None and theirs[:1] != [bos]
        if ours == theirs:
            continue
        if trimmed and _text(reference, prompt) == _text(form, prompt):
            resplit += 1
        else:
            different = different or f"{example_id}: {_first_difference(ours, theirs)}"
    ends = [renderer.tokenizer.convert_ids_to_tokens(renderer.end_id) for renderer in (reference, form)]
    if different is None and ends[0] != ends[1]:
        different = f"an answer ends with {ends[0]!r}, here with {ends[1]!r}"
    if different:
        ids = Check.failed("prompt ids", different)
    else:
        more = f", {resplit} of them in other pieces" if resplit else ""
        ids = Check.passed("prompt ids", f"the same text and tokens in {len(prompts)} prompts{more}")
    return ids, _check_bos(bos, without_bos, len(prompts))


def _check_bos(bos: str | None, without: int, prompts: int) -> Check:
    if bos is None:
        return Check.unknown("BOS", "the reference's prompts begin without one")
    if without:
        return Check.failed("BOS", f"{without} of {prompts} prompts do not begin with {bos!r}")
    return Check.passed("BOS", f"every prompt begins with {bos!r}")


def begins_with_bos(renderer: Renderer, prompts: Mapping[str, Prompt]) -> bool:
    """Whether prompts begin with the tokenizer's token for the beginning of a text."""
    return _first_if_bos(renderer, prompts) is not None


def _first_if_bos(renderer: Renderer, prompts: Mapping[str, Prompt]) -> str | None:
    bos: str | None = renderer.tokenizer.bos_token
    first = _tokens(renderer, next(iter(prompts.values())))[:1]
    return bos if bos is not None and first == [bos] else None


def _tokens(renderer: Renderer, prompt: Prompt) -> list[str]:
    return list(renderer.tokenizer.convert_ids_to_tokens(list(renderer.render(prompt).ids)))


def _text(renderer: Renderer, prompt: Prompt) -> str:
    return str(renderer.tokenizer.decode(list(renderer.render(prompt).ids), skip_special_tokens=False))


def _first_difference(ours: Sequence[str], theirs: Sequence[str]) -> str:
    places = range(max(len(ours), len(theirs)))
    place = next(n for n in places if n >= min(len(ours), len(theirs)) or ours[n] != theirs[n])
    one, other = (repr(tokens[place]) if place < len(tokens) else "the end" for tokens in (ours, theirs))
    return f"token {place} is {other}, the reference has {one}"
