"""Local generation: each context is computed once, and its questions are decoded together as branches of it.

A batch is one packed row, as in training: the cache holds the context once, then the tokens of all branches,
and a branch sees its context and itself. Nothing is padded, a finished branch just stops asking, and the answers are
those of one prompt at a time.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
        """Answers come batch by batch, contexts in order of first appearance, short questions first."""
        by_context: dict[tuple[int, ...], list[tuple[str, Rendered]]] = {}
        for example_id, prompt in requests:
            rendered = self.renderer.render(prompt)
            by_context.setdefault(rendered.context_ids, []).append((example_id, rendered))
        for context_ids, members in by_context.items():
            began = time.monotonic()
            cache = DynamicCache()
            context = self._context(context_ids, cache)
            members.sort(key=lambda member: len(member[1].question_ids))
            for start in range(0, len(members), self.batch_size):
                branches = [
                    _Branch(example_id, prompt, shares_cache=start + index > 0)
                    for index, (example_id, prompt) in enumerate(members[start : start + self.batch_size])
                ]
                first_s = self._decode(branches, context, cache, began)
                seconds = time.monotonic() - began
                yield from (self._finish(branch, seconds / len(branches), first_s) for branch in branches)
                cache.crop(len(context) - cache.get_seq_length())  # forget the branches
                began = time.monotonic()

    def _context(self, ids: Sequence[int], cache: DynamicCache) -> Layout:
        """Fill the cache with the context; nothing is read off its logits."""
        zeros = torch.zeros(len(ids), dtype=torch.long, device=self.device)
        layout = Layout(torch.arange(len(ids), device=self.device), zeros, zeros)
        if len(ids):
            self._forward(list(ids), layout, cache, logits_at=[len(ids) - 1])
        return layout

    def _decode(self, branches: Sequence[_Branch], context: Layout, cache: DynamicCache, began: float) -> float:
        """Decode until every branch has ended or is too long; returns seconds to the first tokens."""
        layout, active = context, list(enumerate(branches, 1))
        inputs: list[list[int]] = [list(branch.prompt.question_ids) for branch in branches]
        first_s = 0.0
        while active:
            layout = layout.append(self._branch_layout(len(context), active, inputs))
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

    def _branch_layout(
        self, context_tokens: int, active: Sequence[tuple[int, _Branch]], inputs: Sequence[Sequence[int]]
    ) -> Layout:
        """Where the next tokens of the active branches stand."""
        position: list[int] = []
        number: list[int] = []
        for (branch_number, branch), tokens in zip(active, inputs, strict=True):
            # What the branch has in the cache already: nothing before its question, later all but its newest token.
            done = len(branch.prompt.question_ids) + len(branch.ids) - 1 if branch.ids else 0
            position.extend(range(context_tokens + done, context_tokens + done + len(tokens)))
            number.extend([branch_number] * len(tokens))
        positions = torch.tensor(position, device=self.device)
        return Layout(positions, torch.zeros_like(positions), torch.tensor(number, device=self.device))

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
