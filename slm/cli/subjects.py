"""Who is evaluated: a tuned run, an untuned model, or a file of answers; and how each is scored."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slm import provenance
from slm.data import Dataset
from slm.errors import InputError
from slm.evaluate import evaluate, read_predictions_file, read_result, write_result
from slm.files import digest, sha256_file, write_json
from slm.generate import generate_all, read_predictions
from slm.generate.backend import Backend
from slm.generate.constrain import VERSION as CONSTRAINT
from slm.models import find_model, model_fingerprint, pull_model
from slm.models.forms import form_recipe, read_form
from slm.recipe import GenerateSection, ModelSection, Recipe, RunFolder, TaskSection, file_safe, load_recipe
from slm.records import Generation, Result
from slm.tasks import TextToSql, prompts_digest
from slm.train import require_finished, weights_hash

if TYPE_CHECKING:
    from slm.generate.local import LocalBackend


@dataclass(frozen=True)
class Subject:
    """A model that answers: a base model, with an adapter or as it is; `trained`, a folder of its own weights; or
    `form`, the folder of an exported form.

    Its answers go into `run`.
    """

    run: RunFolder
    model: ModelSection
    task: TaskSection
    generate: GenerateSection
    adapter: Path | None = None
    trained: Path | None = None
    form: Path | None = None

    def predictions(self, dataset: Dataset) -> Path:
        """Where its answers to exactly these questions, made with exactly these settings, are kept.

        Free answers have the name that they had before there were others.
        """
        prompts = prompts_digest(TextToSql(dataset.contexts), dataset.available)
        settings = [self.task.model_dump(), self.generate.max_new_tokens, prompts]
        if self.generate.constrain:
            settings.append(f"constrained {CONSTRAINT}")
        if self.generate.candidates > 1:
            settings.append(f"up to {self.generate.candidates} candidates")
        return self.run.predictions(f"{dataset.name}-{digest(settings)[:8]}")


def untuned(
    model: ModelSection, runs: Path, task: TaskSection | None = None, generate: GenerateSection | None = None
) -> Subject:
    """A model before any training, asked as a recipe's `task` and `generate` say."""
    identity = digest([model_fingerprint(find_model(model.name)), model.dtype, model.quantize])
    folder = RunFolder(runs / f"{file_safe(model.name)}-untuned-{identity[:8]}")
    return Subject(folder, model, task or TaskSection(), generate or GenerateSection())


def tuned(run: RunFolder, recipe: Recipe | None = None) -> Subject:
    """The model of a finished training, asked as `recipe` says, by default its own."""
    require_finished(run)
    recipe = recipe or load_recipe(str(run.recipe))
    full = recipe.train.method == "full"
    who = {"trained": run.model} if full else {"adapter": run.adapter}
    return Subject(run, recipe.model, recipe.task, recipe.generate, **who)


def exported(folder: Path, runs: Path) -> Subject:
    """An exported form, asked as the recipe of its run says; its answers go into a folder of their own below `runs`."""
    form, recipe = read_form(folder), form_recipe(folder)
    identity = digest({name: file.sha256 for name, file in form.files.items()})
    run = RunFolder(runs / f"{file_safe(form.run)}-{form.name}-{identity[:8]}")
    return Subject(run, recipe.model, recipe.task, recipe.generate, form=folder)


def choose_subject(
    *,
    run: Path | None,
    model: str | None,
    form: Path | None = None,
    runs: Path,
    accept_license: bool,
    constrain: bool | None = None,
    candidates: int | None = None,
) -> Subject:
    """The subject that the options name; `constrain` and `candidates` count instead of what its recipe says."""
    subject = _named_subject(run=run, model=model, form=form, runs=runs, accept_license=accept_license)
    asked = {"constrain": constrain, "candidates": candidates}
    changes = {key: value for key, value in asked.items() if value is not None}
    return replace(subject, generate=subject.generate.model_copy(update=changes))


