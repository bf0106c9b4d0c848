"""The runs below a folder: found, listed, and compared by what differs in their recipes."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slm.errors import DataError
from slm.recipe import RunFolder
from slm.train.summary import read_json, read_recipe


def all_runs(folder: Path) -> list[RunFolder]:
    """Every training run below `folder`, oldest first. Raises DataError if there is no such folder."""
    if not folder.is_dir():
        raise DataError("no such folder", where=str(folder), expected="a folder of runs", hint="slm train RECIPE")
    runs = [RunFolder(path) for path in folder.iterdir() if (path / "recipe.yaml").is_file()]
    return sorted(runs, key=lambda run: (run.recipe.stat().st_mtime, run.path.name))


def find_run(name: str, folder: Path) -> RunFolder:
    """The run in the folder `name`, or of that name below `folder`. Raises DataError naming what is there."""
    for path in (Path(name), folder / name):
        if (path / "recipe.yaml").is_file():
            return RunFolder(path.resolve())
    known = [run.path.name for run in all_runs(folder)] if folder.is_dir() else []
    near = difflib.get_close_matches(Path(name).name, known, n=3, cutoff=0.4)
    raise DataError(
        "not a training run",
        where=name,
        expected=f"a folder with recipe.yaml, or a run in {folder}" + (f", such as {', '.join(near)}" if near else ""),
        hint=f"slm runs --runs {folder}",
    )


def differences(runs: Sequence[RunFolder]) -> dict[str, list[Any]]:
    """Dotted keys of the recipes that are not the same in all runs, with the value in each; None: no such key."""
    recipes = [_flat(read_recipe(run)) for run in runs]
    keys = dict.fromkeys(key for recipe in recipes for key in recipe if key != "description")
    rows = {key: [recipe.get(key) for recipe in recipes] for key in keys}
    return {key: values for key, values in rows.items() if any(value != values[0] for value in values)}


def accuracies(run: RunFolder) -> dict[str, float]:
    """Execution accuracy by suite, of the evaluations that lie in the run's folder."""
    found = {}
    for path in sorted((run.path / "results").glob("*.json")):
        result = read_json(path)
        if (value := result.get("accuracy", {}).get("value")) is not None:
            found[str(result.get("suite", path.stem))] = round(value, 4)
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return flat
