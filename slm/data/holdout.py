"""Examples held out of training: of whole contexts where there are several, so that they ask about unseen databases."""

import random
from collections.abc import Iterable, Sequence

from slm.data.sources import Dataset
from slm.errors import DataError
from slm.records import Example

_MOST = 5  # at most one in so many contexts, and one in so many examples, is kept from training
_CONTEXTS = 4  # a sample about fewer databases would say more about them than about the model


def hold_out(dataset: Dataset, count: int, seed: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """(examples to train on, at most `count` held out) of the available examples, each in the data's order.

    Whole contexts are held out, drawn with `seed` until they have `count` examples and are at least four; `count` of
    their examples are then drawn, and the others are not trained on either. Where contexts give not even half of that,
    single examples are held out, and none of them has its question or a target in common with one that is trained on.
    Never more than a fifth of the contexts and of the examples is kept from training, so a small data set gives a
    smaller sample. Raises DataError where not even one example can be held out.
    """
    examples = dataset.available
    rng = random.Random(f"hold out {seed}")  # noqa: S311 - a reproducible draw, not a secret
    contexts = _by_context(examples)
    most = len(examples) // _MOST
    drawn = _draw(contexts, count, rng, most=most, most_groups=len(contexts) // _MOST, fewest_groups=_CONTEXTS)
    if len(drawn) < min(count, most) / 2:
        single = _draw(_alike(examples), count, rng, most=most, most_groups=len(examples), fewest_groups=1)
        drawn = max(drawn, single, key=len)
    if not drawn:
        raise DataError(
            f"no example can be held out of {len(examples)}: a fifth at most, and none that is trained on as well",
            where=dataset.name,
            expected="at least five examples that share no question and no target",
            hint="more training examples, or watch.every=null",
        )
    held_out = sorted(rng.sample(drawn, min(count, len(drawn))))
    kept_out = set(drawn)
    train = tuple(example for number, example in enumerate(examples) if number not in kept_out)
    return train, tuple(examples[number] for number in held_out)


def describe_hold_out(dataset: Dataset, train: Sequence[Example], held_out: Sequence[Example]) -> str:
    """What `hold_out` did, for people: `held out 64 examples about 4 databases that training does not see …`."""
    contexts = {example.context_id for example in held_out}
    unseen = contexts.isdisjoint(example.context_id for example in train)
    about = f" about {len(contexts)} databases that training does not see" if unseen else ""
    unused = len(dataset.available) - len(train) - len(held_out)
    others = f", {unused} more like them are not used" if unused else ""
    return f"held out {len(held_out)} examples{about}{others}; {len(train)} to train on"


def _draw(
    groups: Sequence[Sequence[int]], count: int, rng: random.Random, *, most: int, most_groups: int, fewest_groups: int
) -> list[int]:
    """Numbers of the examples of whole groups, drawn until they are `count` or the limits are met."""
    drawn: list[int] = []
    taken = 0
    for group in rng.sample(groups, len(groups)):
        enough = len(drawn) >= count and taken >= fewest_groups
        if enough or taken == most_groups:
            break
        if len(drawn) + len(group) <= most:
            drawn.extend(group)
            taken += 1
    return drawn


def _by_context(examples: Iterable[Example]) -> list[list[int]]:
    groups: dict[str, list[int]] = {}
    for number, example in enumerate(examples):
        groups.setdefault(example.context_id, []).append(number)
    return list(groups.values())


def _alike(examples: Sequence[Example]) -> list[list[int]]:
    """Groups of examples: those with an equal question or target, directly or by way of others, are in one."""
    from scipy.sparse import coo_array  # takes a moment to import
    from scipy.sparse.csgraph import connected_components

    first: dict[tuple[str, str], int] = {}
    links: list[tuple[int, int]] = []
    for number, example in enumerate(examples):
        keys = [("question", _plain(example.question)), *(("target", _plain(target)) for target in example.targets)]
        links.extend((number, first.setdefault(key, number)) for key in keys)
    ends = tuple(zip(*links, strict=True))
    graph = coo_array(([1] * len(links), ends), shape=(len(examples), len(examples)))
    groups: dict[int, list[int]] = {}
    for number, group in enumerate(connected_components(graph, directed=False)[1].tolist()):
        groups.setdefault(group, []).append(number)
    return list(groups.values())


def _plain(text: str) -> str:
    """The text without what makes no other question or query of it: case, spacing, a last semicolon."""
    return " ".join(text.casefold().split()).rstrip("; ")
