"""A finished run of a tiny model that really learned eight answers, and merged forms of it."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from slm import provenance
from slm.data import Dataset, load_dataset
from slm.files import write_json, write_text
from slm.models import find_model, model_fingerprint
from slm.models.forms import load_answering, write_form
from slm.models.load import count_parameters, load_model, load_tokenizer, save_model
from slm.models.lora import add_lora, save_adapter
from slm.recipe import Recipe, RunFolder, load_recipe, to_yaml
from slm.tasks import Renderer, TextToSql
from slm.train import read_card, weights_hash
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


def make_run(family: str, folder: Path, *, name: str = "tiny", steps: int = 60, end: bool = True) -> RunFolder:
    """A run below `folder` whose tiny model knows the answers by heart, in a second or two.

    `steps` of training; without `end` the mistake of not training the token that ends an answer.
    """
    base, data = folder / f"{family}-base", folder / "data"
    if not base.exists():
        make_tiny_model(family, base)
    if not data.exists():
        make_data(data)
    recipe = Recipe(
        name=name,
        model={"name": str(base)},
        data={"train": f"{data}:train"},
        evaluate={"suite": f"{data}:test"},
        generate={"max_new_tokens": 40},
    )
    run = RunFolder(folder / "runs" / f"{name}-0123abcd")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = add_lora(load_model(base, dtype="float32"), recipe.lora)
        learn(model, Renderer(load_tokenizer(base)), load_dataset(f"{data}:train"), steps=steps, end=end)
    return finish(run, recipe, model)


def finish(run: RunFolder, recipe: Recipe, model: Any) -> RunFolder:
    """Write what a training leaves behind: adapter, recipe and card."""
    save_adapter(model, run.adapter)
    write_text(run.recipe, to_yaml(recipe))
    trained, all_parameters = count_parameters(model)
    card = {"run": run.path.name, "method": "lora", "examples": len(PAIRS), "data": "f00d"}
    card |= {"parameters": all_parameters - trained, "trainable_parameters": trained}
    card |= {"model": model_fingerprint(find_model(recipe.model.name)), "adapter": weights_hash(run)}
    write_json(run.card, card | {"code": provenance.code_state(), "versions": provenance.versions()})
    return run


def learn(model: Any, renderer: Renderer, dataset: Dataset, *, steps: int, end: bool) -> None:
    """All examples in every step, each behind its own prompt, padded to one length."""
    task = TextToSql(dataset.contexts)
    rows = []
    for example in dataset.examples:
        prompt, target = renderer.render(task.prompt(example)).ids, renderer.target_ids(task.target(example))
        labels = [*([-100] * len(prompt)), *(target if end else target[:-1])]
        rows.append((torch.tensor([*prompt, *target]), torch.tensor(labels + [-100] * (not end))))
    ids = pad_sequence([row for row, _ in rows], batch_first=True)
    labels = pad_sequence([row for _, row in rows], batch_first=True, padding_value=-100)
    optimizer = torch.optim.AdamW((value for value in model.parameters() if value.requires_grad), lr=1e-2)
    model.train()
    for _ in range(steps):
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


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
