"""A finished run of a tiny model that really learned eight answers, and merged forms of it."""

import json
import sqlite3
from pathlib import Path

from slm.models import find_model, model_fingerprint
from slm.models.forms import load_answering, write_form
from slm.models.load import count_parameters, save_model
from slm.recipe import Recipe, RunFolder, load_recipe
from slm.train import read_card, train
from tiny import make_tiny_model

PAIRS = [
    ("How many orders are there?", "SELECT COUNT(*) FROM orders"),
    ("What is the largest total?", "SELECT MAX(total) FROM orders"),
    ("What is the lowest total?", "SELECT MIN(total) FROM orders"),
    ("What is the average total?", "SELECT AVG(total) FROM orders"),
    ("Total of all orders?", "SELECT SUM(total) FROM orders"),
    ("List every name.", "SELECT name FROM orders"),
    ("Which city is first?", "SELECT city FROM orders ORDER BY id LIMIT 1"),
    ("How many each year?", "SELECT year, COUNT(*) FROM orders GROUP BY year"),
]


def make_data(folder: Path) -> Path:
    """A folder in Spider's layout, whose test asks what train has taught."""
    (folder / "database" / "shop").mkdir(parents=True)
    with sqlite3.connect(folder / "database" / "shop" / "shop.sqlite") as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT, city TEXT, total REAL, year INT)")
        rows = [("Ann", "Rome", 2.5, 2019), ("Bo", "Oslo", 7.0, 2020), ("Cy", "Rome", 11.0, 2020)]
        database.executemany("INSERT INTO orders (name, city, total, year) VALUES (?, ?, ?, ?)", rows)
    database.close()
    rows = [{"question": question, "query": sql, "db_id": "shop"} for question, sql in PAIRS]
    for split in ("train", "test"):
        (folder / f"{split}.json").write_text(json.dumps(rows))
    return folder


def make_run(family: str, folder: Path, *, name: str = "tiny", **settings) -> RunFolder:
    """Train a tiny model of `family` below `folder` until it knows the answers by heart: some seconds."""
    base, data = folder / f"{family}-base", folder / "data"
    if not base.exists():
        make_tiny_model(family, base)
    if not data.exists():
        make_data(data)
    recipe = Recipe(
        name=name,
        model={"name": str(base)},
        data={"train": f"{data}:train"},
        train={"epochs": 60.0, "batch_tokens": 1024, "learning_rate": 1e-2, "checkpoint_every": 1000, **settings},
        evaluate={"suite": f"{data}:test"},
        generate={"max_new_tokens": 40},
    )
    return train(recipe, folder / "runs")


def make_form(run: RunFolder, folder: Path, *, adapter: bool = True) -> Path:
    """The run as a merged form in float32; without `adapter` the mistake of exporting the base model."""
    recipe = load_recipe(run.recipe)
    base = Path(recipe.model.name)
    model = load_answering(base, recipe.model, adapter=run.adapter if adapter else None)
    save_model(model, folder, base=base)
    return sign(run, folder, tokens=len(model.get_input_embeddings().weight), parameters=count_parameters(model)[1])


def sign(run: RunFolder, folder: Path, *, tokens: int = 500, parameters: int = 1) -> Path:
    """Write form.json for what lies in the folder now, so that only what a form does tells what is wrong with it."""
    name = load_recipe(run.recipe).model.name
    known = {
        "kind": "merged", "dtype": "float32", "run": run.path.name, "model": name,
        "model_fingerprint": model_fingerprint(find_model(name)), "adapter": (read_card(run) or {})["adapter"],
        "parameters": parameters, "tokens": tokens,
    }  # fmt: skip
    write_form(folder, run.recipe, known)
    return folder
