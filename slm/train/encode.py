"""From examples to token ids."""

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


def encode(examples: Sequence[Example], task: Task, renderer: Renderer) -> list[Encoded]:
    """Encode every example: nothing is dropped or cut, and the audit refuses what cannot be learned from.

    Raises DataError where there is no example at all.
    """
    if not examples:
        raise DataError("there is nothing to train on: no example has its database", expected="at least one example")
    encoded = []
    for example in examples:
        rendered = renderer.render(task.prompt(example))
        target = task.target(example) if example.targets else ""
        encoded.append(Encoded(example.id, rendered.context_ids, rendered.question_ids, renderer.target_ids(target)))
    return encoded