def _named_subject(
    *, run: Path | None, model: str | None, form: Path | None, runs: Path, accept_license: bool
) -> Subject:
    if [run, model, form].count(None) == 2:
        if run is not None:
            return tuned(RunFolder(run))
        if form is not None:
            return exported(form, runs)
        if model is not None:
            pull_model(model, accept_license=accept_license)
            return untuned(ModelSection(name=model), runs)
    raise InputError(
        "it is not clear who shall answer",
        expected="one of --run FOLDER, --model NAME, --form FOLDER, and with slm eval --predictions FILE",
    )


def answer(subject: Subject, dataset: Dataset, out: Path) -> dict[str, Generation]:
    """The subject's answers to the data set, kept in `out`; the model is loaded only if some are missing."""
    if (count := subject.generate.candidates) == 1:
        return _answers(dataset, out, lambda task: _backend(subject, dataset, task))
    from slm.generate.candidates import Candidates

    databases = {example.id: dataset.contexts[example.context_id] for example in dataset.available}
    quoted = dataset.double_quoted_text
    return _answers(
        dataset,
        out,
        lambda task: Candidates(_backend(subject, dataset, task), count, databases, double_quoted_text=quoted),
    )


def sample(subject: Subject, dataset: Dataset, count: int) -> dict[str, Generation]:
    """So many drawn answers to each question, as `candidates`; kept like answers."""
    from slm.generate.candidates import Samples

    one = replace(subject, generate=subject.generate.model_copy(update={"candidates": 1}))
    answers = one.predictions(dataset)
    out = answers.with_name(f"{answers.stem}-{count}-drawn{answers.suffix}")
    return _answers(dataset, out, lambda task: Samples(_backend(one, dataset, task), count))


def _answers(dataset: Dataset, out: Path, backend: Callable[[TextToSql], Backend]) -> dict[str, Generation]:
    have = read_predictions(out)
    if all(example.id in have for example in dataset.available):
        return have
    task = TextToSql(dataset.contexts)
    return generate_all(backend(task), task, dataset, out)


def _backend(subject: Subject, dataset: Dataset, task: TextToSql) -> "LocalBackend":
    """The subject, loaded; held to the schemas of the data set if it shall be."""
    from slm.generate.local import load_form_backend, load_local

    if subject.form is not None:
        backend = load_form_backend(subject.form)
    else:
        folder = subject.trained or pull_model(subject.model.name)
        backend = load_local(folder, subject.model, subject.task, subject.generate, adapter=subject.adapter)
    if subject.generate.constrain:
        from slm.generate.constrain.chooser import SqlConstraint

        renderer = backend.renderer
        # Texts are in single quotes, as in all targets, also where a suite's golds have others.
        backend.constraint = SqlConstraint(renderer.tokenizer, renderer.end_id, task.schemas(dataset.available))
    return backend


def score(subject: Subject, dataset: Dataset, *, timeout_s: float, instances: int = 0) -> Result:
    """Answer, execute and judge. A result made by the same code from the same answers is not made again."""
    out = subject.predictions(dataset)
    answers = answer(subject, dataset, out)
    who, origin = identity_of(subject)
    card = card_of(dataset, out, timeout_s, instances) | origin
    return _judge(subject.run, dataset, answers, who, card, timeout_s=timeout_s, instances=instances)


def identity_of(subject: Subject) -> tuple[dict[str, Any], dict[str, Any]]:
    """Who it is, as fields of a result, and where its weights come from, as keys of its card."""
    constrained = {"constrained": subject.generate.constrain, "candidates": subject.generate.candidates}
    if subject.form is not None:
        form = read_form(subject.form)
        origin: dict[str, Any] = {"model": form.model_fingerprint, "adapter": form.adapter}
        origin |= {"form": form.model_dump(mode="json"), "parity": _verdict(subject.form)}
        return {"model": form.model, "tuned": True, "parameters": form.parameters} | constrained, origin
    entry, weights = find_model(subject.model.name), weights_hash(subject.run)
    who = {"model": subject.model.name, "tuned": weights is not None, "parameters": entry.parameters}
    return who | constrained, {"model": model_fingerprint(entry), "adapter": weights}


