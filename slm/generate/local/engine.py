"""Answers questions that come at any time: a thread of its own runs the model and tells every token as it comes.

Contexts are kept after their questions, so that the next question about one is all that has to be computed.
"""

import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

import torch

from slm.errors import JobError
from slm.generate.local.attention import answering, known_model
from slm.generate.local.backend import askable, longest_sequence
from slm.generate.local.cache import ContextCache
from slm.generate.local.decoder import Decoder
from slm.generate.local.schedule import CONTEXT_TOKENS, Question, Queue
from slm.tasks import Rendered

# What a question has beyond its context takes this room in every slot; a longer question is all context.
QUESTION_TOKENS = 512
# So many questions may wait; for more the server is too slow, and the last would wait for minutes.
_MOST_WAITING = 1024


@dataclass(frozen=True)
class Token:
    """A token of an answer. The last one has a `finish_reason`; with `stop` it is the token that ends the answer.

    `cached_tokens` of the prompt were not computed for this question.
    """

    id: int
    logprob: float
    cached_tokens: int
    finish_reason: Literal["stop", "length"] | None = None


# Called in the engine's thread for every token of an answer, or once with the error that ended it. Must not raise.
Emit = Callable[[Token | JobError], None]


class Engine:
    """Greedy answers of a transformers model, `batch_size` at a time, within a `with` statement."""

    def __init__(self, model: Any, end_id: int, *, batch_size: int) -> None:
        """Nobody else may use `model` meanwhile. Raises ModelError for an unknown architecture."""
        self.model, self.end_id, self.batch_size = known_model(model), end_id, batch_size
        self.longest = longest_sequence(self.model.config)
        self._decoder = self._new_decoder()
        self._contexts = _Contexts()
        self._changed = threading.Condition()  # guards what follows
        self._arrived: list[Question] = []
        self._cancelled: list[Question] = []
        self._emits: dict[Question, Emit] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="slm-engine", daemon=True)

    def __enter__(self) -> "Engine":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._fail("the server is stopping")

    @property
    def alive(self) -> bool:
        """Whether it answers at all."""
        return self._thread.is_alive()

    @property
    def running(self) -> int:
        """Questions that have a slot."""
        return len(self._decoder.active)

    @property
    def waiting(self) -> int:
        """Questions that wait for a slot."""
        return len(self._arrived) + len(self._decoder.queue)

    def submit(self, prompt: Rendered, max_new_tokens: int, emit: Emit) -> Question:
        """Have a prompt answered, of which at least one token has room; returns what `cancel` takes.

        Raises JobError where too many wait.
        """
        prompt = _placed(prompt)
        room = self.longest - len(prompt.ids)
        if room < 1:
            raise ValueError(f"a prompt of {len(prompt.ids)} tokens leaves no room for an answer")
        with self._changed:
            if self.waiting >= _MOST_WAITING:
                raise JobError(f"{self.waiting} requests are waiting")
            context = self._contexts.of(prompt.context_ids)
            question = Question("", prompt, context, min(max_new_tokens, room))
            self._emits[question] = emit
            self._arrived.append(question)
            self._changed.notify()
        return question

    def cancel(self, question: Question) -> None:
        """Nobody waits for this answer any more; its slot is free after the step that is being computed."""
        with self._changed:
            if self._emits.pop(question, None) is not None:
                self._cancelled.append(question)
                self._changed.notify()

    @torch.no_grad()
    def _run(self) -> None:
        with answering(self.model):
            while self._take_in():
                if self._decoder:
                    self._step()

    def _take_in(self) -> bool:
        """Take what has come, and wait for it while there is nothing to compute; False at the end."""
        with self._changed:
            while not (self._closing or self._arrived or self._cancelled or self._decoder):
                self._changed.wait()
            for question in self._arrived:
                self._decoder.queue.append(question)
            if self._cancelled:
                self._decoder.drop(self._cancelled)
            self._arrived, self._cancelled = [], []
            return not self._closing

    def _step(self) -> None:
        try:
            done = self._decoder.step()
        except Exception as error:  # whatever it was (memory, mostly), the server answers the next ones
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            print(f"error: the model failed: {reason}", file=sys.stderr)
            self._decoder, self._contexts = self._new_decoder(), _Contexts()
            self._fail(f"the model failed: {reason}")
            return
        for question in (*done, *self._decoder.active):
            with self._changed:
                emit = self._emits.get(question) if not question.done else self._emits.pop(question, None)
            if emit is not None:
                emit(_newest(question))

    def _fail(self, problem: str) -> None:
        with self._changed:
            emits, self._emits = self._emits, {}
            self._arrived, self._cancelled = [], []
        for emit in emits.values():
            emit(JobError(problem))

    def _new_decoder(self) -> Decoder:
        return Decoder(self.model, self.end_id, Queue([], self.batch_size))


class _Contexts:
    """Keys and values of the contexts that were asked for last."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, ...], ContextCache] = OrderedDict()

    def of(self, ids: tuple[int, ...]) -> ContextCache:
        """That of a context; those that were not asked for longest are forgotten in turn."""
        context = self._kept.setdefault(ids, ContextCache(len(ids)))
        self._kept.move_to_end(ids)
        while len(self._kept) > 1 and sum(map(len, self._kept)) > CONTEXT_TOKENS:
            self._kept.popitem(last=False)
        return context


def _placed(prompt: Rendered) -> Rendered:
    """The same prompt, whose question has at least one token and fits into a slot."""
    if len(prompt.question_ids) > QUESTION_TOKENS:
        prompt = Rendered(prompt.ids, ())
    return askable(prompt)


def _newest(question: Question) -> Token:
    cached = 0 if question.computes_context else len(question.prompt.context_ids)
    reason: Literal["stop", "length"] | None = None
    if question.done:
        reason = "stop" if question.ended else "length"
    return Token(question.ids[-1], question.score, cached, reason)
