"""`slm export`: a tuned model as files to take elsewhere."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from slm.cli.output import Json, emit
from slm.cli.training import Runs
from slm.errors import InputError
from slm.sizes import parse_size

if TYPE_CHECKING:
    from slm.data import Dataset
    from slm.ops import Choice
    from slm.recipe import RunFolder
    from slm.records import Verdict


def export(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its name below the folder of runs.")],
    to: Annotated[str | None, typer.Option(help="The form: adapter, merged, nf4, int8 or gguf.")] = None,
    quant: Annotated[
        str | None,
        typer.Option(help="With gguf, type of the matrices: f32, f16, bf16, q8_0 (default), q5_1, q5_0, q4_1, q4_0."),
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="How weights that are not quantized are stored: base (as in the base model), float32, …")
    ] = "base",
    trim: Annotated[
        bool, typer.Option("--trim-vocabulary", help="Leave out the tokens that the task does not need.")
    ] = False,
    budget: Annotated[
        str | None, typer.Option(help="Try all forms and take the best of at most this size, such as 500MB.")
    ] = None,
    sample: Annotated[
        str | None,
        typer.Option(help="With --budget, the questions to measure on; else the training suite's dev split."),
    ] = None,
    questions: Annotated[int, typer.Option(min=1, help="With --budget, how many questions of them.")] = 64,
    out: Annotated[Path | None, typer.Option(help="Folder to write; else exports/FORM of the run.")] = None,
    runs: Runs = Path("runs"),
    as_json: Json = False,
) -> None:
    """Write one form of a tuned model: its adapter, merged weights, 4 or 8 bits, or a GGUF file for llama.cpp.

    Example: slm export runs/quickstart-a923fd35 --to gguf --quant q8_0
    """
    from slm.models.forms import FormSpec, Kind, Quant, StoredDtype
    from slm.ops import export as export_form
    from slm.train.runs import find_run

    found = find_run(run, runs)
    if (to is None) == (budget is None):
        raise InputError("it is not clear which form is wanted", expected="one of --to FORM and --budget SIZE")
    if budget is not None:
        _export_by_budget(found, budget, sample, questions, trim=trim, out=out, runs=runs, as_json=as_json)
        return
    spec = FormSpec(
        kind=_one_of(to, Kind, "--to"),
        quant=_one_of(quant or "q8_0", Quant, "--quant") if quant or to == "gguf" else None,
        dtype=_one_of(dtype, StoredDtype, "--dtype"),
        trimmed=trim,
    )
    _report(export_form(found, spec, out=out), found, as_json=as_json)


def _export_by_budget(
    run: "RunFolder",
    budget: str,
    sample: str | None,
    questions: int,
    *,
    trim: bool,
    out: Path | None,
    runs: Path,
    as_json: bool,
) -> None:
    from slm.cli.subjects import exported, score, tuned
    from slm.files import read_records
    from slm.ops import choose_form
    from slm.recipe import load_recipe
    from slm.records import Verdict

    size, recipe = parse_size(budget), load_recipe(run.recipe)
    if size is None:
        raise InputError(f"not a size: {budget}", where="--budget", expected="a number with MB, GB, MiB or GiB: 500MB")
    dataset = _sample(sample, recipe.data.sources[0], recipe.evaluate.suite, questions)

    def verdicts(folder: Path | None) -> "Sequence[Verdict]":
        subject = tuned(run) if folder is None else exported(folder, runs)
        score(subject, dataset, timeout_s=recipe.evaluate.timeout_s)
        return list(read_records(subject.run.verdicts(dataset.name), Verdict))

    name = f"{dataset.name}, {len(dataset.examples)} questions"
    choice, folder = choose_form(run, size, verdicts, verdicts(None), sample=name, trim=trim, out=out)
    _print_choice(choice)
    if folder is None:
        smallest = min(row.size_bytes for row in choice.rows)
        raise InputError(
            f"no form is as small as {budget}; the smallest has {smallest / 1e6:.0f} MB",
            where=str(run.path),
            hint="a smaller base model" if trim else "--trim-vocabulary",
        )
    _report(folder, run, as_json=as_json)


def _sample(ref: str | None, train: str, test: str, questions: int) -> "Dataset":
    """Questions to choose by: those of the run's own test would make its result look better than it is."""
    from slm.data import list_suites, load_dataset

    if ref is None:
        name = train.rpartition(":")[0]
        dev = f"{name}:dev"
        has_dev = any(suite.name == name and "dev" in suite.splits for suite in list_suites())
        ref = dev if has_dev and dev != test else test
        if ref == test:
            print(f"choosing on {test}, on which the run is scored: that score will flatter it", file=sys.stderr)
    return load_dataset(ref, limit=questions)


def _report(folder: Path, run: "RunFolder", *, as_json: bool) -> None:
    from slm.models.forms import read_form
    from slm.ops import write_card

    write_card(folder, run)

    form = read_form(folder)
    row = {
        "form": form.name,
        "folder": str(folder),
        "megabytes": round(form.size_bytes / 1e6, 1),
        "parameters": form.parameters,
        "tokens": form.tokens,
    }
    emit([row], as_json=as_json)


def _print_choice(choice: "Choice") -> None:
    """The table of the forms that were tried, on stderr."""
    from rich.console import Console
    from rich.table import Table

    from slm.cli.output import rate_text

    title = f"{choice.sample}; the run itself: {rate_text(choice.reference)}"
    table = Table("form", "MB", "right, with 95 % interval", "difference", title=title, title_justify="left")
    for row in choice.rows:
        gap = row.difference
        difference = "–" if gap is None else f"{gap.value:+.1%} ({gap.low:+.1%} to {gap.high:+.1%})"
        style = "bold" if row.form == choice.chosen else None
        right = rate_text(row.accuracy) if row.fits else "too big"
        table.add_row(row.form, f"{row.size_bytes / 1e6:.0f}", right, difference, style=style)
    Console(stderr=True).print(table)


def _one_of(value: Any, kinds: Any, option: str) -> Any:
    if value not in get_args(kinds):
        raise InputError(f"no such value: {value}", where=option, expected=f"one of: {', '.join(get_args(kinds))}")
    return value
