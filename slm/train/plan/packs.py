"""The packs that a plan is made from: those of the recipe's own data, or stated ones where it cannot be read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from slm.errors import DataError
from slm.models import find_model, list_models, model_folder
from slm.recipe import Recipe, TaskSection
from slm.train.encode import Encoded
from slm.train.job import prepare_data, training_data
from slm.train.loop import plan_steps
from slm.train.pack import Pack

# Tokens of a stated example, about those of Spider: its schema, its question, its query.
CONTEXT, QUESTION, TARGET = 400, 30, 40


@dataclass(frozen=True)
class PlannedData:
    """What is trained on, and a line on where it is from. `stated`: made up, so that nothing follows about time."""

    encoded: tuple[Encoded, ...]
    note: str
    stated: bool = False

    @property
    def longest(self) -> int:
        """Tokens of the longest example alone."""
        return max(one.tokens for one in self.encoded)

    @property
    def longest_prompt(self) -> int:
        """Tokens of the longest context with its question."""
        return max(len(one.context_ids) + len(one.question_ids) for one in self.encoded)

    def steps(self, recipe: Recipe) -> list[list[Pack]]:
        """The packs of each optimizer step."""
        if not self.stated:
            return plan_steps(self.encoded, recipe.train)
        return plan_steps(_stated(recipe.train.batch_tokens, recipe.train.packing), recipe.train)


def planned_data(recipe: Recipe) -> PlannedData:
    """The recipe's training examples as token ids, by its model's tokenizer, or by another one if that is not here.

    Raises DataError for a file of examples that is there and cannot be read.
    """
    entry = find_model(recipe.model.name)
    folders = {one.name: model_folder(one) for one in [entry, *list_models()]}
    tokenizer = next((name for name, folder in folders.items() if (folder / "tokenizer.json").is_file()), None)
    if tokenizer is None:
        return _stated_data(recipe, "no tokenizer is here")
    try:
        dataset = training_data(recipe)
    except DataError:
        if any(Path(ref).is_file() for ref in recipe.data.sources):
            raise
        return _stated_data(recipe, f"the data {' + '.join(recipe.data.sources)} is not here")
    if tokenizer != entry.name:  # it may have no chat template
        recipe = recipe.model_copy(update={"task": TaskSection()})
    encoded, _ = prepare_data(recipe, dataset, folders[tokenizer], quiet=True).encoded()
    note = f"{dataset.name}, {len(encoded):,} examples"
    if tokenizer != entry.name:
        note += f"; tokens counted by the tokenizer of {tokenizer}, as that of {entry.name} is not here"
    return PlannedData(tuple(encoded), note)


def demanding(packs: Sequence[Pack]) -> list[Pack]:
    """The packs that can need the most memory: of most tokens, most logits, widest branches, or largest mask."""
    measures: list[Callable[[Pack], int]] = [
        lambda pack: pack.padded_tokens,
        _logits,
        _padded_branches,
        lambda pack: sum(1 for _ in pack.examples) * _longest(pack) ** 2 if pack.padded else pack.tokens**2,
    ]
    chosen = [max(packs, key=measure) for measure in measures]
    return list({id(pack): pack for pack in chosen}.values())


def _stated_data(recipe: Recipe, why: str) -> PlannedData:
    shape = f"{CONTEXT} of context, {QUESTION} + {TARGET} for each question and its answer"
    note = f"stated packs of {recipe.train.batch_tokens} tokens ({shape}), as {why}"
    examples = _stated(recipe.train.batch_tokens, recipe.train.packing)
    return PlannedData(tuple(examples), note, stated=True)


def _stated(batch_tokens: int, packing: str) -> list[Encoded]:
    """As many examples of one context as fill a pack."""
    one = Encoded("stated", (0,) * CONTEXT, (0,) * QUESTION, (0,) * TARGET)
    room = batch_tokens // one.tokens if packing == "none" else (batch_tokens - CONTEXT) // one.branch_tokens
    return [one] * max(1, room)


def _logits(pack: Pack) -> int:
    """Rows of logits: padded rows have as many as the longest target."""
    if not pack.padded:
        return pack.target_tokens
    targets = [len(example.target_ids) for example in pack.examples]
    return len(targets) * max(targets)


def _padded_branches(pack: Pack) -> int:
    """Tokens of the branches, padded to the longest."""
    lengths = [example.branch_tokens for example in pack.examples]
    return len(lengths) * max(lengths)


def _longest(pack: Pack) -> int:
    return max(example.tokens for example in pack.examples)
