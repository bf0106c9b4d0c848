"""A finished run whose adapter changes the answers, made in a second: what a training leaves behind, without one."""

from pathlib import Path

import torch

from slm.files import write_json, write_text
from slm.models import find_model, model_fingerprint
from slm.models.load import count_parameters, load_model
from slm.models.lora import add_lora, save_adapter
from slm.recipe import RunFolder, load_recipe, to_yaml
from slm.train import weights_hash
from tiny import make_tiny_model


def make_tiny_run(family: str, folder: Path, *overrides: str) -> RunFolder:
    """`folder`/base is the tiny model of `family`, `folder`/run-0123abcd the run; `overrides` change its recipe."""
    base = make_tiny_model(family, folder / "base")
    few = [f"model.name={base}", "data.limit=24", "evaluate.limit=4", "generate.max_new_tokens=8", "lora.rank=4"]
    recipe = load_recipe("quickstart", [*few, *overrides])
    run = RunFolder(folder / "run-0123abcd")
    model = load_model(base, dtype="float32", quantize=recipe.model.quantize)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        adapted = add_lora(model, recipe.lora, folder=base)
        for name, value in adapted.named_parameters():
            if "lora_B" in name:  # which starts as zeros
                torch.nn.init.normal_(value, std=0.05)
    save_adapter(adapted, run.adapter)
    write_text(run.recipe, to_yaml(recipe))
    entry = find_model(str(base))
    write_json(
        run.card,
        {"parameters": count_parameters(load_model(base, dtype="float32"))[1], "model": model_fingerprint(entry)}
        | {"adapter": weights_hash(run)},
    )
    return run
