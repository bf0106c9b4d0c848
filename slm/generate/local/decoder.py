"""Slots of a running batch: each step computes one token more of every question, and new ones join where there is room.

A step of the model computes the newest token of every slot, and with them the prompts that have just been given a free
slot, and contexts that are asked for the first time.
"""

import time
from collections.abc import Collection, Sequence
from typing import Any

from slm.generate.local.cache import SlotCache
from slm.generate.local.choose import choose
from slm.generate.local.inputs import step_inputs
from slm.generate.local.schedule import Question, Queue


class Decoder:
    """Decodes the questions in a queue with a model that is `answering`; greedily, where a question says no more."""

    def __init__(self, model: Any, end_id: int, queue: Queue) -> None:
        self.model, self.end_id, self.queue = model, end_id, queue
        self.active: list[Question] = []
        self._cache = SlotCache(model.config.num_hidden_layers, queue.slots)

    def __bool__(self) -> bool:
        """Whether there is anything to compute."""
        return bool(self.queue or self.active)

    def step(self) -> list[Question]:
        """Let questions in, and compute one token more of each; returns those that are done, their slots are free."""
        began = time.monotonic()
        new = self.queue.admit(self.active)
        for question in new:
            question.admitted_s = began
        self.active.extend(new)
        self._compute(len(new), began)
        done = [question for question in self.active if question.done]
        self._free()
        return done

    def drop(self, questions: Collection[Question]) -> None:
        """Answer some questions no further, whether they wait or are active; their slots are free."""
        self.queue.remove(questions)
        for question in questions:
            question.ended = True
        self._free()

    def _compute(self, new: int, began: float) -> None:
        """One token more for each active question, of which the last `new` ones have just been admitted."""
        active = self.active
        inputs = step_inputs(self._cache, active, new, self.model.device)
        logits = self.model(use_cache=False, logits_to_keep=len(active), **inputs.model).logits[0].float()
        top, chosen = logits.max(-1)
        choosers, draws = [question.chooser for question in active], [question.draw for question in active]
        if any(choosers) or any(draws):
            chosen = choose(choosers, draws, logits, chosen)
            top = logits.gather(-1, chosen[:, None])[:, 0]
        scores = top - logits.logsumexp(-1)
        self._take(chosen.tolist(), scores.tolist(), inputs.computed, began)

    def _take(self, tokens: Sequence[int], scores: Sequence[float], computed: Sequence[int], began: float) -> None:
        ended, total = time.monotonic(), sum(computed)
        for question, token, score, share in zip(self.active, tokens, scores, computed, strict=True):
            question.ids.append(token)
            question.score = score
            question.logprob += score
            question.ended = token == self.end_id
            question.first_s = question.first_s or ended - question.admitted_s
            question.seconds += (ended - began) * share / total

    def _free(self) -> None:
        """Drop the questions that are done; the last ones take their slots, so that slots in use stay together."""
        active = self.active
        for slot in reversed(range(len(active))):
            if active[slot].done:
                last = active.pop()
                if slot < len(active):
                    self._cache.move(len(active), slot, last.tokens)
                    active[slot] = last
