"""Local generation beside transformers' own `generate`: the same questions, the same model, in one run.

python benchmarks/generate.py [--model smollm2-135m] [--adapter RUN] [--questions 200] [--rounds 1] [--json]

Asks questions of Spider's dev split (in $SLM_DATA), drawn at random over all databases. Ours: `LocalBackend` with
--slots questions at a time. Theirs: greedy `generate` in batches of --batch prompts, sorted by length and padded on the
left. Both use the same weights in float32; rounds alternate, so that a noisy machine treats both alike, and the best
round counts. Times include tokenization and decoding. The allocator setting that slm makes on Linux holds for both.

Answers must be the same token by token. Where one differs, the first different token is looked at again with one plain
forward pass: if the logits of both candidates differ by less than 1e-4, float32 cannot tell them apart (a tie).
"""

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from slm.data import load_dataset
from slm.generate.local import LocalBackend, load_local
from slm.models import pull_model
from slm.recipe import GenerateSection, ModelSection, TaskSection
from slm.records import Prompt
from slm.tasks import Renderer, TextToSql

Requests = Sequence[tuple[str, Prompt]]
Answers = dict[str, list[int]]

TIE = 1e-4


def questions(count: int) -> list[tuple[str, Prompt]]:
    """`count` questions whose databases are there, drawn over all of them, always the same."""
    dataset = load_dataset("spider:dev")
    task = TextToSql(dataset.contexts)
    available = list(dataset.available)
    chosen = random.Random(0).sample(available, min(count, len(available)))  # noqa: S311  # nothing to guard
    return [(example.id, task.prompt(example)) for example in chosen]


def ours(backend: LocalBackend, requests: Requests) -> Answers:
    """Token ids by example id. A `Generation` has only text, so what is decoded is kept as it passes by."""
    renderer, passed = backend.renderer, list[list[int]]()
    decode = type(renderer).decode

    def keep(ids: Sequence[int]) -> str:
        passed.append(list(ids))
        return decode(renderer, ids)

    renderer.decode = keep  # type: ignore[method-assign]
    try:
        answers = {}
        for answer in backend.generate(requests):
            ended = [renderer.end_id] if answer.finish_reason == "stop" else []
            answers[answer.example_id] = passed[-1] + ended
        return answers
    finally:
        del renderer.decode


def theirs(model: Any, renderer: Renderer, requests: Requests, *, batch: int, new_tokens: int) -> Answers:
    """The same from `generate` in padded batches."""
    prompts = sorted(
        ((example_id, renderer.render(prompt).ids) for example_id, prompt in requests), key=lambda each: len(each[1])
    )
    answers = {}
    for some in (prompts[start : start + batch] for start in range(0, len(prompts), batch)):
        width = max(len(ids) for _, ids in some)
        rows = torch.tensor([[renderer.end_id] * (width - len(ids)) + list(ids) for _, ids in some])
        mask = torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for _, ids in some])
        out = model.generate(
            input_ids=rows.to(model.device),
            attention_mask=mask.to(model.device),
            max_new_tokens=new_tokens,
            do_sample=False,
            eos_token_id=renderer.end_id,
            pad_token_id=renderer.end_id,
        )
        for (example_id, _), row in zip(some, out[:, width:].tolist(), strict=True):
            end = row.index(renderer.end_id) + 1 if renderer.end_id in row else len(row)
            answers[example_id] = row[:end]
            renderer.decode(row[:end])
    return answers


@torch.no_grad()
def gap(model: Any, prompt: Sequence[int], first: Sequence[int], second: Sequence[int]) -> float:
    """Between the logits of the first tokens that differ, after what both answers have in common."""
    same = next(place for place, (one, other) in enumerate(zip(first, second, strict=False)) if one != other)
    logits = model(torch.tensor([[*prompt, *first[:same]]], device=model.device), logits_to_keep=1).logits[0, 0]
    return abs(float(logits[first[same]] - logits[second[same]]))


