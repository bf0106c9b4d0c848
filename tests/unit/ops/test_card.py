"""A model card says what is known, says so where nothing is, and never tells a path of this machine."""

import json
import shutil

import pytest
import yaml

from learned_run import make_form
from slm.errors import InputError, ModelError
from slm.files import write_json
from slm.ops import write_card
from slm.ops.parity import certificate_of
from slm.ops.parity.forms import certify_form
from slm.recipe import RunFolder
from slm.records import Rate, Result


@pytest.fixture(scope="module")
def run(tuned, tmp_path_factory) -> RunFolder:
    """The tuned run with a result."""
    folder = shutil.copytree(tuned.path, tmp_path_factory.mktemp("runs") / tuned.path.name)
    copied = RunFolder(folder)
    rate = Rate(right=7, total=8, value=0.875, low=0.529, high=0.978)
    fields = {"run": folder.name, "suite": "data:test", "model": "tiny", "examples": 8, "unavailable": 0}
    more = {"questions_fingerprint": "f", "by_reason": {}, "card": {}, "by_tag": {"difficulty": {"easy": rate}}}
    write_json(copied.result("data:test"), Result(**fields, **more, accuracy=rate))
    (copied.path / "results" / "old.json").write_text('{"run": "of another version"}')
    return copied


@pytest.fixture(scope="module")
def form(run, tmp_path_factory):
    return make_form(run, tmp_path_factory.mktemp("exports") / "merged")


def parts(folder):
    """(front matter, text)."""
    text = (folder / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def test_what_hubs_read(run, form):
    write_card(form, run)
    front, _ = parts(form)
    assert front == {
        "base_model": "llama-base",
        "base_model_relation": "finetune",
        "license": "unknown",
        "datasets": ["data"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["text-to-sql", "sql", "lora", "slm", "merged"],
    }


def test_what_people_read(run, form, workplace):
    write_card(form, run)
    _, body = parts(form)
    assert "| data:test | 8 | 7 | 87.5% (52.9% to 97.8%) |" in body
    assert "| data:test, difficulty: easy | 8 | 7 | 87.5% (52.9% to 97.8%) |" in body
    card = json.loads(run.card.read_text())
    assert card["adapter"] in body
    assert f"| torch | {card['versions']['torch']} |" in body
    assert "| its licence | unknown |" in body
    assert "Not certified" in body
    assert f"slm export runs/{run.path.name} --to merged --dtype float32\n" in body
    assert str(workplace) not in body
    assert str(form.parent) not in body


def test_the_same_facts_give_the_same_bytes_and_a_certificate_is_shown(run, form, reference):
    first = write_card(form, run).read_bytes()
    assert write_card(form, run).read_bytes() == first
    certify_form(reference, form)
    write_card(form, run)
    assert certificate_of(form) is not None, "the card must not take the certificate away"
    _, body = parts(form)
    assert "It answers as the run that was evaluated does: 8 of 8 answers are the same" in body
    (form / "parity.json").unlink()
    assert write_card(form, run).read_bytes() == first


def test_a_run_that_was_not_evaluated(tuned, form):
    write_card(form, tuned)
    assert "Unknown: the run was not evaluated." in parts(form)[1]


def test_licences_of_what_is_known(run, form, tmp_path):
    """The catalog's model and the embedded suite bring theirs."""
    folder = shutil.copytree(form, tmp_path / "form")
    known = shutil.copytree(run.path, tmp_path / run.path.name)
    recipe = yaml.safe_load((known / "recipe.yaml").read_text())
    recipe["data"]["train"], recipe["evaluate"]["suite"] = "roastery:train", "roastery:test"
    (known / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    told = json.loads((folder / "form.json").read_text())
    (folder / "form.json").write_text(json.dumps(told | {"model": "gemma3-1b", "kind": "adapter"}))
    write_card(folder, RunFolder(known))
    front, body = parts(folder)
    assert (front["license"], front["base_model"]) == ("gemma", "google/gemma-3-1b-it")
    assert (front["language"], front["library_name"]) == (["en"], "peft")
    assert front["datasets"] == ["roastery"]
    assert "| its licence | Apache-2.0 (part of slm) |" in body
    assert "[Gemma Terms of Use](https://ai.google.dev/gemma/terms)" in body


def test_a_folder_without_a_form_and_a_run_without_a_card(run, form, tmp_path):
    with pytest.raises(ModelError, match=r"no form\.json"):
        write_card(tmp_path, run)
    with pytest.raises(InputError, match="not a finished training run"):
        write_card(form, RunFolder(tmp_path))
