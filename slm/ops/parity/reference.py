"""The reference of every comparison: a run as it was evaluated, and its answers to a sample of its test questions."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from slm import provenance
from slm.data import Dataset, load_dataset
from slm.errors import InputError, ModelError
from slm.generate import Backend
from slm.models import find_model, model_fingerprint, pull_model
from slm.ops.parity.bounds import BOUNDS
from slm.ops.parity.certificate import Certificate, Check, Closeness, Paired
from slm.ops.parity.verdict import decide, pair
from slm.progress import Meter
from slm.recipe import Recipe, RunFolder, load_recipe
from slm.records import Generation, Prompt, Verdict
from slm.tasks import TextToSql
from slm.train import read_card, require_finished, weights_hash

if TYPE_CHECKING:
    from slm.generate.local.along import Along, Line


class Reference:
    """A run's own weights at work. Its model stays in memory; the base model is loaded for a moment, when asked for.

    `prompts` are the questions by example id; those that leave no room for an answer are left out.
    """

    def __init__(self, run: RunFolder, *, questions: int) -> None:
        """Loads the model and lets it answer. Raises InputError for a run that is not finished or was altered."""
        require_finished(run)
        self.run, self.recipe = run, load_recipe(run.recipe)
        self.adapter = _trained_hash(run)
        self.model_fingerprint = model_fingerprint(find_model(self.recipe.model.name))
        self.dataset = _sample(self.recipe, questions)
        self._base_folder = pull_model(self.recipe.model.name)
        self.backend = self._load(tuned=True)
        self.renderer = self.backend.renderer
        task = TextToSql(self.dataset.contexts)
        prompts = {example.id: task.prompt(example) for example in self.dataset.available}
        answers = ask(self.backend, prompts, f"reference {run.path.name}")
        self.answers = {number: answer for number, answer in answers.items() if answer.error is None}
        if not self.answers:
            raise InputError(
                "no question could be asked", where=self.dataset.name, expected="prompts that fit into the model"
            )
        self.prompts: dict[str, Prompt] = {number: prompts[number] for number in self.answers}

    @property
    def mergeable(self) -> bool:
        """Whether its model is one of plain weights, with the adapter in them."""
        return self.recipe.model.quantize == "none"

    @cached_property
    def lines(self) -> dict[str, "Line"]:
        """Its answers as token ids, each behind its prompt and closed by the token that ends it."""
        from slm.generate.local.along import Line

        return {
            number: Line(self.renderer.render(self.prompts[number]), self.renderer.target_ids(answer.text))
            for number, answer in self.answers.items()
        }

    @cached_property
    def expected(self) -> dict[str, "Along"]:
        """What it expects along its own answers."""
        from slm.generate.local.along import along

        return dict(zip(self.lines, along(self.backend.model, list(self.lines.values())), strict=True))

    @cached_property
    def base_expected(self) -> dict[str, "Along"]:
        """What the untuned base model expects along the reference's answers."""
        from slm.generate.local.along import along

        base = self._load(tuned=False).model
        found = along(base, list(self.lines.values()), reference=list(self.expected.values()))
        return dict(zip(self.lines, found, strict=True))

    @cached_property
    def base_answers(self) -> dict[str, Generation]:
        """What the untuned base model answers to the same questions."""
        return ask(self._load(tuned=False), self.prompts, "untuned base model")

    @cached_property
    def _verdicts(self) -> list[Verdict]:
        return self._judge(self.answers)

    def accuracy(self, answers: Mapping[str, Generation]) -> Paired | None:
        """Execution accuracy of the reference and of other answers to the same questions."""
        return pair(self._verdicts, self._judge(answers))

    def certificate(
        self,
        form: str,
        checks: Sequence[Check],
        measured: tuple[Closeness, Paired | None] | None,
        *,
        files: Mapping[str, str],
        endpoint: str | None = None,
    ) -> Certificate:
        """The verdict on what was found; `measured` is None where nothing could be."""
        closeness, paired = measured or (None, None)
        verdict, reason = decide(checks, closeness, paired)
        return Certificate(
            verdict=verdict,
            reason=reason,
            run=self.run.path.name,
            form=form,
            endpoint=endpoint,
            adapter=self.adapter,
            model=self.model_fingerprint,
            suite=self.dataset.name,
            questions_fingerprint=self.dataset.fingerprint,
            closeness=closeness,
            accuracy=paired,
            checks=tuple(checks),
            bounds=BOUNDS,
            files=dict(files),
            code=provenance.code_state(),
            versions=provenance.versions(),
        )

    def _judge(self, answers: Mapping[str, Generation]) -> list[Verdict]:
        task = TextToSql(self.dataset.contexts, double_quoted_text=self.dataset.double_quoted_text)
        given = [
            (example, answers[example.id].text if example.id in answers else "")
            for example in self.dataset.examples
            if example.id in self.prompts
        ]
        return list(task.grade(given, timeout_s=self.recipe.evaluate.timeout_s))

    def _load(self, *, tuned: bool) -> Any:
        from slm.generate.local import load_local

        recipe, full = self.recipe, self.recipe.train.method == "full"
        folder = self.run.model if full and tuned else self._base_folder
        adapter = self.run.adapter if tuned and not full else None
        return load_local(folder, recipe.model, recipe.task, recipe.generate, adapter=adapter)


def ask(backend: Backend, prompts: Mapping[str, Prompt], label: str) -> dict[str, Generation]:
    """Every answer by example id, in the order of the prompts."""
    answers = {}
    with Meter(label, len(prompts), unit="answers") as meter:
        for answer in backend.generate(list(prompts.items())):
            answers[answer.example_id] = answer
            meter.advance()
    return {number: answers[number] for number in prompts}


def identical(first: Mapping[str, Generation], second: Mapping[str, Generation]) -> list[str]:
    """The questions that both answer with the same text."""
    return [number for number, answer in first.items() if second[number].text == answer.text]


def _trained_hash(run: RunFolder) -> str:
    """The hash of the run's weights, which are still those that its training ended with."""
    found, told = weights_hash(run), (read_card(run) or {}).get("adapter")
    if found is None or found != told:
        raise ModelError(
            "the weights are not there" if found is None else f"the weights have sha256 {found}",
            where=str(run.path),
            expected=f"those that the training ended with, sha256 {told}",
            hint="train the run again, or bring its folder back",
        )
    return found


def _sample(recipe: Recipe, questions: int) -> Dataset:
    """Questions of what the run was scored on, always the same ones."""
    section = recipe.evaluate
    limit = questions if section.limit is None else min(questions, section.limit)
    return load_dataset(section.suite, databases=section.databases, limit=limit)


def usable(lines: Mapping[str, "Line"], mapping: Sequence[int]) -> list[str]:
    """The questions whose reference answer a vocabulary has every token of; `mapping` has -1 for none."""
    return [number for number, line in lines.items() if all(mapping[token] >= 0 for token in line.answer)]
