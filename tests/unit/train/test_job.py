"""A training job: done once for the same recipe, data, prompts and model; what it could not use is counted."""

import json
import sqlite3

import pytest

from slm import provenance
from slm.errors import DataError, JobError
from slm.recipe import Recipe, RunFolder
from slm.train import job, read_card, train
from tiny import make_tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_model("llama", tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def spider(tmp_path):
    """A folder in Spider's layout; one of its two databases is missing."""
    folder = tmp_path / "data"
    (folder / "database" / "shop").mkdir(parents=True)
    with sqlite3.connect(folder / "database" / "shop" / "shop.sqlite") as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, total REAL)")
    rows = [
        {"question": f"How many above {n}?", "query": f"SELECT COUNT(*) FROM orders WHERE total > {n}", "db_id": db}
        for n, db in enumerate(["shop"] * 6 + ["gone"] * 2)
    ]
    (folder / "train.json").write_text(json.dumps(rows))
    return folder


def recipe_for(tiny, spider, **settings) -> Recipe:
    return Recipe(
        name="job",
        model={"name": str(tiny)},
        data={"train": f"{spider}:train"},
        train={"batch_tokens": 150, "max_steps": 2, "learning_rate": 1e-2, **settings},
        evaluate={"suite": "roastery:test"},
    )


def test_a_training_is_done_once_and_its_card_says_what_was_used(tiny, spider, tmp_path, monkeypatch):
    run = train(recipe_for(tiny, spider), tmp_path / "runs")
    card = read_card(run)
    assert (card["examples"], card["unavailable_examples"]) == (6, 2)
    assert card["totals"]["steps"] == len(run.metrics.read_text().splitlines()) == 2
    assert (card["code"], card["versions"]) == (provenance.code_state(), provenance.versions())
    assert card["parameters"] > card["trainable_parameters"] > 0
    assert {path.name for path in run.adapter.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    monkeypatch.setattr(job, "_train_into", lambda *_: pytest.fail("trained again"))
    assert train(recipe_for(tiny, spider, checkpoint_every=7), tmp_path / "runs") == run


def test_another_recipe_other_prompts_and_other_data_are_other_folders(tiny, spider, tmp_path, monkeypatch):
    def folder(**settings):
        recipe = recipe_for(tiny, spider, **settings)
        return job.run_folder(recipe, job.training_data(recipe), tmp_path).path

    first = folder()
    assert folder() == first
    assert folder(learning_rate=2e-2) != first
    with monkeypatch.context() as patch:
        patch.setattr("slm.tasks.text_to_sql._INSTRUCTION", "Ask nicely.")
        assert folder() != first
    with sqlite3.connect(spider / "database" / "shop" / "shop.sqlite") as database:
        database.execute("INSERT INTO orders VALUES (1, 2.5)")
    assert folder() != first


def test_processes_that_do_not_know_of_one_another_are_refused(tiny, spider, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("accelerate.Accelerator", lambda **_: type("Alone", (), {"num_processes": 1}))
    with pytest.raises(JobError, match="2 processes were started, but this one sees 1"):
        train(recipe_for(tiny, spider), tmp_path)


def test_a_damaged_card_is_named(tmp_path):
    run = RunFolder(tmp_path)
    run.card.write_text("{")
    with pytest.raises(DataError, match=r"card.json: not readable as JSON"):
        read_card(run)
