"""The keys a recipe can have, as text for people: reference, expectations, and the nearest key to a misspelt one."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from slm.recipe.schema import Recipe


@dataclass(frozen=True, slots=True)
class Key:
    """One key, with dots (`train.learning_rate`). `expected` says in words what values it takes."""

    name: str
    required: bool
    default: Any
    expected: str
    description: str


@cache
def known_keys() -> Mapping[str, Key]:
    """Every key of a recipe by its dotted name, in the order of the schema."""
    schema = Recipe.model_json_schema()
    found: dict[str, Key] = {}
    for name, part in schema["properties"].items():
        section = _section_schema(schema, part)
        if section is None:
            found[name] = Key(name, False, part.get("default"), _expected(part), part["description"])
            continue
        required = section.get("required", [])
        for key, field in section["properties"].items():
            dotted = f"{name}.{key}"
            found[dotted] = Key(dotted, key in required, field.get("default"), _expected(field), field["description"])
    return found


@cache
def sections() -> tuple[str, ...]:
    """The names of a recipe's sections."""
    return tuple(dict.fromkeys(name.partition(".")[0] for name in known_keys() if "." in name))


def _section_schema(schema: dict[str, Any], part: dict[str, Any]) -> dict[str, Any] | None:
    reference = part.get("$ref")
    return schema["$defs"][reference.rpartition("/")[2]] if reference else None


def _expected(field: dict[str, Any]) -> str:
    if "anyOf" in field:
        return ", or ".join(_expected(choice) for choice in field["anyOf"])
    if "enum" in field or "const" in field:
        return " or ".join(f"`{value}`" for value in field.get("enum", [field.get("const")]))
    kind = field["type"]
    if kind in ("number", "integer"):
        return " ".join(["a number" if kind == "number" else "a whole number", *_bounds(field)])
    if "of" in field:
        return f"a list of {field['of']}"
    if field.get("minLength"):
        return "text that is not empty"
    if "pattern" in field:
        return "text without slashes that starts with neither dot nor space"
    if kind == "object":
        return f"module names, each with {_expected(field['additionalProperties'])}"
    if kind == "array" and "enum" in field["items"]:
        return f"a list out of {', '.join(f'`{value}`' for value in field['items']['enum'])}"
    words = {"boolean": "`true` or `false`", "null": "`null`", "string": "text"}
    return "a path" if field.get("format") == "path" else words[kind]


def _bounds(field: dict[str, Any]) -> Iterable[str]:
    words = {"exclusiveMinimum": "above", "minimum": "from", "maximum": "up to", "exclusiveMaximum": "below"}
    return (f"{word} {field[bound]:g}" for bound, word in words.items() if bound in field)


def nearest_key(key: str) -> str | None:
    """The known key that `key` (dotted) was likely meant to be, first in its own section, then in the others."""
    section, _, leaf = key.rpartition(".")
    if section and section not in sections():
        corrected = difflib.get_close_matches(section, sections(), n=1)
        section = corrected[0] if corrected else ""
    elif not section and (corrected := difflib.get_close_matches(leaf, sections(), n=1, cutoff=0.75)):
        return corrected[0]
    own = [name for name in known_keys() if name.rpartition(".")[0] == section]
    return _nearest(leaf, own, cutoff=0.6) or _nearest(leaf, known_keys(), cutoff=0.7)


def _nearest(leaf: str, names: Iterable[str], *, cutoff: float) -> str | None:
    by_leaf: dict[str, str] = {}
    for name in names:
        by_leaf.setdefault(name.rpartition(".")[2], name)
    close = difflib.get_close_matches(leaf.lower(), by_leaf, n=1, cutoff=cutoff)
    # People abbreviate: `lr` is far from `learning_rate` for difflib.
    initials = [known for known in by_leaf if "".join(word[0] for word in known.split("_")) == leaf.lower()]
    return by_leaf[(close or initials)[0]] if close or initials else None
