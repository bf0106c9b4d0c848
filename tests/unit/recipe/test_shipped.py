"""What ships is sound: every recipe, every accelerate file, and the reference of every key."""

import re
from pathlib import Path

import pytest
import yaml

from slm.data import list_suites
from slm.paths import shipped
from slm.recipe import Key, known_keys, load_recipe, shipped_recipes

ROOT = Path(__file__).parents[3]
ACCELERATE = sorted(shipped("configs", "accelerate").glob("*.yaml"))


def opening(path: Path) -> str:
    """The comment that a file opens with."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return "\n".join(lines[: next(n for n, line in enumerate(lines) if not line.startswith("#"))])


def check_paths(text: str) -> None:
    for path in re.findall(r"(?:recipes|configs)/[\w./-]+\.yaml", text):
        assert (ROOT / path).is_file(), f"{path} is named but is not there"


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_loads_and_opens_with_the_command_that_runs_it(name):
    path = shipped("recipes", f"{name}.yaml")
    recipe = load_recipe(name)
    assert recipe.description
    assert f"#   slm run recipes/{name}.yaml\n" in opening(path) + "\n"
    check_paths(opening(path))
    catalog = {entry["name"]: entry for entry in yaml.safe_load(shipped("configs", "models.yaml").read_text())}
    assert recipe.model.name in catalog
    accepts = f"slm models pull {recipe.model.name} --accept-license" in opening(path)
    assert accepts == catalog[recipe.model.name].get("accept", False), "a licence to accept is part of the command"


@pytest.mark.parametrize("name", [name for name in shipped_recipes() if name != "own-data"])
def test_every_shipped_recipe_names_suites_that_ship_and_trains_on_other_data_than_it_is_scored_on(name):
    refs = {f"{suite.name}:{split}" for suite in list_suites() for split in suite.splits}
    recipe = load_recipe(name)
    assert {recipe.data.train, recipe.evaluate.suite} <= refs
    assert recipe.data.train != recipe.evaluate.suite


def test_a_note_stands_beside_the_keys_that_are_a_trade_off():
    notes = re.findall(r"(\w+): \S+ +# \S", "".join(path.read_text() for path in shipped("recipes").glob("*.yaml")))
    assert {"rank", "epochs", "batch_tokens", "packs_per_step", "learning_rate", "quantize", "limit"} <= set(notes)


@pytest.mark.parametrize("path", ACCELERATE, ids=lambda path: path.stem)
def test_every_accelerate_file_loads_and_opens_with_the_command_that_uses_it(path):
    config_args = pytest.importorskip("accelerate.commands.config.config_args", reason="accelerate is not installed")
    config = config_args.load_config_from_file(str(path))
    assert isinstance(config, config_args.ClusterConfig)
    assert config.num_processes >= 1
    assert config.mixed_precision == "no", "the recipe decides"
    assert f"accelerate launch --config_file configs/accelerate/{path.name}" in opening(path)
    check_paths(opening(path))


def reference_row(key: Key) -> str:
    default = f"{key.default:g}" if isinstance(key.default, float) else key.default
    if isinstance(default, bool):
        default = str(default).lower()
    shown = "`null`" if default is None else "empty" if default in ("", [], {}) else f"`{default}`"
    shown = "**required**" if key.required else shown
    if key.name == "name":
        shown = "the file's name"
    return f"| `{key.name}` | {shown} | {key.expected} | {key.description} |"


def test_the_reference_in_the_docs_has_every_key_and_no_other():
    written = [line for line in (ROOT / "docs" / "recipes.md").read_text().splitlines() if line.startswith("| `")]
    table = [line for line in written if line.count(" | ") == 3 and not line.startswith("| `quickstart")]
    rows = [line for line in table if line.split("`")[1] not in shipped_recipes()]
    assert rows == [reference_row(key) for key in known_keys().values()]


def test_the_docs_name_every_shipped_recipe_and_accelerate_file():
    text = (ROOT / "docs" / "recipes.md").read_text()
    assert all(f"| `{name}` |" in text for name in shipped_recipes())
    assert all(f"[{path.name}](../configs/accelerate/{path.name})" in text for path in ACCELERATE)
