"""What `slm serve` serves: the subject that its options name, loaded by slm itself or as vLLM takes it."""

from collections.abc import Callable
from pathlib import Path

from slm.cli.subjects import Subject, choose_subject
from slm.errors import InputError, ModelError
from slm.generate.local import LocalBackend, load_form_backend, load_local
from slm.models import pull_model
from slm.models.forms import base_folder, read_form
from slm.models.load import load_tokenizer
from slm.serve import Weights
from slm.serve.verify import load_applied
from slm.tasks import Renderer
from slm.train.runs import find_run


def find_subject(run: str | None, model: str | None, form: Path | None, *, runs: Path, accept_license: bool) -> Subject:
    """The one that is named. Raises InputError."""
    if [run, model, form].count(None) != 2:
        raise InputError("it is not clear what is to be served", expected="one of RUN, --model NAME, --form FOLDER")
    folder = find_run(run, runs).path if run is not None else None
    return choose_subject(run=folder, model=model, form=form, runs=runs, accept_license=accept_license)


def default_name(subject: Subject) -> str:
    """What clients call it: the run, the run and the form, or the model."""
    if subject.form is not None:
        form = read_form(subject.form)
        return f"{form.run}-{form.name}"
    return subject.run.path.name if subject.adapter or subject.trained else _base_name(subject)


def load_backend(subject: Subject) -> tuple[LocalBackend, bool]:
    """Loaded by slm itself, and whether it was found to answer otherwise than its base model. Raises JobError."""

    def load(folder: Path, adapter: Path | None) -> Callable[[], LocalBackend]:
        return lambda: load_local(folder, subject.model, subject.task, subject.generate, adapter=adapter)

    if (form := subject.form) is not None:
        if (read := read_form(form)).kind != "adapter":  # the others are certified by `slm parity`
            return load_form_backend(form), False
        return load_applied(load(base_folder(read, form), None), lambda: load_form_backend(form)), True
    base = pull_model(subject.model.name)
    if subject.adapter is None and subject.trained is None:
        return load(base, None)(), False
    return load_applied(load(base, None), load(subject.trained or base, subject.adapter)), True


def make_weights(subject: Subject, name: str) -> Weights:
    """As vLLM takes it. Raises ModelError for what it does not."""
    dtype = subject.model.dtype
    if (folder := subject.form) is not None:
        form = read_form(folder)
        if form.kind == "merged":
            return Weights(name, folder.resolve(), dtype)
        if form.kind != "adapter":
            hint = "slm export RUN --to merged; or --engine local"
            raise ModelError(f"a form of kind {form.kind} is not served by vLLM", where=str(folder), hint=hint)
        return _adapted(subject, name, base_folder(form, folder), folder)
    if subject.trained is not None:
        return Weights(name, subject.trained.resolve(), dtype)
    base = pull_model(subject.model.name)
    return (
        Weights(name, base.resolve(), dtype)
        if subject.adapter is None
        else _adapted(subject, name, base, subject.adapter)
    )


def make_renderer(subject: Subject, weights: Weights) -> Renderer:
    """Prompts for what vLLM serves."""
    return Renderer(load_tokenizer(weights.folder), chat=subject.task.template)


def _adapted(subject: Subject, name: str, base: Path, adapter: Path) -> Weights:
    if subject.model.quantize != "none":
        raise ModelError(
            "the adapter was trained on quantized weights, and vLLM would put it on whole ones",
            where=str(adapter),
            hint="slm export RUN --to merged, then slm serve --form RUN/exports/merged; or --engine local",
        )
    base_name = _base_name(subject) if _base_name(subject) != name else f"{name}-base"
    return Weights(name, base.resolve(), subject.model.dtype, adapter.resolve(), base_name)


def _base_name(subject: Subject) -> str:
    """The model's name; of a folder or a hub id only the last part."""
    return subject.model.name.rstrip("/").rpartition("/")[2]
