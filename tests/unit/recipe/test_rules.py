"""Values that contradict one another are refused where they stand, with what would have a meaning."""

import pytest

from slm.errors import RecipeError
from slm.recipe import load_recipe, to_yaml

MINIMAL = "model: {name: x}\ndata: {train: a}\nevaluate: {suite: b}\n"


@pytest.fixture
def recipe_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(MINIMAL)
    return path


REFUSED = [
    ("lora.rank", ["train.method=full", "lora.rank=8"], "train.method: lora"),
    ("lora.targets", ["train.method=full", "lora.targets=[q_proj]"], "'all-linear' (the default)"),
    ("lora.ranks", ["train.method=full", "lora.ranks={q_proj: 2}"], "{} (the default)"),
    ("lora.init", ["train.method=full", "lora.init=loftq"], "'default' (the default)"),
    ("lora.dora", ["train.method=full", "lora.dora=true"], "False (the default)"),
    ("model.quantize", ["train.method=full", "model.quantize=nf4"], "model.quantize: none"),
    ("model.quantize", ["train.method=full", "model.quantize=int8"], "model.quantize: none"),
    ("lora.init", ["lora.init=loftq"], "model.quantize: nf4"),
    ("lora.init", ["lora.init=loftq", "model.quantize=int8"], "model.quantize: nf4"),
    ("lora.init", ["lora.init=pissa", "model.quantize=nf4"], "lora.init: loftq with model.quantize: nf4"),
    ("lora.dora", ["lora.dora=true", "lora.init=pissa"], "lora.init: default"),
    ("lora.dora", ["lora.dora=true", "lora.init=loftq", "model.quantize=nf4"], "lora.init: default"),
    ("lora.dora", ["lora.dora=true", "model.quantize=int8"], "model.quantize: nf4 or none"),
    ("watch.examples", ["watch.examples=9"], "a number of steps for watch.every, or 64 (the default)"),
    ("watch.keep", ["watch.keep=loss"], "or 'accuracy' (the default)"),
    ("watch.patience", ["watch.patience=3"], "or None (the default)"),
]


@pytest.mark.parametrize(("key", "overrides", "expected"), REFUSED, ids=[" ".join(row[1]) for row in REFUSED])
def test_a_contradiction_is_refused_at_the_key_that_means_nothing(recipe_file, key, overrides, expected):
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, overrides)
    text = str(caught.value)
    assert text.startswith("1 problem found")
    where = next(override for override in overrides if override.startswith(f"{key}="))
    assert f"override {where!r}: {key} is " in text
    assert expected in text.partition("  expected: ")[2]


@pytest.mark.parametrize(
    "overrides",
    [
        ["train.method=full", "lora.rank=16", "model.dtype=bfloat16"],  # a default says nothing
        ["lora.init=loftq", "model.quantize=nf4"],
        ["lora.init=pissa", "lora.rslora=true", "lora.ranks={q_proj: 2}"],
        ["lora.dora=true", "model.quantize=nf4"],
        ["watch.every=10", "watch.keep=loss", "watch.patience=2"],
        ["train.optimizer=paged-adamw-8bit", "train.recompute=true", "train.compile=true"],
    ],
)
def test_what_means_something_loads_and_so_does_its_resolved_form(recipe_file, tmp_path, overrides):
    recipe = load_recipe(recipe_file, overrides)
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(to_yaml(recipe))
    assert load_recipe(resolved) == recipe


def test_a_contradiction_with_the_file_has_its_line(recipe_file):
    recipe_file.write_text(MINIMAL + "lora:\n  rank: 4\n  dropout: 0.1\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe_file, ["train.method=full"])
    assert str(caught.value).startswith("2 problems found")
    assert f"{recipe_file}:5: lora.rank is 4 and train.method is full" in str(caught.value)
    assert f"{recipe_file}:6: lora.dropout is 0.1" in str(caught.value)


def test_a_misspelt_key_that_would_have_settled_it_is_the_only_problem(recipe_file):
    recipe_file.write_text(MINIMAL + "watch: {evry: 10, keep: loss}\n")
    with pytest.raises(RecipeError, match=r"^1 problem found(.|\n)*did you mean 'watch.every'"):
        load_recipe(recipe_file)
