"""Recipes load or say everything that is wrong with them at once, with places."""

import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.errors import RecipeError
from slm.recipe import Recipe, known_keys, load_recipe, recipe_hash, to_yaml

MINIMAL = """\
model:
  name: smollm2-135m
data:
  train: roastery:train
evaluate:
  suite: roastery:test
"""


@pytest.fixture
def write(tmp_path):
    def _write(text: str, name: str = "mine.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def problems(path: Path | str, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(path, overrides)
    return str(caught.value)


def test_minimal_recipe_gets_the_defaults_and_its_file_s_name(write):
    recipe = load_recipe(write(MINIMAL))
    assert recipe.name == "mine"
    assert recipe.train.learning_rate == 2e-4
    assert recipe.task.chat == "auto"
    assert recipe.lora.targets == "all-linear"


def test_three_mistakes_are_three_located_messages_in_one_error(write):
    path = write(MINIMAL + "train:\n  epochs: many\n  learnig_rate: 1e-4\nlora:\n  dropout: 1\n")
    text = problems(path)
    assert text.startswith("3 problems found")
    assert f"{path}:8: train.epochs is 'many'\n  expected: a number above 0" in text
    assert f"{path}:9: unknown key 'train.learnig_rate'\n  expected: did you mean 'train.learning_rate'?" in text
    assert f"{path}:11: lora.dropout is 1\n  expected: a number from 0 below 1" in text


@pytest.mark.parametrize(
    ("line", "key", "meant"),
    [
        ("learning_rate: 1e-4", "learning_rate", "train.learning_rate"),
        ("trian: {epochs: 2}", "trian", "train"),
        ("lora: {dtype: float32}", "lora.dtype", "model.dtype"),
        ("train: {lr: 1}", "train.lr", "train.learning_rate"),
        ("tasks: {name: text-to-sql}", "tasks", "task"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one_in_any_section(write, line, key, meant):
    path = write(MINIMAL + line)
    located = f"{path}:7: unknown key '{key}'\n  expected: did you mean '{meant}'?"
    assert problems(path) == f"1 problem found\n\n{located}"


def test_an_unknown_key_like_no_other_lists_the_keys_of_its_section(write):
    assert "expected: one of generate.max_new_tokens, generate.batch_size" in problems(
        write(MINIMAL + "generate: {xyzzy: 1}")
    )


def test_a_dotted_key_in_a_file_is_told_where_to_go(write):
    assert "a section `train:` with `epochs:` below it" in problems(write(MINIMAL + "train.epochs: 2\n"))


def test_a_misspelt_required_key_is_one_problem_not_two(write):
    text = problems(write(MINIMAL.replace("suite:", "siute:")))
    assert text.startswith("1 problem found")
    assert "did you mean 'evaluate.suite'" in text


def test_missing_keys_are_located_at_their_section_or_the_file(write):
    path = write("model:\n  dtype: float32\n")
    text = problems(path)
    assert f"{path}:2: missing key 'model.name'" in text
    assert f"{path}: missing key 'data.train'" in text
    assert f"{path}: missing key 'evaluate.suite'" in text


def test_a_repeated_key_is_an_error_in_sections_and_on_top(write):
    path = write(MINIMAL + "train:\n  epochs: 1\n  epochs: 2\ntrain:\n  seed: 1\n")
    text = problems(path)
    assert f"{path}:9: key 'train.epochs' stands twice\n  expected: only the one of line 8" in text
    assert f"{path}:10: key 'train' stands twice" in text


@pytest.mark.parametrize(
    ("text", "line"),
    [("model:\n  name: [x\n", 3), ("model:\n\tname: x\n", 2), ("a: 1\n---\nb: 2\n", 2), ("model: *nowhere\n", 1)],
)
def test_a_yaml_error_has_its_line_and_no_consequential_errors(write, text, line):
    path = write(text)
    message = problems(path)
    assert message.startswith(f"1 problem found\n\n{path}:{line}: not readable as YAML")


@pytest.mark.parametrize("text", ["- a\n", "just text\n", "model: 3\n", "model: [1]\n"])
def test_wrong_shapes_are_located(write, text):
    path = write(text)
    assert f"{path}" in problems(path)


def test_unsafe_or_recursive_yaml_is_refused_where_it_stands(write):
    path = write(MINIMAL + "train:\n  epochs: !!python/object/apply:os.getcwd []\nlora:\n  targets: &x [*x]\n")
    text = problems(path)
    assert f"{path}:8: train.epochs" in text
    assert f"{path}:10: lora.targets" in text


_PIECES = (
    "model data train evaluate name suite extends epochs targets"
    " 1 2021-99-99 0b_ null ' [ ] { } &a *a !!int !!binary << ? | #"
)
_yaml_like = st.lists(
    st.sampled_from([*_PIECES.split(), ": ", "- ", " ", "\n", "\n  ", "\t", "\x00", "%YAML", "---\n", "9" * 400]),
    max_size=25,
).map("".join)


def report_of(path: Path | str, *overrides: str) -> str | None:
    try:
        load_recipe(path, overrides)
    except RecipeError as error:
        return str(error)
    return None


@given(_yaml_like)
def test_whatever_a_file_says_it_loads_or_is_a_located_error(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text)
    assert str(path) in report_of(path), "no such file has all required keys"


@given(st.sampled_from(["train.epochs", "lora.targets", "train", "x", ""]), _yaml_like)
def test_whatever_an_override_says_it_applies_or_is_a_located_error(key, value):
    report = report_of("quickstart", f"{key}={value}")
    assert report is None or f"override {f'{key}={value}'!r}" in report


def test_unreadable_bytes_are_an_error(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"model:\n  name: \xff\xfe\n")
    assert "not readable as YAML" in problems(path)


def test_an_empty_section_means_defaults(write):
    assert load_recipe(write(MINIMAL + "train:\n  # epochs: 3\n")).train.epochs == 1


@pytest.mark.parametrize("number", ["1e-4", "1.0e-4", "1E-4", "0.0001"])
def test_a_number_may_lack_its_dot(write, number):
    assert load_recipe(write(MINIMAL + f"train: {{learning_rate: {number}}}")).train.learning_rate == 1e-4


@pytest.mark.parametrize(
    "line",
    [
        "train: {epochs: true}",
        "train: {epochs: .nan}",
        "train: {epochs: .inf}",
        "train: {learning_rate: 0}",
        "train: {warmup: 1}",
        "train: {batch_tokens: 1.5}",
        "train: {max_steps: 0}",
        "lora: {rank: 0}",
        "lora: {rank: '16'}",
        "lora: {targets: []}",
        "lora: {targets: everything}",
        "lora: {ranks: 8}",
        "lora: {ranks: {q_proj: 0}}",
        "lora: {ranks: {q_proj: 1.5}}",
        "lora: {ranks: {1: 4}}",
        "lora: {alphas: {q_proj: -1}}",
        "lora: {init: olora}",
        "lora: {plus_ratio: 0.5}",
        "train: {optimizer: adam}",
        "train: {trackers: [tensorbord]}",
        "train: {trackers: wandb}",
        "train: {neftune: -1}",
        "watch: {every: 0}",
        "data: {train: 3}",
        "task: {name: text-to-cypher}",
        "task: {chat: maybe}",
        "generate: {batch_size: null}",
        "name: a/b",
    ],
)
def test_values_out_of_range_or_of_another_type_are_refused_by_key(write, line):
    text = MINIMAL.replace("data:\n  train: roastery:train\n", "") if line.startswith("data") else MINIMAL
    message = problems(write(text + line))
    section, _, rest = line.partition(": ")
    key = f"{section}.{rest[1:].split(':')[0]}" if rest.startswith("{") else section
    assert message.startswith("1 problem found")
    assert f": {key} is " in message
    assert f"expected: {known_keys()[key].expected}" in message


def test_overrides_win_and_are_located(write):
    path = write(MINIMAL + "train: {epochs: 0}\n")
    recipe = load_recipe(path, ["train.epochs=2", "train.learning_rate=1e-4", "lora.targets=[q_proj]", "data.limit="])
    assert (recipe.train.epochs, recipe.train.learning_rate) == (2, 1e-4)
    assert (recipe.lora.targets, recipe.data.limit) == (("q_proj",), None)
    text = problems(path, "train.lr=1", "train.epochs=-1", "seed", "train=3", "lora.rank=[")
    assert text.startswith("5 problems found")
    assert "override 'train.lr=1': unknown key 'train.lr'\n  expected: did you mean 'train.learning_rate'?" in text
    assert "override 'train.epochs=-1': train.epochs is -1" in text
    assert "override 'seed': no `=` in it" in text
    assert "override 'train=3': 'train' is a section" in text
    assert "override 'lora.rank=[': not readable as YAML" in text
    assert "override 'lora.rank=!!int': not readable" in problems(path, "train.epochs=1", "lora.rank=!!int")


def test_extends_merges_section_by_section_key_by_key(write):
    write(MINIMAL + "name: base\ndescription: the base\ntrain: {epochs: 3, seed: 7}\n", "base.yaml")
    recipe = load_recipe(write("extends: base.yaml\ntrain: {epochs: 1}\n", "derived.yaml"))
    assert (recipe.name, recipe.description) == ("derived", "")
    assert (recipe.train.epochs, recipe.train.seed) == (1, 7)


def test_extends_reports_problems_of_both_files(write):
    base = write(MINIMAL + "lora: {rank: 0}\n", "base.yaml")
    derived = write("extends: base.yaml\ntrain: {epochs: 0}\n", "derived.yaml")
    text = problems(derived)
    assert f"{base}:7: lora.rank is 0" in text
    assert f"{derived}:2: train.epochs is 0" in text


def test_extends_goes_one_level_and_needs_its_file(write):
    write(MINIMAL, "a.yaml")
    middle = write("extends: a.yaml\n", "b.yaml")
    assert f"{middle}:1: `extends` in a recipe that is itself extended" in problems(
        write("extends: b.yaml\n", "c.yaml")
    )
    itself = write("extends: d.yaml\n", "d.yaml")
    assert f"{itself}:1: `extends` in a recipe" in problems(itself)
    lost = write("extends: nowhere.yaml\n", "e.yaml")
    assert problems(lost).startswith(f"1 problem found\n\n{lost}:1: extends is 'nowhere.yaml': no such file")


def test_an_unknown_recipe_lists_what_there_is():
    text = problems("quikstart")
    assert "gemma3-270m-spider" in text
    assert "try: slm recipe show quickstart" in text


def test_a_bare_name_is_a_shipped_recipe():
    assert load_recipe("quickstart").name == "quickstart"


_text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)
_name = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=20)
_positive = st.floats(1e-9, 1e6, allow_nan=False)
_share = st.floats(0, 0.999)
_count = st.integers(1, 2**40)
_recipes = st.builds(
    lambda **sections: Recipe.model_validate(sections),
    name=_name,
    description=st.one_of(st.just(""), _text),
    task=st.fixed_dictionaries({}, optional={"chat": st.sampled_from(["auto", True, False])}),
    model=st.fixed_dictionaries({"name": _text}, optional={"quantize": st.sampled_from(["none", "nf4"])}),
    lora=st.fixed_dictionaries(
        {},
        optional={
            "rank": _count,
            "alpha": _positive,
            "dropout": _share,
            "targets": st.one_of(st.just("attention"), st.lists(_text, min_size=1, max_size=3)),
            "ranks": st.dictionaries(_text, _count, max_size=2),
            "alphas": st.dictionaries(_text, _positive, max_size=2),
            "rslora": st.booleans(),
            "plus_ratio": st.floats(1, 100),
        },
    ),
    data=st.fixed_dictionaries(
        {"train": _text}, optional={"databases": _text, "limit": st.none() | _count, "seed": st.integers(0, 2**40)}
    ),
    train=st.fixed_dictionaries(
        {},
        optional={
            "epochs": _positive,
            "learning_rate": st.floats(1e-9, 1),
            "warmup": _share,
            "max_steps": _count,
            "optimizer": st.sampled_from(["adamw", "lion"]),
            "trackers": st.lists(st.sampled_from(["wandb", "mlflow"]), max_size=2),
        },
    ),
    watch=st.fixed_dictionaries(
        {"every": _count}, optional={"keep": st.just("loss"), "patience": st.none() | _count, "examples": _count}
    ),
    evaluate=st.fixed_dictionaries({"suite": _text}, optional={"timeout_s": _positive}),
)


@given(_recipes)
def test_a_resolved_recipe_loads_to_itself(tmp_path_factory, recipe):
    path = tmp_path_factory.mktemp("resolved") / "recipe.yaml"
    path.write_text(to_yaml(recipe), encoding="utf-8")
    again = load_recipe(path)
    assert again == recipe
    assert recipe_hash(again) == recipe_hash(recipe)


def test_maps_and_lists_of_choices_are_read_from_files_and_overrides(write):
    path = write(
        MINIMAL + "lora:\n  ranks:\n    down_proj: 8\n    q_proj: 4\ntrain:\n  trackers: [tensorboard, mlflow]\n"
    )
    recipe = load_recipe(path, ["lora.alphas={q_proj: 1e1}"])
    assert (recipe.lora.ranks, recipe.lora.alphas) == ({"down_proj": 8, "q_proj": 4}, {"q_proj": 10.0})
    assert recipe.train.trackers == ("tensorboard", "mlflow")
    other_order = write(
        path.read_text().replace("down_proj: 8\n    q_proj: 4", "q_proj: 4\n    down_proj: 8"), "b.yaml"
    )
    assert recipe_hash(load_recipe(other_order, ["lora.alphas={q_proj: 10}"])) == recipe_hash(recipe)


def test_a_repeated_name_in_a_map_is_an_error(write):
    path = write(MINIMAL + "lora:\n  ranks:\n    q_proj: 8\n    q_proj: 4\n")
    assert f"{path}:10: key 'lora.ranks.q_proj' stands twice\n  expected: only the one of line 9" in problems(path)
