"""`accelerate launch -m slm.train RECIPE [key=value …] [--runs FOLDER]`: training on one or many processes."""

import argparse
import sys
from pathlib import Path

from slm.errors import SlmError
from slm.models.allocator import restart_without_cache
from slm.recipe import load_recipe
from slm.train import train


def main() -> int:
    """Train; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m slm.train", description=__doc__)
    parser.add_argument("recipe", help="a recipe file, or the name of a shipped recipe")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="such as train.learning_rate=1e-4")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--no-plan", action="store_true", help="start without planning the memory")
    options = parser.parse_args()
    try:
        recipe = load_recipe(options.recipe, options.overrides)
        print(train(recipe, options.runs, plan=not options.no_plan).path)
    except SlmError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    restart_without_cache()
    sys.exit(main())
