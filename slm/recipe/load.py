"""From a file (or a shipped recipe's name) and overrides to a `Recipe`, or one error with every problem."""

import difflib
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from slm.errors import RecipeError
from slm.paths import shipped
from slm.recipe.keys import known_keys, sections
from slm.recipe.parse import Entry, Source, read_file, read_overrides
from slm.recipe.rules import contradictions
from slm.recipe.schema import Recipe


def load_recipe(path_or_name: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Load a recipe file, or the shipped recipe of that name, and apply `key=value` overrides.

    Raises RecipeError with all problems, each with file and line (or the override), what was expected, and the
    nearest known key for one that is not known. Values that contradict one another are found once each is right by
    itself.
    """
    path = _find(str(path_or_name))
    source = Source()
    read_file(path, source)
    read_overrides(overrides, source)
    source.entries.setdefault("name", Entry(path.stem, str(path)))
    recipe = _validate(source, path)
    if recipe is None or source.problems:
        raise RecipeError.of(source.problems)
    return recipe


def to_yaml(recipe: Recipe) -> str:
    """The resolved recipe, every key written out; loading it gives the same recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=120)


def shipped_recipes() -> tuple[str, ...]:
    """Names of the recipes that ship with slm."""
    return tuple(sorted(path.stem for path in shipped("recipes").glob("*.yaml")))


def _find(text: str) -> Path:
    path = Path(text)
    if path.is_file():
        return path
    names = shipped_recipes()
    if text in names:
        return shipped("recipes", f"{text}.yaml")
    near = difflib.get_close_matches(path.stem, names, n=1)
    raise RecipeError(
        "no such recipe",
        where=text,
        expected=f"a recipe file, or one of the shipped recipes: {', '.join(names)}",
        hint=f"slm recipe show {near[0]}" if near else None,
    )


def _validate(source: Source, path: Path) -> Recipe | None:
    values: dict[str, Any] = {section: {} for section in sections()}
    for dotted, entry in source.entries.items():
        section, _, key = dotted.rpartition(".")
        (values[section] if section else values)[key] = entry.value
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        # One problem a key: a union reports each of its members.
        wrong = {".".join(map(str, _key_of(problem["loc"]))): problem["type"] for problem in error.errors()}
    else:
        _note_contradictions(recipe, source)
        return recipe
    for dotted, kind in wrong.items():
        if kind == "missing" and dotted not in source.entries:
            _note_missing(dotted, source, path)
        else:
            _note_wrong(dotted, source.entries, source)
    return None


def _key_of(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    return location[:2] if location[0] in sections() else location[:1]


def _note_missing(dotted: str, source: Source, path: Path) -> None:
    if source.broken or dotted in source.meant or dotted.partition(".")[0] in source.meant:
        return
    key = known_keys()[dotted]
    where = source.places.get(dotted.partition(".")[0], str(path))
    source.problem(where, f"missing key {dotted!r}", expected=f"{key.expected}: {key.description}")


def _note_wrong(dotted: str, entries: Mapping[str, Entry], source: Source) -> None:
    entry = entries[dotted]
    source.problem(entry.where, f"{dotted} is {reprlib.repr(entry.value)}", expected=known_keys()[dotted].expected)


def _note_contradictions(recipe: Recipe, source: Source) -> None:
    for found in contradictions(recipe):
        if found.other not in source.meant:  # a misspelt key would have settled it
            source.problem(source.entries[found.key].where, found.problem, expected=found.expected)
