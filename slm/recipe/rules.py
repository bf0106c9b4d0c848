"""Values that contradict one another: each is right by itself, and together they cannot mean anything."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from slm.recipe.schema import LoraSection, Recipe, Section, WatchSection


@dataclass(frozen=True, slots=True)
class Contradiction:
    """`key` has a value that `other` leaves no meaning to. `expected` says what would have one."""

    key: str
    other: str
    problem: str
    expected: str


def contradictions(recipe: Recipe) -> list[Contradiction]:
    """All of a recipe's contradictions. Only values count, not where they come from: a default never contradicts."""
    return [*_full(recipe), *_first_values(recipe), *_dora(recipe), *_unwatched(recipe)]


def _full(recipe: Recipe) -> Iterator[Contradiction]:
    if recipe.train.method != "full":
        return
    method = "train.method"
    for name, value, default in _changed(recipe.lora, LoraSection()):
        yield Contradiction(
            f"lora.{name}", method, f"lora.{name} is {value!r} and train.method is full, which has no adapter",
            f"{default!r} (the default), or train.method: lora",
        )  # fmt: skip
    if recipe.model.quantize != "none":
        yield Contradiction(
            "model.quantize", method,
            f"model.quantize is {recipe.model.quantize} and train.method is full, which quantized weights cannot be",
            "model.quantize: none, or train.method: lora",
        )  # fmt: skip


def _first_values(recipe: Recipe) -> Iterator[Contradiction]:
    quantize = recipe.model.quantize
    if recipe.train.method == "full":
        return
    if recipe.lora.init == "pissa" and quantize != "none":
        yield Contradiction(
            "lora.init", "model.quantize",
            f"lora.init is pissa and model.quantize is {quantize}, but PiSSA takes its part out of full weights",
            "model.quantize: none, or lora.init: loftq with model.quantize: nf4",
        )  # fmt: skip
    if recipe.lora.init == "loftq" and quantize != "nf4":
        yield Contradiction(
            "lora.init", "model.quantize",
            f"lora.init is loftq and model.quantize is {quantize}, but LoftQ makes up for what 4 bits lose",
            "model.quantize: nf4, or lora.init: default",
        )  # fmt: skip


def _dora(recipe: Recipe) -> Iterator[Contradiction]:
    if not recipe.lora.dora or recipe.train.method == "full":
        return
    if recipe.lora.init != "default":
        yield Contradiction(
            "lora.dora", "lora.init",
            f"lora.dora is true and lora.init is {recipe.lora.init}, but DoRA starts from the weight as it is",
            "lora.init: default, or lora.dora: false",
        )  # fmt: skip
    if recipe.model.quantize == "int8":
        yield Contradiction(
            "lora.dora", "model.quantize",
            "lora.dora is true and model.quantize is int8, which PEFT cannot do together",
            "model.quantize: nf4 or none, or lora.dora: false",
        )  # fmt: skip


def _unwatched(recipe: Recipe) -> Iterator[Contradiction]:
    if recipe.watch.every is not None:
        return
    for name, value, default in _changed(recipe.watch, WatchSection()):
        yield Contradiction(
            f"watch.{name}", "watch.every", f"watch.{name} is {value!r}, but nothing is watched: watch.every is null",
            f"a number of steps for watch.every, or {default!r} (the default)",
        )  # fmt: skip


def _changed(section: Section, default: Section) -> Iterator[tuple[str, Any, Any]]:
    """(key, value, default) of every key that has not its default."""
    for name in type(section).model_fields:
        if (value := getattr(section, name)) != (usual := getattr(default, name)):
            yield name, value, usual
