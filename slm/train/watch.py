"""The task's own metric while training: execution accuracy and loss on held-out examples, every so many steps."""

import math
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from slm.errors import RecipeError
from slm.recipe import Recipe
from slm.records import Example, Record
from slm.tasks import Renderer, Task
from slm.train.encode import Encoded

Keep = Literal["accuracy", "loss", "last"]

# As in `slm.evaluate`: what nobody can judge counts neither as right nor as wrong.
_UNAVAILABLE = {"database_unavailable", "gold_failed"}
_FEWEST = 4  # a correlation of fewer measurements says nothing


class WatchRow(Record):
    """One measurement after `step` optimizer steps; a line of watch.jsonl.

    `accuracy` is `right` of the `total` that could be judged, None where that is 0; `loss` is the mean per target token
    in nats, without dropout, None where it is not finite. `seconds` is what all of it took.
    """

    step: int
    accuracy: float | None
    right: int
    total: int
    loss: float | None
    completion_tokens: int
    seconds: float


class Relation(Record):
    """How held-out loss and accuracy went together over `measurements`.

    `spearman` is their rank correlation, None where one of them never changed; -1 means that whenever the loss fell the
    accuracy rose, so that the loss alone would have found the same weights.
    """

    measurements: int
    spearman: float | None
    lowest_loss_step: int
    best_accuracy_step: int


class Watch:
    """Measures a model in training on examples that it is not trained on, and leaves it as it was."""

    def __init__(
        self,
        recipe: Recipe,
        task: Task,
        renderer: Renderer,
        examples: Sequence[Example],
        encoded: Sequence[Encoded],
        *,
        steps: int,
        accelerator: Any,
    ) -> None:
        """`encoded` are the held-out `examples` as `slm.train.encode` makes them; `steps` is the length of the run.

        Raises RecipeError where no process holds the whole model, so that none could answer.
        """
        from slm.train.pack import plan_packs

        _refuse_sharded(accelerator)
        self.every, self.steps = recipe.watch.every, steps
        self.task, self.renderer, self.examples = task, renderer, tuple(examples)
        self.generate, self.timeout_s = recipe.generate, recipe.evaluate.timeout_s
        self.accelerator = accelerator
        train = recipe.train
        self.packs = plan_packs(encoded, batch_tokens=train.batch_tokens, seed=0, epoch=0, packing=train.packing)

    def due(self, step: int) -> bool:
        """Whether to measure after `step` steps: every `watch.every` of them, and after the last."""
        return self.every is not None and step > 0 and (step % self.every == 0 or step == self.steps)

    def measure(self, model: Any, step: int) -> WatchRow:
        """Measure after `step` steps; every process calls it, one measures, and all get the same row.

        `model` is as `accelerator.prepare` gave it. Its weights, modes and the random state stay as they are, so that a
        run trains alike with and without measurements. One line about it goes to stderr.
        """
        from accelerate.utils import broadcast_object_list

        rows: list[Any] = [None]
        if self.accelerator.is_main_process:
            plain = self.accelerator.unwrap_model(model)
            with _unnoticed(plain):
                rows = [self._measure(plain, step)]
            print(describe(rows[0]), file=sys.stderr, flush=True)
        row: WatchRow = broadcast_object_list(rows)[0]
        return row

    def _measure(self, model: Any, step: int) -> WatchRow:
        began = time.monotonic()
        model.eval()
        loss = self._loss(model)
        texts, tokens = self._answer(model)
        pairs = [(example, texts[example.id]) for example in self.examples]
        verdicts = list(self.task.grade(pairs, timeout_s=self.timeout_s))
        judged = [verdict for verdict in verdicts if verdict.reason not in _UNAVAILABLE]
        right = sum(bool(verdict.correct) for verdict in judged)
        return WatchRow(
            step=step,
            accuracy=right / len(judged) if judged else None,
            right=right,
            total=len(judged),
            loss=loss,
            completion_tokens=tokens,
            seconds=round(time.monotonic() - began, 3),
        )

    def _loss(self, model: Any) -> float | None:
        """Mean loss per target token of the held-out examples; None where it is not finite."""
        import torch

        from slm.models.frozen import compute_dtype
        from slm.train.loss import summed_loss
        from slm.train.pack import to_tensors

        dtype, total = compute_dtype(model), 0.0
        with torch.no_grad():
            for pack in self.packs:
                tensors = to_tensors(pack).to(self.accelerator.device)
                total += float(summed_loss(model, model.config, tensors, dtype=dtype))
        loss = total / sum(pack.target_tokens for pack in self.packs)
        return loss if math.isfinite(loss) else None

    def _answer(self, model: Any) -> tuple[dict[str, str], int]:
        """The model's answers by example id, and how many tokens they took."""
        from slm.generate.local import LocalBackend
        from slm.models.frozen import widened

        settings = self.generate
        backend = LocalBackend(
            model, self.renderer, max_new_tokens=settings.max_new_tokens, batch_size=settings.batch_size
        )
        requests = [(example.id, self.task.prompt(example)) for example in self.examples]
        with widened(model):
            answers = list(backend.generate(requests))
        tokens = sum(answer.completion_tokens or 0 for answer in answers)
        return {answer.example_id: answer.text for answer in answers}, tokens


