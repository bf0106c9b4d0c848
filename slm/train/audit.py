"""The audit before the first step: looks at what will really be trained on, and stops a run that would be wasted.

Every check looks at all examples (or says how many), all checks run, and one error names what each one found.
"""

import itertools
import math
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from slm.errors import DataError
from slm.records import Example, Prompt
from slm.tasks import Renderer, Task
from slm.train.encode import Encoded
from slm.train.pack import Pack, Packing, to_tensors
from slm.train.probe import packing_probe

_NAMED = 5
_PROMPTS = 200  # rendering every prompt again would take as long as encoding did
_IGNORED = -100
_NEUTRAL = Prompt(context="Tables: one", question="How many?")


@dataclass(frozen=True)
class Finding:
    """What one check saw; `problem` and `expected` are None when all was well, then `result` says what was seen."""

    check: str
    looked_at: str
    result: str = "good"
    problem: str | None = None
    expected: str | None = None


def audit(
    examples: Sequence[Example],
    encoded: Sequence[Encoded],
    packs: Sequence[Pack],
    *,
    task: Task,
    renderer: Renderer,
    model: Any,
    config: Any,
    dtype: torch.dtype,
    packing: Packing = "shared",
) -> list[Finding]:
    """One finding a check. `encoded` belongs to `examples` one by one; `packs` are those of an epoch.

    `model` is the unwrapped model that will be trained, `config` that of its base, `dtype` that of its arithmetic.
    """
    prompts = _spread(list(zip(examples, encoded, strict=True)), _PROMPTS)
    return [
        _targets_there(examples, encoded, task, renderer),
        _targets_whole(examples, encoded, task, renderer),
        _lengths(encoded, config.max_position_embeddings),
        _bos(encoded, renderer),
        _eos(encoded, renderer),
        _prompts_equal(prompts, len(encoded), task, renderer),
        *_labels(packs, renderer.end_id),
        _packing(model, config, encoded, dtype, packing),
    ]


def stop_or_show(findings: Sequence[Finding], *, quiet: bool = False) -> None:
    """Raise one DataError with every problem, or show the findings as a table on stderr unless `quiet`."""
    failed = [finding for finding in findings if finding.problem]
    if failed:
        told = [f"{one.check}: {one.problem}\n    expected: {one.expected}" for one in failed]
        count = f"{len(failed)} of {len(findings)} checks failed"
        raise DataError("\n  ".join([f"the audit before the first step stopped the run: {count}", *told]))
    if quiet:
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.table import Table

        table = Table("check", "looked at", "result", title="audit before the first step", title_justify="left")
        for one in findings:
            table.add_row(one.check, one.looked_at, one.result)
        Console(stderr=True).print(table)
        return
    for one in findings:
        print(f"audit: {one.check}: {one.result} ({one.looked_at})", file=sys.stderr)


def _packing(model: Any, config: Any, encoded: Sequence[Encoded], dtype: torch.dtype, packing: Packing) -> Finding:
    allowed = 1e-3 if dtype == torch.float32 else 3e-2
    if any(type(module).__name__ == "Linear8bitLt" for module in model.modules()):
        allowed = 5e-2  # bitsandbytes rounds a token by what else is in the batch
    difference, ids = packing_probe(model, config, encoded, dtype=dtype, packing=packing)
    name, looked_at = "packed as alone", _count(len(ids))
    if not ids:
        return Finding(name, looked_at, "nothing to compare")
    if math.isfinite(difference) and difference <= allowed:
        return Finding(name, looked_at, f"losses differ by {difference:.1e}")
    return Finding(
        name,
        looked_at,
        problem=f"the loss of {_count(len(ids))} laid out together differs from their losses one by one by "
        f"{difference:.1e}: {_named(ids)}",
        expected=f"at most {allowed:.0e}; with train.packing=none the model is trained on padded batches",
    )


def _targets_there(examples: Sequence[Example], encoded: Sequence[Encoded], task: Task, renderer: Renderer) -> Finding:
    special = set(renderer.tokenizer.all_special_ids) | {renderer.end_id}
    missing = [
        example.id
        for example, one in zip(examples, encoded, strict=True)
        if not _target(example, task).strip() or special.issuperset(one.target_ids)
    ]
    expected = "a target in every training example that is more than special tokens"
    return _finding("target", len(encoded), "without a target to learn from", missing, expected)


def _targets_whole(examples: Sequence[Example], encoded: Sequence[Encoded], task: Task, renderer: Renderer) -> Finding:
    cut = []
    for example, one in zip(examples, encoded, strict=True):
        ids = one.target_ids[:-1] if one.target_ids[-1:] == (renderer.end_id,) else one.target_ids
        text = renderer.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if _plain(text) != _plain(_target(example, task)):
            cut.append(example.id)
    expected = "token ids that read as the whole target; a character that the tokenizer does not know cannot be learned"
    return _finding("target whole", len(encoded), "whose target is not what the tokens say", cut, expected)


def _lengths(encoded: Sequence[Encoded], longest: int) -> Finding:
    too_long = [f"{one.example_id} ({one.tokens} tokens)" for one in encoded if one.tokens > longest]
    most = max((one.tokens for one in encoded), default=0)
    return _finding(
        "length",
        len(encoded),
        f"longer than the model's {longest} tokens",
        too_long,
        "shorter schemas, or a model with a longer context",
        good=f"longest {most} of {longest} tokens",
    )


