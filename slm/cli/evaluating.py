"""`slm generate`, `slm eval` and `slm leaderboard`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from slm.cli.output import Json, emit, emit_results
from slm.cli.training import AcceptLicense, Runs
from slm.errors import InputError, JobError

Suite = Annotated[
    str, typer.Argument(metavar="SUITE", help="`SUITE:SPLIT` (see `slm suites list`) or a JSON Lines file of your own.")
]
RunOption = Annotated[Path | None, typer.Option("--run", help="Answer with the adapter of this run folder.")]
ModelOption = Annotated[str | None, typer.Option("--model", help="Answer with this model as it is, untuned.")]
FormOption = Annotated[Path | None, typer.Option("--form", help="Answer with this exported form (slm export).")]
Constrain = Annotated[
    bool | None,
    typer.Option(
        "--constrain/--no-constrain",
        help="Whether answers are kept within SQL and their database's schema; by default as the recipe says.",
    ),
]
Candidates = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=64,
        help="Answers to a question at most: more are drawn where the greedy one gives no rows.",
    ),
]
Databases = Annotated[Path | None, typer.Option(help="Folder of the databases, where it is not the suite's own.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only this many questions, the same ones each time.")]


def generate(
    suite: Suite,
    run: RunOption = None,
    model: ModelOption = None,
    form: FormOption = None,
    constrain: Constrain = None,
    candidates: Candidates = None,
    databases: Databases = None,
    limit: Limit = None,
    runs: Runs = Path("runs"),
    accept_license: AcceptLicense = False,
    as_json: Json = False,
) -> None:
    """Let a run or an untuned model answer a suite's questions. Killed, the same command continues.

    Example: slm generate roastery:test --model smollm2-135m --limit 8
    """
    from slm.cli.subjects import answer, choose_subject
    from slm.data import load_dataset

    subject = choose_subject(
        run=run,
        model=model,
        form=form,
        runs=runs,
        accept_license=accept_license,
        constrain=constrain,
        candidates=candidates,
    )
    dataset = load_dataset(suite, databases=databases, limit=limit)
    out = subject.predictions(dataset)
    answers = answer(subject, dataset, out)
    row = {"answers": len(answers), "constrained": subject.generate.constrain, "file": str(out)}
    emit([row], as_json=as_json)


def evaluate(
    suite: Suite,
    predictions: Annotated[
        Path | None, typer.Option(help="Score this file: one SQL a line in the suite's order, or our JSON Lines.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Count the tokens of the file's answers as this model does.")
    ] = None,
    run: RunOption = None,
    model: ModelOption = None,
    form: FormOption = None,
    constrain: Constrain = None,
    candidates: Candidates = None,
    databases: Databases = None,
    limit: Limit = None,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="Seconds a query may run.")] = 30.0,
    instances: Annotated[
        int, typer.Option(min=0, help="Try what is right on so many further instances of its database.")
    ] = 0,
    name: Annotated[
        str | None, typer.Option(help="Name on the leaderboard; by default the run's or the file's.")
    ] = None,
    publish: Annotated[bool, typer.Option("--publish", help="Put the result into the folder of results.")] = False,
    results: Annotated[Path, typer.Option(help="Folder of the published results.")] = Path("eval/results"),
    runs: Runs = Path("runs"),
    accept_license: AcceptLicense = False,
    as_json: Json = False,
) -> None:
    """Execute a model's SQL against the gold and report how much of it is right, and why the rest is not.

    Example: slm eval spider:dev --predictions answers.txt
    """
    from slm.cli.subjects import choose_subject, publish_result, score, score_file, with_form
    from slm.data import load_dataset

    dataset = load_dataset(suite, databases=databases, limit=limit)
    if predictions is not None:
        if [run, model, form, constrain, candidates] != [None] * 5:
            expected = "one of --predictions, --run, --model, --form; --constrain and --candidates only with a model"
            raise InputError("both a file and a model are given", expected=expected)
        whole = load_dataset(suite, databases=databases) if limit else None
        result = score_file(
            predictions,
            dataset,
            name=name,
            runs=runs,
            timeout_s=timeout_s,
            instances=instances,
            tokenizer=tokenizer,
            whole=whole,
        )
    else:
        if tokenizer is not None:
            raise InputError("a model's own tokens are counted", where="--tokenizer", expected="it with --predictions")
        subject = choose_subject(
            run=run,
            model=model,
            form=form,
            runs=runs,
            accept_license=accept_license,
            constrain=constrain,
            candidates=candidates,
        )
        result = score(subject, dataset, timeout_s=timeout_s, instances=instances)
        result = with_form(result, subject, dataset)
    if publish:
        print(f"published: {publish_result(result, results, name=name)}", file=sys.stderr)
    emit_results([result], as_json=as_json)


def leaderboard(
    results: Annotated[Path, typer.Option(help="Folder of the published results.")] = Path("eval/results"),
    out: Annotated[Path, typer.Option(help="The leaderboard to write.")] = Path("LEADERBOARD.md"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; fail when the file is not up to date.")
    ] = False,
) -> None:
    """Make the leaderboard from the published results.

    Example: slm leaderboard --check
    """
    from slm.files import write_text
    from slm.leaderboard import is_stale, make_page

    if check:
        if is_stale(out, results):
            raise JobError(f"{out} does not match {results}\n  try: slm leaderboard --results {results} --out {out}")
        print(f"{out} is up to date")
        return
    write_text(out, make_page(out, results))
    print(out)
