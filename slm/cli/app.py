"""The `slm` command. Heavy imports stand inside the functions, so that `--help` starts at once."""

import sys

import typer

from slm.cli import (
    benching,
    cascading,
    costing,
    evaluating,
    exporting,
    inspecting,
    parity,
    planning,
    runs,
    sampling,
    serving,
    sql,
    training,
)
from slm.errors import SlmError

app = typer.Typer(
    name="slm",
    help="Tune a small model for one narrow task, and find out with evidence whether it can replace a hosted LLM.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("run")(training.run)
app.command("train")(training.train)
app.command("plan")(planning.plan)
app.command("generate")(evaluating.generate)
app.command("sample")(sampling.sample)
app.command("eval")(evaluating.evaluate)
app.command("leaderboard")(evaluating.leaderboard)
app.command("bench")(benching.bench)
app.command("cost")(costing.cost)
app.command("cascade")(cascading.cascade)
app.command("export")(exporting.export)
app.command("parity")(parity.parity)
app.command("serve")(serving.serve)
app.add_typer(inspecting.recipe_app, name="recipe")
app.add_typer(inspecting.models_app, name="models")
app.add_typer(inspecting.suites_app, name="suites")
app.add_typer(runs.runs_app, name="runs")
app.add_typer(sql.sql_app, name="sql")


def main() -> None:
    """Run the command line; bad input ends with exit code 2, a failed job with 1, both without a traceback."""
    if sys.argv[1:2] in (["train"], ["run"]):
        from slm.models.allocator import restart_without_cache

        restart_without_cache()
    try:
        app()
    except SlmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("stopped; the same command continues where this one was", file=sys.stderr)
        sys.exit(130)
