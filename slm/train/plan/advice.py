"""What to change in a recipe so that it fits, with as many tokens in each optimizer step as before."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from slm.recipe import Recipe
from slm.recipe.rules import contradictions

_MOST_HALVINGS = 5


@dataclass(frozen=True)
class Change:
    """A changed recipe, and the overrides that make it."""

    recipe: Recipe
    overrides: tuple[str, ...]


def suggest(recipe: Recipe, longest: int, fits: Callable[[Recipe], bool]) -> Change | None:
    """The change that costs least among those after which `fits` is true; None where none is enough.

    Packs are halved while they still hold `longest`, the tokens of the longest example, and there are then twice as
    many of them in a step. That costs sharing, computing activations again about a third more time, and 4-bit weights
    change the model, so they come last.
    """
    for quantize in dict.fromkeys([recipe.model.quantize, "nf4"]):
        changes = [change for change in _changes(recipe, longest, quantize) if not contradictions(change.recipe)]
        if not changes or not fits(changes[-1].recipe):
            continue  # not even with the smallest packs
        return next(change for change in changes if change is changes[-1] or fits(change.recipe))
    return None


def _changes(recipe: Recipe, longest: int, quantize: str) -> Iterator[Change]:
    """From the cheapest to the one that needs the least memory."""
    train = recipe.train
    if quantize != recipe.model.quantize and train.method == "full":
        return
    most = int(math.log2(max(1, train.batch_tokens // max(1, longest))))
    halvings = range(min(_MOST_HALVINGS, most) + 1)
    options = [(count, again) for count in halvings for again in dict.fromkeys([train.recompute, True])]
    for count, again in sorted(options, key=lambda one: (one[0] + (one[1] and not train.recompute), one[1])):
        values: dict[str, Any] = {}
        if count:
            values |= {"batch_tokens": train.batch_tokens >> count, "packs_per_step": train.packs_per_step << count}
        if again != train.recompute:
            values["recompute"] = True
        overrides = [f"train.{key}={str(value).lower()}" for key, value in values.items()]
        model = recipe.model
        if quantize != model.quantize:
            model = model.model_copy(update={"quantize": quantize})
            overrides.append(f"model.quantize={quantize}")
        if overrides:
            changed = recipe.model_copy(update={"train": train.model_copy(update=values), "model": model})
            yield Change(changed, tuple(overrides))
