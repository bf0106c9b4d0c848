"""One tuned run of a tiny model for all tests of serving; nobody may change it."""

from pathlib import Path

import pytest
import torch

from learned_run import make_run
from slm.generate.local import LocalBackend, load_local
from slm.recipe import RunFolder, load_recipe


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> RunFolder:
    torch.set_num_threads(1)
    return make_run("llama", tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def backend(run) -> LocalBackend:
    recipe = load_recipe(run.recipe)
    folder = Path(recipe.model.name)
    return load_local(folder, recipe.model, recipe.task, recipe.generate, adapter=run.adapter)
