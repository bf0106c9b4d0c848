"""`slm run` and `slm train`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from slm.cli.output import Json, emit, emit_results

RecipeArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe file, or the name of a shipped recipe.")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Overrides, such as train.learning_rate=1e-4.")
]
Runs = Annotated[Path, typer.Option(help="Folder of the runs.")]
AcceptLicense = Annotated[bool, typer.Option("--accept-license", help="Accept the licence of the model's weights.")]
PlanFirst = Annotated[
    bool, typer.Option("--plan/--no-plan", help="Plan the memory first, and refuse to start where there is too little.")
]


def run(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    results: Annotated[Path, typer.Option(help="Folder of the published results.")] = Path("eval/results"),
    out: Annotated[Path, typer.Option(help="The leaderboard to write.")] = Path("LEADERBOARD.md"),
    accept_license: AcceptLicense = False,
    plan: PlanFirst = True,
    as_json: Json = False,
) -> None:
    """The whole way: check, score the untuned model, train, score again, update the leaderboard.

    Work already done (same recipe, data and model) is not done again.
    Example: slm run recipes/quickstart.yaml
    """
    from slm.cli.pipeline import run_pipeline
    from slm.recipe import load_recipe

    scored = run_pipeline(
        load_recipe(recipe, overrides or ()),
        runs=runs,
        results=results,
        leaderboard=out,
        accept_license=accept_license,
        plan=plan,
    )
    emit_results(scored, as_json=as_json)
    print(f"leaderboard: {out}", file=sys.stderr)


def train(
    recipe: RecipeArgument,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    accept_license: AcceptLicense = False,
    plan: PlanFirst = True,
    verify: Annotated[
        bool, typer.Option("--verify-resume", help="Only prove, on its first steps, that a killed run loses nothing.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a recipe's model only. Killed, the same command continues.

    On several processes: accelerate launch --config_file configs/accelerate/ddp.yaml -m slm.train RECIPE.
    Example: slm train recipes/quickstart.yaml train.max_steps=10
    """
    from slm.models import pull_model
    from slm.recipe import load_recipe
    from slm.train import read_card
    from slm.train import train as train_recipe
    from slm.train.summary import print_summary, summarise

    loaded = load_recipe(recipe, overrides or ())
    pull_model(loaded.model.name, accept_license=accept_license)
    if verify:
        from slm.train.resume import verify_resume

        print(verify_resume(loaded, runs).describe())
        return
    done = train_recipe(loaded, runs, plan=plan)
    print_summary(summarise(done))
    card = read_card(done) or {}
    emit([{"run": str(done.path), **card.get("totals", {})}], as_json=as_json)