def compare(model: Any, renderer: Renderer, requests: Requests, first: Answers, second: Answers) -> list[float]:
    """The gaps of all answers that differ."""
    return [
        gap(model, renderer.render(prompt).ids, first[example_id], second[example_id])
        for example_id, prompt in requests
        if first[example_id] != second[example_id]
    ]


def measure(jobs: dict[str, Callable[[], Answers]], rounds: int) -> tuple[dict[str, float], dict[str, Answers]]:
    """Seconds of the best round, and the answers of the last, by contender."""
    best, answers = dict.fromkeys(jobs, float("inf")), {}
    for number in range(rounds):
        for name, job in jobs.items():
            began = time.perf_counter()
            answers[name] = job()
            seconds = time.perf_counter() - began
            best[name] = min(best[name], seconds)
            print(f"round {number + 1}: {name}: {seconds:.1f} s", file=sys.stderr, flush=True)
    return best, answers


def options() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--adapter", type=Path, help="a run whose adapter is merged into the model")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--slots", type=int, default=32, help="questions that ours answers at a time")
    parser.add_argument("--batch", type=int, default=16, help="prompts in a batch of theirs")
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--accept-license", action="store_true")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def main() -> int:
    """Measure and print; returns the exit code, 1 if an answer differs by more than a tie."""
    chosen = options()
    folder = pull_model(chosen.model, accept_license=chosen.accept_license)
    adapter = chosen.adapter / "adapter" if chosen.adapter else None
    settings = GenerateSection(max_new_tokens=chosen.new_tokens, batch_size=chosen.slots)
    backend = load_local(folder, ModelSection(name=chosen.model), TaskSection(), settings, adapter=adapter)
    if torch.cuda.is_available():
        backend.model.to("cuda")
    model, renderer, requests = backend.model, backend.renderer, questions(chosen.questions)
    jobs = {
        "ours": lambda: ours(backend, requests),
        "theirs": lambda: theirs(model, renderer, requests, batch=chosen.batch, new_tokens=chosen.new_tokens),
    }
    seconds, answers = measure(jobs, chosen.rounds)
    gaps = compare(model, renderer, requests, answers["ours"], answers["theirs"])
    tokens = {name: sum(map(len, given.values())) for name, given in answers.items()}
    report: dict[str, Any] = {
        "model": chosen.model,
        "tuned": adapter is not None,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores",
        "questions": len(requests),
        "slots": chosen.slots,
        "batch": chosen.batch,
        "ratio": round(tokens["ours"] / seconds["ours"] / (tokens["theirs"] / seconds["theirs"]), 2),
        "different": len(gaps),
        "ties": sum(each < TIE for each in gaps),
        "largest_gap": max(gaps, default=0.0),
    }
    for name in jobs:
        report[name] = {
            "seconds": round(seconds[name], 2),
            "tokens": tokens[name],
            "tokens_per_s": round(tokens[name] / seconds[name], 2),
            "answers_per_s": round(len(requests) / seconds[name], 3),
        }
    show(report, as_json=chosen.json)
    return 0 if report["different"] == report["ties"] else 1


def show(report: dict[str, Any], *, as_json: bool) -> None:
    """Print the report."""
    if as_json:
        print(json.dumps(report))
        return
    print(f"{report['model']}, {report['questions']} questions, {report['device']}")
    for name, what in (("ours", f"{report['slots']} slots"), ("theirs", f"batches of {report['batch']}")):
        row = report[name]
        print(
            f"  {name:<7} {what:<14} {row['seconds']:>8.1f} s {row['tokens_per_s']:>8.1f} tokens/s"
            f" {row['answers_per_s']:>7.2f} answers/s"
        )
    print(f"  ratio {report['ratio']} in tokens/s")
    print(f"  {report['different']} answers differ, {report['ties']} of them by a tie (gap below {TIE})")


if __name__ == "__main__":
    sys.exit(main())
