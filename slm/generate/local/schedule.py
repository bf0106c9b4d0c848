"""Which questions are answered when: grouped by context, and each slot is taken again as soon as it is free."""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from slm.generate.constrain import Chooser
from slm.generate.local.cache import ContextCache
from slm.generate.local.choose import Draw
from slm.tasks import Rendered

# A step takes in no further question beyond so many tokens: what one step computes for a token must fit into memory.
STEP_TOKENS = 1024
# Contexts that are held at the same time have together at most so many tokens, unless a single one has more.
CONTEXT_TOKENS = 16_384


@dataclass(eq=False)
class Question:
    """One question on its way: what was asked, what has come out, what it took.

    `tokens` of it are in the cache behind its context: of the question, then of the answer. `logprob` is that of the
    answer so far, `score` that of its newest token. `candidate`: its number among the answers to the same question.
    """

    example_id: str
    prompt: Rendered
    context: ContextCache
    max_new_tokens: int
    chooser: Chooser | None = None
    draw: Draw | None = None
    candidate: int = 0
    computes_context: bool = False
    tokens: int = 0
    ids: list[int] = field(default_factory=list)
    logprob: float = 0.0
    score: float = 0.0
    ended: bool = False
    admitted_s: float = 0.0
    first_s: float = 0.0
    seconds: float = 0.0

    @property
    def done(self) -> bool:
        """Whether there is nothing more to compute for it."""
        return self.ended or len(self.ids) >= self.max_new_tokens


class Queue:
    """Questions that wait for a slot."""

    def __init__(self, questions: Sequence[Question], slots: int) -> None:
        """`slots` questions are answered together at most."""
        self.slots = slots
        self._waiting = deque(in_order(questions))

    def __len__(self) -> int:
        return len(self._waiting)

    def append(self, question: Question) -> None:
        """One more, behind all others."""
        self._waiting.append(question)

    def remove(self, questions: Collection[Question]) -> None:
        """Forget those of them that wait."""
        self._waiting = deque(question for question in self._waiting if question not in questions)

    def admit(self, active: Sequence[Question]) -> list[Question]:
        """The questions that join the `active` ones now; at least one if nothing is active."""
        taken: list[Question] = []
        held = {question.context: len(question.prompt.context_ids) for question in active}
        computed = 0
        while self._waiting and len(active) + len(taken) < self.slots and computed < STEP_TOKENS:
            question = self._waiting[0]
            known = question.context in held or question.context.computed
            new = 0 if known else len(question.prompt.context_ids)
            if new and held and sum(held.values()) + new > CONTEXT_TOKENS:
                break
            question.computes_context = new > 0
            held[question.context] = len(question.prompt.context_ids)
            computed += new + len(question.prompt.question_ids)
            taken.append(self._waiting.popleft())
        return taken


def in_order(questions: Sequence[Question]) -> list[Question]:
    """Questions of one context together, contexts as they come first, in each the short questions first.

    So every context is computed once and dropped early, and what is computed together has about the same length.
    """
    by_context: dict[ContextCache, list[Question]] = {}
    for question in questions:
        by_context.setdefault(question.context, []).append(question)
    return [
        question
        for members in by_context.values()
        for question in sorted(members, key=lambda member: len(member.prompt.question_ids))
    ]
