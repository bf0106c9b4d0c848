"""The real SmolLM2 through the command line: a faithful export is certified, one changed weight takes it away."""

import json

import pytest
from safetensors.torch import load_file, save_file

from slm.models.forms import FormSpec
from slm.ops import certificate_of, export
from smollm import make_smollm_run


@pytest.fixture
def run(tmp_path):
    return make_smollm_run(tmp_path / "runs", limit=4, max_new_tokens=16)


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
