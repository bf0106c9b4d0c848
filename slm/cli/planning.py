"""`slm plan`: memory, time and cost of a training before it is started, on a device that need not be here."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slm.cli.output import Json, emit
from slm.cli.training import Overrides, Runs

if TYPE_CHECKING:
    from slm.train.plan.plan import Plan

RecipeToPlan = Annotated[
    str | None, typer.Argument(metavar="RECIPE", help="A recipe file, or the name of a shipped recipe.")
]
GpuName = Annotated[
    str | None,
    typer.Option("--gpu", metavar="GPU", help="t4, l4, a10g, a100-40, a100-80, h100, h200, or a size such as 16GB."),
]
Processes = Annotated[int, typer.Option(min=1, help="So many processes with a device each, as accelerate starts them.")]
Sharded = Annotated[bool, typer.Option("--sharded", help="Each process holds a share of the weights (FSDP2).")]
Serve = Annotated[bool, typer.Option("--serve", help="Also what answering generate.batch_size questions takes.")]
Mfu = Annotated[
    float | None,
    typer.Option("--mfu", min=0.001, max=1.0, help="Share of the device's peak to reckon time with, such as 0.35."),
]
History = Annotated[
    bool, typer.Option("--history", help="Only list what runs were predicted to take, and what they took.")
]


def plan(
    recipe: RecipeToPlan = None,
    overrides: Overrides = None,
    gpu: GpuName = None,
    processes: Processes = 1,
    sharded: Sharded = False,
    serve: Serve = False,
    mfu: Mfu = None,
    history: History = False,
    runs: Runs = Path("runs"),
    as_json: Json = False,
) -> None:
    """Predict what a training takes, without starting it: peak memory part by part, time and cost.

    Nothing is downloaded. Without --gpu it is planned for this machine; where it would not fit, overrides that would.
    Example: slm plan recipes/quickstart.yaml --gpu t4
    """
    if history:
        _history(runs, as_json=as_json)
        return
    if recipe is None:
        from slm.errors import InputError

        raise InputError("no recipe is given", where="slm plan", expected="a recipe, or --history")
    from slm.recipe import load_recipe
    from slm.train.plan.hardware import find_device
    from slm.train.plan.plan import make_plan

    device = find_device(gpu)
    loaded = load_recipe(recipe, overrides or ())
    made = make_plan(
        loaded, device, processes=processes, sharded=sharded, serve=serve, mfu=mfu, runs=runs
    )  # fmt: skip
    if as_json or not sys.stdout.isatty():
        emit([made.model_dump(mode="json") | {"margin": made.margin}], as_json=as_json)
    else:
        _show(made)


def _history(runs: Path, *, as_json: bool) -> None:
    from slm.train.plan.record import history
    from slm.train.runs import all_runs

    rows: list[dict[str, Any]] = history(all_runs(runs))
    if not as_json and sys.stdout.isatty():
        rows = [
            row
            | {key: f"{row[key]:,.0f}" for key in ("predicted_mb", "measured_mb")}
            | {"error": f"{100 * row['error']:+.1f} %"}
            for row in rows
        ]
    emit(rows, as_json=as_json)
    if not rows:
        print(f"no run in {runs} was planned and has taken a step", file=sys.stderr)


def _show(made: "Plan") -> None:
    """A plan for people: what takes how much, then a line for each question."""
    from slm.train.plan.preflight import describe_fit, gigabytes

    parts = [*made.memory.model_dump().items(), ("all together", made.total)]
    columns = [{"memory of one process": name.replace("_", " "), "training": gigabytes(size)} for name, size in parts]
    emit(columns, as_json=False, title=f"{made.recipe}: {made.model} on {made.device}")
    if made.serving is not None:
        parts = [*made.serving.model_dump().items(), ("all together", made.serving.total)]
        emit([{"memory": name.replace("_", " "), "serving": gigabytes(size)} for name, size in parts], as_json=False)
    for name, value in _lines(made, describe_fit(made)):
        print(f"{name:>10}  {value}")


def _lines(made: "Plan", fit: str) -> list[tuple[str, str]]:
    from slm.train.plan.preflight import gigabytes
    from slm.train.summary import duration

    lines = [("fits", f"{'yes' if made.fits else 'no'}: {fit}")]
    if made.overrides:
        lines.append(("try", f"{' '.join(made.overrides)}  ({gigabytes(made.changed_total or 0)})"))
    elif made.overrides is not None:
        lines.append(("try", "nothing: smaller packs, recomputing and 4-bit weights would not be enough"))
    if made.serving is not None:
        lines.append(("serves", "yes" if made.serving_fits else "no"))
    lines.append(("packs", f"{made.data}; the largest has {made.largest_pack_tokens:,} tokens"))
    if (cost := made.cost) is not None:
        share = "–" if cost.mfu is None else f"{cost.mfu:.0%} of the peak ({cost.mfu_from})"
        peak = "–" if cost.peak_flops is None else f"{cost.peak_flops / 1e12:,.2f} TFLOP/s ({cost.peak_from})"
        time = "–" if cost.seconds is None else duration(cost.seconds)
        if cost.at_least_s is not None:
            time = f"– (at least {duration(cost.at_least_s)}, at the full peak; --mfu states another share)"
        price = "–" if cost.usd is None else f"${cost.usd:,.2f} ({cost.price_from})"
        lines += [("steps", f"{cost.steps:,}"), ("peak", peak), ("use", share), ("time", time), ("cost", price)]
    lines += [("note", note) for note in made.notes]
    lines.append(("planned", f"in {made.planning_s:.1f} s"))
    return lines
