"""The proof of exact resume says so when runs are too short, fail or differ; tests/e2e/test_kill.py kills real ones."""

import dataclasses
import json
import sqlite3

import pytest

from slm.errors import JobError
from slm.recipe import Recipe
from slm.train import resume
from slm.train.resume import KilledRun, ResumeProof, verify_resume
from tiny import make_tiny_model


@pytest.fixture
def recipe(tmp_path, monkeypatch) -> Recipe:
    """A tiny model, and data for some dozen steps."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    folder = tmp_path / "data"
    (folder / "database" / "shop").mkdir(parents=True)
    with sqlite3.connect(folder / "database" / "shop" / "shop.sqlite") as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, total REAL)")
    rows = [
        {"question": f"How many above {n}?", "query": f"SELECT COUNT(*) FROM orders WHERE total > {n}", "db_id": "shop"}
        for n in range(160)
    ]
    (folder / "train.json").write_text(json.dumps(rows))
    return Recipe(
        name="job",
        model={"name": str(make_tiny_model("llama", tmp_path / "tiny"))},
        data={"train": f"{folder}:train"},
        lora={"dropout": 0.1},
        train={"batch_tokens": 800, "learning_rate": 1e-2},
        evaluate={"suite": "roastery:test"},
    )


def test_too_few_steps_and_a_failure_are_said(recipe, tmp_path):
    short = recipe.model_copy(update={"train": recipe.train.model_copy(update={"max_steps": 2})})
    with pytest.raises(JobError, match="only 2 steps"):
        verify_resume(short, tmp_path / "runs")
    gone = recipe.model_copy(update={"model": recipe.model.model_copy(update={"name": "/nowhere/model"})})
    with pytest.raises(JobError, match=r"failed:[\s\S]*nowhere"):
        verify_resume(gone, tmp_path / "runs")


def test_runs_that_differ_are_an_error(recipe, tmp_path, monkeypatch):
    run = KilledRun((), (), "a" * 64, "b" * 64)
    proof = ResumeProof(6, 0, (run, dataclasses.replace(run, kills=(3,), weights_sha256="c" * 64)))
    assert not proof.equal
    assert "DIFFERENT" in proof.describe()
    other = dataclasses.replace(run, optimizer_sha256="d" * 64)
    monkeypatch.setattr(resume, "_straight", lambda _: (run, 6))
    monkeypatch.setattr(resume, "_killed", lambda *_: other)
    with pytest.raises(JobError, match=r"did not end as one[\s\S]*DIFFERENT"):
        verify_resume(recipe, tmp_path / "runs")