def _verdict(form: Path) -> str | None:
    """What the form's certificate says of it; None without a valid one."""
    from slm.ops import certificate_of

    certificate = certificate_of(form)
    return certificate.verdict if certificate else None


def with_form(result: Result, subject: Subject, dataset: Dataset) -> Result:
    """The result of an exported form with its name, size and cold start, which is measured once; kept in its place."""
    if subject.form is None or result.form is not None:
        return result
    from slm.ops import measure_cold_start

    form = read_form(subject.form)
    prompt = TextToSql(dataset.contexts).prompt(dataset.available[0])
    seconds = round(measure_cold_start(subject.form, prompt), 2)
    whole = result.model_copy(update={"form": form.name, "size_bytes": form.size_bytes, "cold_start_s": seconds})
    write_json(subject.run.result(dataset.name), whole)
    return whole


def score_file(
    file: Path,
    dataset: Dataset,
    *,
    name: str | None,
    runs: Path,
    timeout_s: float,
    instances: int = 0,
    tokenizer: str | None = None,
    whole: Dataset | None = None,
) -> Result:
    """Judge answers that somebody else's system gave to `dataset`, or to the `whole` suite that this is a part of.

    `tokenizer`: the model whose tokens are counted in them.
    """
    answers = read_predictions_file(file, dataset, whole)
    if tokenizer is not None:
        answers = _counted(answers, tokenizer)
    title = name or file.stem
    run = RunFolder(runs / file_safe(title))
    who = {"model": title, "tuned": None, "parameters": None}
    card = card_of(dataset, file, timeout_s, instances) | ({"tokens_counted_by": tokenizer} if tokenizer else {})
    return _judge(run, dataset, answers, who, card, timeout_s=timeout_s, instances=instances)


def _counted(answers: Mapping[str, Generation], model: str) -> dict[str, Generation]:
    """Answers with their tokens, where nobody recorded them: as a model of the catalog counts, and the end of each."""
    from slm.models.load import load_tokenizer

    tokenizer = load_tokenizer(pull_model(model))

    def count(answer: Generation) -> int:
        return len(tokenizer(answer.text, add_special_tokens=False)["input_ids"]) + 1

    return {
        key: answer if answer.completion_tokens else answer.model_copy(update={"completion_tokens": count(answer)})
        for key, answer in answers.items()
    }


def publish_result(result: Result, results: Path, *, name: str | None) -> Path:
    """Copy a result to where the leaderboard is made from; one file for each name, the newest counts."""
    stem = re.sub(r"-[0-9a-f]{8}$", "", result.run) + ("-constrained" if result.constrained else "")
    stem += f"-{result.candidates}-candidates" if result.candidates > 1 else ""
    stem = file_safe(name) if name else stem
    path = results / file_safe(result.suite) / f"{stem}.json"
    write_json(path, result)
    return path


def _judge(
    run: RunFolder,
    dataset: Dataset,
    answers: Mapping[str, Generation],
    who: Mapping[str, Any],
    card: dict[str, Any],
    *,
    timeout_s: float,
    instances: int,
) -> Result:
    done = read_result(run, dataset)
    asked = (who.get("constrained", False), who.get("candidates", 1))
    if done is not None and done.card == card and (done.constrained, done.candidates) == asked:
        return done
    result, verdicts = evaluate(
        dataset,
        answers,
        TextToSql(dataset.contexts, double_quoted_text=dataset.double_quoted_text),
        run=run.path.name,
        card=card,
        timeout_s=timeout_s,
        instances=instances,
        **who,
    )
    write_result(run, result, verdicts)
    return result


def card_of(dataset: Dataset, predictions: Path, timeout_s: float, instances: int) -> dict[str, Any]:
    """Where a result comes from, without its model: code, versions, machine, data, and the file of its answers."""
    return {
        "code": provenance.code_state(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "data": dataset.fingerprint,
        "model": None,
        "predictions": sha256_file(predictions),
        "timeout_s": timeout_s,
        "instances": instances,
    }
