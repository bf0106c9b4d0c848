"""Local generation: each context is computed once, and its questions are decoded together as branches of it.

A batch is one packed row, as in training: the cache holds the context once, then the tokens of all branches,
and a branch sees its context and itself. Nothing is padded, a finished branch just stops asking, and the answers are
those of one prompt at a time.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from slm.models.attention import Layout
from slm.models.load import load_model, load_tokenizer
from slm.models.lora import load_adapter
from slm.models.shared_attention import packed_inputs, use_shared_attention
from slm.recipe import GenerateSection, ModelSection, TaskSection
from slm.records import Generation, Prompt
from slm.tasks import Rendered, Renderer


@dataclass
class _Branch:
    """One question on its way: what was asked, what has come out."""

    example_id: str
    prompt: Rendered
    context: int
    shares_cache: bool
    ids: list[int] = field(default_factory=list)
    logprob: float = 0.0
    ended: bool = False


class LocalBackend:
    """Greedy decoding with a transformers model (base, with or without adapter), `batch_size` questions at a time."""

    def __init__(self, model: Any, renderer: Renderer, *, max_new_tokens: int, batch_size: int) -> None:
        use_shared_attention(model)
        self.model = model.eval()
        self.config = model.config
        self.renderer = renderer
        self.max_new_tokens = max_new_tokens
        self.batch_size = batch_size
        self.device = next(model.parameters()).device
        self.dtype = next(p.dtype for p in model.parameters() if p.is_floating_point())

    @torch.inference_mode()
    def generate(self, requests: Sequence[tuple[str, Prompt]]) -> Iterator[Generation]:
        """Answers come batch by batch; a context stays in the cache from one of its batches to the next."""
        rendered = [(example_id, self.renderer.render(prompt)) for example_id, prompt in requests]
        contexts: tuple[tuple[int, ...], ...] = ()
        cache, shared = DynamicCache(), self._layout([], [], [])
        for batch in plan_batches(rendered, self.batch_size):
            began = time.monotonic()
            wanted = tuple(dict.fromkeys(prompt.context_ids for _, prompt in batch))
            computed = set(contexts) if wanted == contexts else set()
            if wanted == contexts:
                cache.crop(len(shared) - cache.get_seq_length())  # forget the branches
            else:
                contexts, cache = wanted, DynamicCache()
                shared = self._prefill(contexts, cache)
            branches = []
            for example_id, prompt in batch:
                number = contexts.index(prompt.context_ids)
                branches.append(_Branch(example_id, prompt, number, prompt.context_ids in computed))
                computed.add(prompt.context_ids)
            first_s = self._decode(branches, shared, cache, began)
            seconds = (time.monotonic() - began) / len(branches)
            yield from (self._finish(branch, seconds, first_s) for branch in branches)

    def _prefill(self, contexts: Sequence[Sequence[int]], cache: DynamicCache) -> Layout:
        """Fill an empty cache with contexts, one after the other; nothing is read off their logits."""
        ids = [token for context in contexts for token in context]
        position = [place for context in contexts for place in range(len(context))]
        numbers = [number for number, context in enumerate(contexts) for _ in context]
        layout = self._layout(position, numbers, [0] * len(ids))
        if ids:
            self._forward(ids, layout, cache, logits_at=[len(ids) - 1])
        return layout

    def _layout(self, position: list[int], context: list[int], branch: list[int]) -> Layout:
        make = partial(torch.tensor, dtype=torch.long, device=self.device)
        return Layout(make(position), make(context), make(branch))

    def _decode(self, branches: Sequence[_Branch], shared: Layout, cache: DynamicCache, began: float) -> float:
        """Decode until every branch has ended or is too long; returns seconds to the first tokens."""
        layout, active = shared, list(enumerate(branches, 1))
        inputs: list[list[int]] = [list(branch.prompt.question_ids) for branch in branches]
        first_s = 0.0
        while active:
            layout = layout.append(self._branch_layout(active, inputs))
            ends = torch.tensor([len(tokens) for tokens in inputs]).cumsum(0) - 1
            logits = self._forward([token for tokens in inputs for token in tokens], layout, cache, ends.tolist())
            chosen = logits.argmax(-1)
            scores = logits.float().log_softmax(-1).gather(1, chosen[:, None])[:, 0]
            for (_, branch), token, score in zip(active, chosen.tolist(), scores.tolist(), strict=True):
                branch.ids.append(token)
                branch.logprob += score
                branch.ended = token == self.renderer.end_id
            first_s = first_s or time.monotonic() - began
            active = [(n, b) for n, b in active if not b.ended and len(b.ids) < self.max_new_tokens]
            inputs = [[branch.ids[-1]] for _, branch in active]
        return first_s

    def _branch_layout(self, active: Sequence[tuple[int, _Branch]], inputs: Sequence[Sequence[int]]) -> Layout:
        """Where the next tokens of the active branches stand."""
        position: list[int] = []
        numbers: list[int] = []
        contexts: list[int] = []
        for (number, branch), tokens in zip(active, inputs, strict=True):
            # Before its question a branch has its context; later all but the newest of its own tokens, too.
            done = len(branch.prompt.ids) + len(branch.ids) - 1 if branch.ids else len(branch.prompt.context_ids)
            position.extend(range(done, done + len(tokens)))
            numbers.extend([number] * len(tokens))
            contexts.extend([branch.context] * len(tokens))
        return self._layout(position, contexts, numbers)

    def _forward(self, ids: list[int], layout: Layout, cache: DynamicCache, logits_at: Sequence[int]) -> Tensor:
        """Logits [len(logits_at), vocabulary] of the newest tokens `ids`, the last ones of `layout`."""
        out = self.model(
            input_ids=torch.tensor([ids], device=self.device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=torch.tensor(logits_at, device=self.device),
            **packed_inputs(self.config, layout, len(ids), self.dtype),
        )
        logits: Tensor = out.logits[0]
        return logits

    def _finish(self, branch: _Branch, seconds: float, first_s: float) -> Generation:
        ids = branch.ids[:-1] if branch.ended else branch.ids
        return Generation(
            example_id=branch.example_id,
            text=self.renderer.decode(ids),
            prompt_tokens=len(branch.prompt.ids),
            cached_tokens=len(branch.prompt.context_ids) if branch.shares_cache else 0,
            completion_tokens=len(branch.ids),
            ttft_s=first_s,
            total_s=seconds,
            logprob=branch.logprob,
            finish_reason="stop" if branch.ended else "length",
        )


def plan_batches(prompts: Sequence[tuple[str, Rendered]], size: int) -> list[list[tuple[str, Rendered]]]:
    """Batches of at most `size` questions, each context in as few as can be.

    Questions of one context stand together, short ones first, so that a batch ends about at once; what is left over of
    several contexts shares batches.
    """
    by_context: dict[tuple[int, ...], list[tuple[str, Rendered]]] = {}
    for one in prompts:
        by_context.setdefault(one[1].context_ids, []).append(one)
    full: list[list[tuple[str, Rendered]]] = []
    shared: list[list[tuple[str, Rendered]]] = []
    for members in by_context.values():
        members.sort(key=lambda member: len(member[1].question_ids))
        for start in range(0, len(members), size):
            rest = members[start : start + size]
            if len(rest) == size:
                full.append(rest)
            elif room := next((batch for batch in shared if len(batch) + len(rest) <= size), None):
                room.extend(rest)
            else:
                shared.append(rest)
    return full + shared


def load_local(
    folder: Path, model: ModelSection, task: TaskSection, settings: GenerateSection, *, adapter: Path | None
) -> LocalBackend:
    """The base model in `folder` with its adapter, ready to answer.

    The adapter is merged into full-precision weights, which decodes faster; on quantized ones it stays apart.
    """
    network: Any = load_model(folder, dtype=model.dtype, quantize=model.quantize)
    if adapter is not None:
        network = load_adapter(network, adapter)
        if model.quantize == "none":
            network = network.merge_and_unload()
    renderer = Renderer(load_tokenizer(folder), chat=task.template)
    return LocalBackend(network, renderer, max_new_tokens=settings.max_new_tokens, batch_size=settings.batch_size)
