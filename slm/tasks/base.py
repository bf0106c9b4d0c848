"""What a task is: it makes prompts and targets, and knows what a right answer is."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from slm.files import digest
from slm.records import Example, Prompt, Verdict


class Task(Protocol):
    """A narrow task. Everything else in slm is the same for all tasks."""

    def prompt(self, example: Example) -> Prompt:
        """What the model is asked."""
        ...

    def target(self, example: Example) -> str:
        """What the model shall learn to answer."""
        ...

    def grade(
        self, answers: Iterable[tuple[Example, str]], *, timeout_s: float, instances: int = 0
    ) -> Iterator[Verdict]:
        """One verdict an answer, in order; what is right is tried on so many further instances of its data."""
        ...


def prompts_digest(task: Task, examples: Iterable[Example]) -> str:
    """Hex sha256 of what is asked, word for word: another wording of the prompt is another experiment."""
    prompts = ((example.id, task.prompt(example)) for example in examples)
    return digest([[number, prompt.context, prompt.question] for number, prompt in prompts])
