"""A finished run whose adapter changes the answers, made in a second: what a training leaves behind, without one."""

from pathlib import Path

import torch

from slm.files import write_json, write_text
from slm.models import find_model, model_fingerprint, pull_model
from slm.models.load import count_parameters, load_model
from slm.models.lora import add_lora, save_adapter
from slm.recipe import RunFolder, load_recipe, to_yaml
from slm.train import weights_hash
from tiny import make_tiny_model


def make_tiny_run(family: str, folder: Path, *overrides: str) -> RunFolder:
    """`folder`/base is the tiny model of `family`, `folder`/run-0123abcd the run; `overrides` change its recipe."""
    return make_run(str(make_tiny_model(family, folder / "base")), folder, *overrides)


def make_run(name: str, folder: Path, *overrides: str) -> RunFolder:
    """`folder`/run-0123abcd: a run of the quickstart with the model `name`, which is on this machine."""
    base = pull_model(name)
    few = [f"model.name={name}", "data.limit=24", "evaluate.limit=4", "generate.max_new_tokens=8", "lora.rank=4"]
    few += ["lora.init=default", "lora.upper=1"]  # an adapter of all layers, whose first values change nothing
    recipe = load_recipe("quickstart", [*few, *overrides])
    run = RunFolder(folder / "run-0123abcd")
    model = load_model(base, dtype="float32", quantize=recipe.model.quantize)
    parameters = count_parameters(model)[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        adapted = add_lora(model, recipe.lora, folder=base)
        for parameter, value in adapted.named_parameters():
            if "lora_B" in parameter:  # which starts as zeros
                torch.nn.init.normal_(value, std=0.05)
    save_adapter(adapted, run.adapter)
    write_text(run.recipe, to_yaml(recipe))
    card = {"parameters": parameters, "model": model_fingerprint(find_model(name)), "adapter": weights_hash(run)}
    write_json(run.card, card)
    return run
