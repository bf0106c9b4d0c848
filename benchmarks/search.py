"""Which settings of a recipe are worth changing: each trained beside it, and scored on questions held out of training.

python benchmarks/search.py RECIPE [KEY=VALUE ...] --try "KEY=VALUE ..." [--try ...] [--questions 236] [--runs runs]
    [--out FILE] [--json]

The questions are held out of the recipe's own training data, with their whole databases, and are the same for all that
is tried; no test set is looked at. All are trained on the others, with the data, packs and seed of the recipe unless
what is tried says otherwise. Printed are right answers, free and within the schema, the difference to the recipe as it
is with its paired 95 % interval and p (McNemar's exact test), and the seconds of training. With many tries one of them
is the best by luck: a p of 0.05 among ten is none. Trainings and answers that are there already are not made again.
"""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from accuracy import DECODING, both_ways, held_out, told

from slm import provenance
from slm.files import write_json
from slm.recipe import load_recipe
from slm.records import Verdict
from slm.train.job import read_card, train


def main() -> int:
    """Measure and print; returns the exit code."""
    options = _options()
    # A measurement after the last step is the fewest that hold questions out.
    held = [f"watch.every={10**9}", f"watch.examples={options.questions}", "watch.keep=last"]
    tries = ["", *options.tries]
    recipes = [load_recipe(options.recipe, [*options.overrides, *held, *shlex.split(tried)]) for tried in tries]
    for tried, recipe in zip(tries, recipes, strict=True):
        if (recipe.data, recipe.watch) != (recipes[0].data, recipes[0].watch):
            raise SystemExit(
                f"--try {tried!r}: other data hold out other questions; try settings of model, lora and train"
            )
    report: dict[str, Any] = {"recipe": options.recipe, "overrides": options.overrides, "code": provenance.code_state()}
    dataset = held_out(recipes[0])
    report |= {"machine": provenance.machine(), "scored_on": dataset.name, "rows": []}
    first: dict[bool, list[Verdict]] = {}
    for tried, recipe in zip(tries, recipes, strict=True):
        run = train(recipe, options.runs)
        card = read_card(run)
        assert card is not None
        totals, report["examples"] = card["totals"], card["examples"]
        row = {"tried": tried, "steps": totals["steps"], "train_seconds": totals["seconds"]}
        row["last_loss"] = totals["last_loss"]
        report["rows"].extend(row | figures for figures in both_ways(run.path, dataset, first, "recipe"))
        if options.out is not None:
            write_json(options.out, report)
    if options.json or not sys.stdout.isatty():
        print(json.dumps(report))
    else:
        _show(report)
    return 0


def _show(report: dict[str, Any]) -> None:
    print(f"trained on {report['examples']} examples; scored on {report['scored_on']}")
    for row in report["rows"]:
        figures = f"{row['steps']} steps, {row['train_seconds']:.0f} s"
        print(f"{row['tried'] or 'the recipe'}, {DECODING[row['constrained']]}: {told(row, 'recipe')}; {figures}")


def _options() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="a recipe file, or the name of a shipped one")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--try", dest="tries", action="append", required=True, metavar='"KEY=VALUE ..."')
    parser.add_argument("--questions", type=int, default=236, help="held out; at most a fifth of the training data")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, metavar="FILE", help="the report as JSON")
    parser.add_argument("--json", action="store_true", help="JSON, as it is when piped")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
