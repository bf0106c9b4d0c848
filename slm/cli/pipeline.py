"""`slm run`: check → score the untuned model → train → score → leaderboard. Every stage skips what is done."""

import sys
from pathlib import Path

from slm import provenance
from slm.cli.subjects import publish_result, score, tuned, untuned
from slm.data import load_dataset
from slm.files import write_text
from slm.leaderboard import make_page
from slm.models import pull_model
from slm.recipe import Recipe
from slm.records import Result
from slm.train import read_card, train
from slm.train.job import check_for_leaks, run_folder, training_data


def run_pipeline(
    recipe: Recipe, *, runs: Path, results: Path, leaderboard: Path, accept_license: bool, plan: bool = True
) -> list[Result]:
    """Returns the results before and after training, both published, and rewrites the leaderboard.

    With `plan` it begins with whether the training will fit into memory, and raises RecipeError if not.
    """
    provenance.code_state()  # of now: the files may change while the job runs
    _say(f"1/4 {recipe.name}: model {recipe.model.name}, training data {' + '.join(recipe.data.sources)}")
    pull_model(recipe.model.name, accept_license=accept_license)
    data = training_data(recipe)
    if read_card(run_folder(recipe, data, runs)) is None:
        check_for_leaks(recipe, data, quiet=True)
        if plan:
            from slm.train.plan.preflight import preflight

            preflight(recipe, None)
    test = load_dataset(recipe.evaluate.suite, databases=recipe.evaluate.databases, limit=recipe.evaluate.limit)
    timeout_s = recipe.evaluate.timeout_s
    kept = ", kept within the schema" if recipe.generate.constrain else ""
    _say(f"2/4 the untuned model answers {len(test.examples)} questions of {test.name}{kept}")
    before = score(untuned(recipe.model, runs, recipe.task, recipe.generate), test, timeout_s=timeout_s)
    _say(f"    right: {_percent(before)}")
    _say("3/4 training")
    run = train(recipe, runs, plan=plan)
    _say(f"4/4 the tuned model answers the same questions ({run.path})")
    after = score(tuned(run, recipe), test, timeout_s=timeout_s)
    _say(f"    right: {_percent(after)}")
    publish_result(before, results, name=None)
    publish_result(after, results, name=None)
    write_text(leaderboard, make_page(leaderboard, results))
    return [before, after]


def _percent(result: Result) -> str:
    value = result.accuracy.value
    return "nothing could be judged" if value is None else f"{value:.1%}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
