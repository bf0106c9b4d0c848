"""`slm runs`: what runs there are, what one did, and how several differ."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slm.cli.output import Json, emit
from slm.cli.training import Runs

if TYPE_CHECKING:
    from slm.train.summary import Summary

runs_app = typer.Typer(help="List, show and compare training runs.", invoke_without_command=True)

RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its name in the folder of the runs.")]
RunNames = Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Two or more runs.")]
Picture = Annotated[
    Path | None, typer.Option("--picture", metavar="FILE", help="Draw their losses too, as .svg or .png.")
]

_NO_PICTURE = "that needs at least one step, and matplotlib (pip install matplotlib)"


@runs_app.callback()
def list_runs(context: typer.Context, runs: Runs = Path("runs"), as_json: Json = False) -> None:
    """List the runs of a folder, or show or compare some of them.

    Example: slm runs
    """
    if context.invoked_subcommand is not None:
        return
    from slm.train.runs import all_runs
    from slm.train.summary import summarise

    found = [summarise(run) for run in all_runs(runs)]
    emit([_line(one, text=_for_people(as_json)) for one in found], as_json=as_json)
    if not found:
        print(f"no runs in {runs}; `slm train RECIPE` makes one", file=sys.stderr)


@runs_app.command("show")
def show(run: RunName, runs: Runs = Path("runs"), as_json: Json = False) -> None:
    """Print what a run did, and draw its curves again from its files.

    Example: slm runs show quickstart-1a2b3c4d
    """
    from slm.train.curves import draw_curves
    from slm.train.runs import accuracies, find_run
    from slm.train.summary import describe, summarise

    folder = find_run(run, runs)
    summary, scored = summarise(folder), accuracies(folder)
    if _for_people(as_json):
        lines = [*describe(summary), *((f"accuracy on {suite}", f"{share:.1%}") for suite, share in scored.items())]
        emit([{"figure": name, "value": value} for name, value in lines], as_json=as_json)
    else:
        emit([summary.model_dump(mode="json") | {"accuracies": scored}], as_json=as_json)
    if draw_curves(folder):
        print(f"curves: {folder.curves}", file=sys.stderr)
    else:
        print(f"no curves: {_NO_PICTURE}", file=sys.stderr)


@runs_app.command("compare")
def compare(chosen: RunNames, runs: Runs = Path("runs"), picture: Picture = None, as_json: Json = False) -> None:
    """Put runs side by side: what differs in their recipes, then their figures.

    Example: slm runs compare quickstart-1a2b3c4d quickstart-5e6f7a8b --picture losses.svg
    """
    from slm.errors import InputError
    from slm.train.curves import draw_losses
    from slm.train.runs import accuracies, differences, find_run
    from slm.train.summary import summarise

    if len(chosen) < 2:
        raise InputError(
            "only one run is given", where=chosen[0], expected="two runs or more", hint="slm runs show RUN"
        )
    if picture is not None and picture.suffix not in (".svg", ".png"):
        raise InputError("not a kind of picture", where=str(picture), expected="a file that ends in .svg or .png")
    folders = [find_run(name, runs) for name in chosen]
    names = [folder.path.name for folder in folders]
    columns = names if len(set(names)) == len(names) else chosen
    text = _for_people(as_json)
    figures = [
        _line(summarise(folder), text=text)
        | {f"accuracy on {suite}": value for suite, value in accuracies(folder).items()}
        for folder in folders
    ]
    rows = differences(folders)
    legend = _legend(columns, rows)
    keys = dict.fromkeys(key for line in figures for key in line if key not in ("run", "recipe", "model"))
    rows |= {key: [line.get(key) for line in figures] for key in keys}
    emit([{"key": key, **dict(zip(columns, values, strict=True))} for key, values in rows.items()], as_json=as_json)
    if picture is not None and not draw_losses(folders, legend, picture):
        print(f"no picture: {_NO_PICTURE}", file=sys.stderr)


def _legend(names: Sequence[str], differences: Mapping[str, Sequence[Any]]) -> list[str]:
    """What a picture calls the runs: by the few keys that tell them apart, or else by name."""
    told = {key: values for key, values in differences.items() if key != "name"}
    labels = [", ".join(f"{key}={values[at]}" for key, values in told.items()) for at in range(len(names))]
    return labels if len(told) <= 3 and len(set(labels)) == len(names) else list(names)


def _for_people(as_json: bool) -> bool:
    return not as_json and sys.stdout.isatty()


def _line(summary: "Summary", *, text: bool) -> dict[str, Any]:
    """A run in one line; as `text` with units, and short."""
    from slm.train.summary import duration

    one = summary
    line: dict[str, Any] = {
        "run": one.run,
        "recipe": one.recipe,
        "model": one.model,
        "state": one.state,
        "loss": None if one.last_loss is None else round(one.last_loss, 4),
        "best_accuracy": one.best_accuracy,
        "tokens_per_s": one.tokens_per_s,
        "mfu": one.mfu,
        "peak_memory_mb": one.peak_memory_mb,
        "seconds": one.seconds,
        "adapter": one.adapter[:12] if one.adapter else None,
    }
    if not text:
        return line
    del line["seconds"]
    shares = {key: None if line[key] is None else f"{line[key]:.1%}" for key in ("best_accuracy", "mfu")}
    rounded = {key: None if line[key] is None else f"{line[key]:,.0f}" for key in ("tokens_per_s", "peak_memory_mb")}
    return line | shares | rounded | {"time": None if one.seconds is None else duration(one.seconds)}