def best(rows: Sequence[WatchRow], keep: Keep) -> WatchRow | None:
    """The row whose weights a run ends with; None without rows.

    `accuracy`: the most accurate, of several the one with the lower loss; `loss`: the lowest loss; then the earlier
    one. `last`: the last one.
    """
    if keep == "last":
        return rows[-1] if rows else None
    return min(rows, key=lambda row: _rank(row, keep), default=None)  # min gives the first of equals


def stalled(rows: Sequence[WatchRow], patience: int | None, keep: Keep) -> bool:
    """Whether the last `patience` rows brought nothing better than what was before them; with `last`, by accuracy."""
    found = best(rows, "accuracy" if keep == "last" else keep)
    return patience is not None and found is not None and len(rows) - 1 - list(rows).index(found) >= patience


def relation(rows: Sequence[WatchRow]) -> Relation | None:
    """How loss and accuracy relate; None for fewer than four rows that have both."""
    pairs = [(row.loss, row.accuracy) for row in rows if row.loss is not None and row.accuracy is not None]
    lowest, highest = best(rows, "loss"), best(rows, "accuracy")
    if len(pairs) < _FEWEST or lowest is None or highest is None:
        return None
    from scipy.stats import spearmanr  # takes most of a second to import

    losses, accuracies = zip(*pairs, strict=True)
    changed = len(set(losses)) > 1 and len(set(accuracies)) > 1
    return Relation(
        measurements=len(pairs),
        spearman=float(spearmanr(losses, accuracies).statistic) if changed else None,
        lowest_loss_step=lowest.step,
        best_accuracy_step=highest.step,
    )


def describe(row: WatchRow) -> str:
    """`step 200: 31 of 64 right (48.4 %), held-out loss 0.412, 14 s`."""
    share = f" ({100 * row.accuracy:.1f} %)" if row.accuracy is not None else ""
    loss = f"{row.loss:.3f}" if row.loss is not None else "not finite"
    return f"step {row.step}: {row.right} of {row.total} right{share}, held-out loss {loss}, {row.seconds:.0f} s"


def _rank(row: WatchRow, keep: Keep) -> tuple[float, float]:
    """Smaller is better; what could not be measured comes last."""
    loss = math.inf if row.loss is None else row.loss
    wrong = math.inf if row.accuracy is None else -row.accuracy
    return (loss, 0.0) if keep == "loss" else (wrong, loss)


def _refuse_sharded(accelerator: Any) -> None:
    kind = accelerator.distributed_type
    plugin = getattr(accelerator.state, "deepspeed_plugin", None)
    if kind == "FSDP" or (kind == "DEEPSPEED" and plugin is not None and plugin.zero_stage == 3):
        raise RecipeError(
            f"with {'FSDP' if kind == 'FSDP' else 'DeepSpeed ZeRO-3'} no process has the whole model, so none can"
            " answer the held-out questions",
            where="watch.every",
            expected="null; or processes that each hold the model (ddp.yaml)",
        )


@contextmanager
def _unnoticed(model: Any) -> Iterator[None]:
    """Modes and the random state are afterwards what they were. The local backend sees to all else that it changes."""
    import torch

    modes = [(module, module.training) for module in model.modules()]
    python_state = random.getstate()
    device = next(model.parameters()).device
    try:
        # Answers have a new length at every token: compiled layers would be compiled again and again.
        with (
            torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
            torch.compiler.set_stance("force_eager"),
        ):
            yield
    finally:
        random.setstate(python_state)
        for module, mode in modes:
            module.training = mode
