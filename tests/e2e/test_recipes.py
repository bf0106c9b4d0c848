"""Every shipped recipe runs: two optimizer steps and one generation, with a tiny model of the recipe's architecture."""

import json
from pathlib import Path

import pytest

from command import ROOT, TINY_RUN
from preloaded import run_slm
from slm.models import find_model
from slm.recipe import load_recipe
from tiny import make_tiny_model

RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_two_steps_and_a_generation(path: Path, tmp_path):
    recipe = load_recipe(str(path))
    family = find_model(recipe.model.name).family
    assert family is not None
    tiny = make_tiny_model(family, tmp_path / "tiny")
    arguments = [
        "run",
        str(path),
        f"model.name={tiny}",
        *TINY_RUN,
        "train.max_steps=2",
        "train.packs_per_step=1",
        "evaluate.limit=1",
        "data.databases=null",
        "evaluate.databases=null",
    ]
    done = run_slm(arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    before, after = json.loads(done.stdout)
    assert (before["tuned"], after["tuned"]) == (False, True)
    assert before["examples"] == after["examples"] == 1
    (card,) = tmp_path.glob("runs/*/card.json")
    assert json.loads(card.read_text())["totals"]["steps"] == 2
    assert "| " in (tmp_path / "LEADERBOARD.md").read_text()