def _bos(encoded: Sequence[Encoded], renderer: Renderer) -> Finding:
    """A BOS begins the prompt if the tokenizer puts one before text, and stands nowhere else but in the template."""
    tokenizer = renderer.tokenizer
    bos = tokenizer.bos_token_id
    if bos is None:
        return Finding("BOS", _count(len(encoded)), "the tokenizer has none")
    wanted = tokenizer("a")["input_ids"][0] == bos
    # Some templates open every turn with the token that the tokenizer calls BOS.
    by_template = renderer.render(_NEUTRAL).ids.count(bos)
    wrong = []
    for one in encoded:
        ids = (*one.context_ids, *one.question_ids, *one.target_ids[:-1])
        twice = any(left == right == bos for left, right in itertools.pairwise(ids))
        if twice or ids.count(bos) > by_template or (wanted and ids[0] != bos):
            wrong.append(one.example_id)
    expected = f"{tokenizer.bos_token} {'once, at the start' if wanted else 'only where the chat template writes it'}"
    return _finding("BOS", len(encoded), "whose BOS is missing, doubled or inside", wrong, expected)


def _eos(encoded: Sequence[Encoded], renderer: Renderer) -> Finding:
    ends = {renderer.end_id, renderer.tokenizer.eos_token_id}
    wrong = [one.example_id for one in encoded if sum(token in ends for token in one.target_ids) > 1]
    expected = f"one {renderer.tokenizer.convert_ids_to_tokens(renderer.end_id)}, the target's last token"
    return _finding("EOS", len(encoded), "with more than one end token in the target", wrong, expected)


def _prompts_equal(pairs: Sequence[tuple[Example, Encoded]], total: int, task: Task, renderer: Renderer) -> Finding:
    """What is trained on, what generation renders and what the tokenizer's own template gives are the same ids."""
    different = []
    for example, one in pairs:
        prompt = task.prompt(example)
        trained = one.context_ids + one.question_ids
        own = _own_prompt(renderer, prompt) if renderer.chat else trained
        if not trained == renderer.render(prompt).ids == own:
            different.append(example.id)
    return _finding(
        "prompt as generated",
        len(pairs),
        "whose prompt has other token ids in generation than in training",
        different,
        "the same ids as apply_chat_template(messages, add_generation_prompt=True) gives",
        of=total,
    )


def _own_prompt(renderer: Renderer, prompt: Prompt) -> tuple[int, ...] | None:
    """The whole prompt by the tokenizer's own template; the context as system message where the template shows it."""
    from jinja2 import TemplateError

    question = prompt.question.strip()
    both = [{"role": "system", "content": prompt.context}, {"role": "user", "content": question}]
    one = [{"role": "user", "content": f"{prompt.context}\n\n{question}"}]
    for messages in (both, one):
        try:
            text = renderer.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        except TemplateError:
            continue
        if prompt.context.strip() in text:
            return tuple(
                renderer.tokenizer.apply_chat_template(
                    messages, tokenize=True, add_generation_prompt=True, return_dict=False
                )
            )
    return None


def _labels(packs: Sequence[Pack], end_id: int) -> list[Finding]:
    """Counted in the tensors that are fed: each example has labels, and the last one ends the model's turn."""
    masked, endless = [], []
    count = labelled = 0
    for pack in packs:
        labels = to_tensors(pack).labels
        for example, own in zip(pack.examples, _by_example(pack, labels), strict=True):
            trained = [label for label in own if label != _IGNORED]
            count += 1
            labelled += len(trained)
            if not trained:
                masked.append(example.example_id)
            elif trained[-1] != end_id:
                endless.append(example.example_id)
    return [
        _finding(
            "labels", count, "with every label masked", masked, "a label at every target token",
            good=f"{labelled} tokens carry loss",
        ),
        _finding(
            "end is trained", count, "whose last label is not the token that generation stops at", endless,
            f"token {end_id} as the last label of every example",
        ),
    ]  # fmt: skip


def _by_example(pack: Pack, labels: Tensor) -> Iterable[list[int]]:
    if labels.dim() == 2:  # a row for each
        rows: list[list[int]] = labels.tolist()
        return rows
    flat = labels.tolist()
    ends = [0]
    for example in pack.examples:
        ends.append(ends[-1] + len(example.target_ids))
    return [flat[start:end] for start, end in itertools.pairwise(ends)]


def _target(example: Example, task: Task) -> str:
    return task.target(example) if example.targets else ""


def _plain(text: str) -> str:
    """Without what tokenizers change on purpose: compatibility forms of characters, and space around."""
    return unicodedata.normalize("NFKC", text).strip()


def _spread(items: Sequence[Any], most: int) -> list[Any]:
    """At most so many of them, evenly spread."""
    if len(items) <= most:
        return list(items)
    return [items[number * len(items) // most] for number in range(most)]


def _finding(
    check: str,
    looked: int,
    problem: str,
    ids: Sequence[str],
    expected: str,
    *,
    good: str = "good",
    of: int | None = None,
) -> Finding:
    looked_at = _count(looked) if of in (None, looked) else f"{looked:,} of {_count(of or 0)}"
    if not ids:
        return Finding(check, looked_at, good)
    return Finding(check, looked_at, "failed", f"{_count(len(ids))} {problem}: {_named(ids)}", expected)


def _count(number: int) -> str:
    return f"{number:,} example{'s' if number != 1 else ''}"


def _named(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_NAMED]) + (" …" if len(ids) > _NAMED else "")
