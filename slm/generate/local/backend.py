"""The local backend: decoding of many questions at once, slot by slot, with a transformers model.

The answers are those of one prompt at a time.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from slm.files import digest
from slm.generate.constrain import Constraint
from slm.generate.local.attention import answering, known_model
from slm.generate.local.cache import ContextCache
from slm.generate.local.choose import Draw
from slm.generate.local.decoder import Decoder
from slm.generate.local.schedule import Question, Queue
from slm.models.allocator import keep_freed_memory
from slm.models.forms import form_recipe, load_answering, load_form
from slm.models.load import load_tokenizer
from slm.recipe import GenerateSection, ModelSection, TaskSection
from slm.records import Generation, Prompt
from slm.tasks import Rendered, Renderer


class LocalBackend:
    """Answers of a transformers model, with or without adapter, `batch_size` questions at a time."""

    def __init__(
        self,
        model: Any,
        renderer: Renderer,
        *,
        max_new_tokens: int,
        batch_size: int,
        constraint: Constraint | None = None,
    ) -> None:
        """`model` may be in training: `generate` leaves it as it was. Raises ModelError for an unknown architecture.

        With a `constraint` an answer's next token is the likeliest one that it lets through, and an answer that is cut
        off is cut back to its longest beginning that is an answer by itself.
        """
        self.model = known_model(model)
        self.renderer = renderer
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        self.constraint = constraint
        self.longest = longest_sequence(self.model.config)

    def generate(self, requests: Sequence[tuple[str, Prompt]]) -> Iterator[Generation]:
        """The greedy answer to each prompt, as `draw` says."""
        return (generation for _, generation in self.draw(requests, [0]))

    @torch.no_grad()  # not inference mode: what a layer keeps from here would be of no use in training
    def draw(self, requests: Sequence[tuple[str, Prompt]], numbers: Sequence[int]) -> Iterator[tuple[int, Generation]]:
        """The answers of these numbers to each prompt: 0 is the greedy one, each other one is drawn.

        Answers come as they are done, in any order.

        A prompt that leaves no room for an answer in the model's context gets a `Generation` with `error` and without
        text; an answer that reaches the end of the context is cut there (`length`).

        `total_s` is an answer's share of the work: the wall time of each step is divided among its questions by the
        tokens that were computed for them, a context's for the question that was the first to need it (the one with no
        `cached_tokens`). All `total_s` together are the wall time of the job. `ttft_s` is the time from a question's
        admission to its first token, in which other questions were worked on, too.

        Whenever it gives an answer, and after its end, the model is as it was before: modes, attention implementation,
        gradient flags. Its weights must not change before the end, because contexts are kept.
        """
        questions, too_long = self._questions(requests, numbers)
        yield from too_long
        queue = Queue(questions, min(self.batch_size, len(questions)))
        decoder = Decoder(self.model, self.renderer.end_id, queue)
        while decoder:
            with answering(self.model):
                while not (done := decoder.step()):
                    pass
            yield from ((question.candidate, self._finish(question)) for question in done)

    def _questions(
        self, requests: Sequence[tuple[str, Prompt]], numbers: Sequence[int]
    ) -> tuple[list[Question], list[tuple[int, Generation]]]:
        contexts: dict[tuple[int, ...], ContextCache] = {}
        questions: list[Question] = []
        too_long: list[tuple[int, Generation]] = []
        for example_id, prompt in requests:
            rendered = askable(self.renderer.render(prompt))
            room = self.longest - len(rendered.ids)
            if room < 1:
                error = f"the prompt has {len(rendered.ids)} tokens, and the model takes {self.longest} with the answer"
                tokens = len(rendered.ids)
                none = Generation(example_id=example_id, text="", prompt_tokens=tokens, error=error)
                too_long.extend((number, none) for number in numbers)
                continue
            key = rendered.context_ids
            context = contexts.setdefault(key, ContextCache(len(key)))
            for number in numbers:
                chooser = self.constraint.chooser(prompt.context) if self.constraint else None
                drawn = Draw(int(digest([example_id, number])[:8], 16)) if number else None
                most = min(self.max_new_tokens, room)
                questions.append(Question(example_id, rendered, context, most, chooser, drawn, number))
        return questions, too_long

    def _finish(self, question: Question) -> Generation:
        ids = question.ids[:-1] if question.ended else question.ids
        if question.chooser and not question.ended:
            # Cut off, it would not run; what it was before it went astray may.
            ids = ids[: question.chooser.whole() or len(ids)]
        return Generation(
            example_id=question.example_id,
            text=self.renderer.decode(ids),
            prompt_tokens=len(question.prompt.ids),
            cached_tokens=0 if question.computes_context else len(question.prompt.context_ids),
            completion_tokens=len(question.ids),
            ttft_s=question.first_s,
            total_s=question.seconds,
            logprob=question.logprob,
            finish_reason="stop" if question.ended else "length",
        )


def load_local(
    folder: Path, model: ModelSection, task: TaskSection, settings: GenerateSection, *, adapter: Path | None
) -> LocalBackend:
    """The base model in `folder` with its adapter, ready to answer."""
    keep_freed_memory()
    network = load_answering(folder, model, adapter=adapter)
    return _backend(network, load_tokenizer(folder), task, settings)


def load_form_backend(folder: Path) -> LocalBackend:
    """An exported form, ready to answer as its run's recipe says. Raises ModelError."""
    keep_freed_memory()
    network, tokenizer = load_form(folder)
    recipe = form_recipe(folder)
    return _backend(network, tokenizer, recipe.task, recipe.generate)


def _backend(network: Any, tokenizer: Any, task: TaskSection, settings: GenerateSection) -> LocalBackend:
    renderer = Renderer(tokenizer, chat=task.template)
    return LocalBackend(network, renderer, max_new_tokens=settings.max_new_tokens, batch_size=settings.batch_size)


def askable(prompt: Rendered) -> Rendered:
    """A prompt whose question has a token, the one that the answer follows."""
    if prompt.question_ids:
        return prompt
    return Rendered(prompt.context_ids[:-1], prompt.context_ids[-1:])


def longest_sequence(config: Any) -> int:
    """Tokens that prompt and answer may have together."""
    # Beyond its first length a LongRoPE model turns all positions otherwise, and one batch holds short and long rows.
    if (config.rope_parameters or {}).get("rope_type") == "longrope":
        return int(config.rope_parameters["original_max_position_embeddings"])
    return int(config.max_position_embeddings)
