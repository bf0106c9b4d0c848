"""What a run was predicted to take is kept with it, and held against what it took."""

import json

import pytest

from slm.errors import DataError
from slm.recipe import Recipe, RunFolder, to_yaml
from slm.train.plan.record import RunPlan, history, read_plan, write_plan
from slm.train.summary import describe, summarise


def make_run(folder, *, predicted: int | None, measured: float | None) -> RunFolder:
    run = RunFolder(folder)
    folder.mkdir()
    recipe = Recipe(name="r", model={"name": "m"}, data={"train": "a"}, evaluate={"suite": "b"})
    run.recipe.write_text(to_yaml(recipe))
    if measured is not None:
        run.metrics.write_text(json.dumps({"step": 1, "loss": 1.0, "seconds": 1.0, "peak_memory_mb": measured}) + "\n")
    if predicted is not None:
        plan = RunPlan(
            device="cpu", processes=1, sharded=False, predicted_bytes=predicted, parts={"weights": 1}, planning_s=0.1
        )
        write_plan(run, plan)
        assert read_plan(run) == plan
    return run


def test_the_history_has_predicted_measured_and_their_difference(tmp_path):
    good = make_run(tmp_path / "good", predicted=1_050_000_000, measured=1000.0)
    unplanned = make_run(tmp_path / "unplanned", predicted=None, measured=1000.0)
    not_begun = make_run(tmp_path / "not-begun", predicted=10, measured=None)
    (row,) = history([good, unplanned, not_begun])
    assert row == {
        "run": "good", "model": "m", "device": "cpu", "predicted_mb": 1050.0, "measured_mb": 1000.0, "error": 0.05,
    }  # fmt: skip


def test_a_summary_shows_both(tmp_path):
    summary = summarise(make_run(tmp_path / "good", predicted=1_050_000_000, measured=1000.0))
    assert summary.predicted_memory_mb == 1050.0
    assert dict(describe(summary))["peak memory"] == "1,000 MB (1,050 MB predicted)"
    assert summarise(make_run(tmp_path / "other", predicted=None, measured=1.0)).predicted_memory_mb is None


def test_a_damaged_plan_is_named(tmp_path):
    run = make_run(tmp_path / "good", predicted=None, measured=None)
    run.plan.write_text('{"device": 3}')
    with pytest.raises(DataError, match=r"plan.json: not a plan"):
        read_plan(run)
