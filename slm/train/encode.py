"""From examples to token ids, and the audit that stops a run before it wastes an hour."""

from collections.abc import Sequence
from dataclasses import dataclass

from slm.errors import DataError
from slm.records import Example
from slm.tasks import Renderer, Task


@dataclass(frozen=True)
class Encoded:
    """Token ids of one example; the loss is taken on `target_ids` only, whose last id ends the model's turn."""

    example_id: str
    context_ids: tuple[int, ...]
    question_ids: tuple[int, ...]
    target_ids: tuple[int, ...]

    @property
    def branch_tokens(self) -> int:
        """Tokens that this example adds to a pack that already holds its context."""
        return len(self.question_ids) + len(self.target_ids) - 1  # the last target token predicts nothing

    @property
    def tokens(self) -> int:
        """Tokens of the example alone."""
        return len(self.context_ids) + self.branch_tokens


def encode(examples: Sequence[Example], task: Task, renderer: Renderer, *, longest: int) -> list[Encoded]:
    """Encode every example. `longest` is the model's context length in tokens.

    Raises DataError naming the first examples that have no target or do not fit: nothing is dropped or cut silently.
    """
    encoded, without_target, too_long = [], [], []
    for example in examples:
        if not example.targets or not example.targets[0].strip():
            without_target.append(example.id)
            continue
        rendered = renderer.render(task.prompt(example))
        one = Encoded(
            example.id, rendered.context_ids, rendered.question_ids, renderer.target_ids(task.target(example))
        )
        if one.tokens > longest:
            too_long.append(f"{example.id} ({one.tokens} tokens)")
        encoded.append(one)
    _refuse("have no target to learn from", "a target in every training example", without_target)
    _refuse(
        f"are longer than the model's {longest} tokens", "shorter schemas, or a model with a longer context", too_long
    )
    if not encoded:
        raise DataError("there is nothing to train on: no example has its database", expected="at least one example")
    return encoded


def _refuse(problem: str, expected: str, ids: Sequence[str]) -> None:
    if ids:
        shown = ", ".join(ids[:5]) + (" …" if len(ids) > 5 else "")
        raise DataError(f"{len(ids)} examples {problem}: {shown}", expected=expected)
