"""A user plans a training, runs it, and sees that it took what was predicted."""

import json

import pytest

SMALL = ["data.train=roastery:train", "evaluate.suite=roastery:test", "data.limit=60", "train.max_steps=2"]


def test_a_run_takes_what_was_predicted(slm, tiny_llama):
    """Tiny weights but large packs, so that what training adds to the process is not a trifle."""
    more = ["train.batch_tokens=4096", "lora.rank=8"]
    trained = slm("train", "quickstart", f"model.name={tiny_llama}", *SMALL, *more)
    assert "plan: " in trained.stderr
    (row,) = json.loads(slm("plan", "--history").stdout)
    assert abs(row["error"]) < 0.10, row
    assert row["measured_mb"] > 200
    (shown,) = json.loads(slm("runs", "show", row["run"]).stdout)
    assert shown["predicted_memory_mb"] == row["predicted_mb"]


def test_a_plan_for_a_gpu_that_is_not_here(slm):
    options = ["--gpu", "h200", "--mfu", "0.3", "--serve"]
    (made,) = json.loads(slm("plan", "gemma3-1b-spider", *SMALL, *options).stdout)
    assert made["memory"]["weights"] == pytest.approx(2e9, rel=0.01)
    assert made["total"] == sum(made["memory"].values())
    assert made["fits"]
    assert made["margin"] == made["memory_limit"] - made["total"]
    assert made["serving"]["kv_cache"] > 1e8
    assert made["cost"]["mfu_from"] == "stated"
    wrong = slm("plan", "quickstart", "--gpu", "h10", expect=2)
    assert "did you mean h100" in wrong.stderr
    assert "no recipe is given" in slm("plan", expect=2).stderr
