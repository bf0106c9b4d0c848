"""Hashes: of values alone; and the one of a training knows which keys decide its weights."""

import pytest
import yaml

from slm.recipe import known_keys, load_recipe, recipe_hash, training_hash

MINIMAL = "model: {name: smollm2-135m}\ndata: {train: 'roastery:train'}\nevaluate: {suite: 'roastery:test'}\n"


@pytest.fixture
def write(tmp_path):
    def _write(text: str, name: str = "mine.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return _write


def test_the_hash_is_about_values_only(write):
    recipe = load_recipe(write(MINIMAL))
    reordered = "\n".join(yaml.safe_dump({key: value}) for key, value in reversed(yaml.safe_load(MINIMAL).items()))
    assert recipe_hash(load_recipe(write(reordered, "other.yaml"), ["train.epochs=1.0"])) == recipe_hash(recipe)
    assert recipe_hash(load_recipe(write(MINIMAL), ["description=x"])) == recipe_hash(recipe)


@pytest.mark.parametrize("key", [key for key in known_keys() if "." in key and key != "task.name"])
def test_which_keys_decide_the_weights(write, key):
    changed = {
        "task.chat": "true", "model.dtype": "bfloat16", "model.quantize": "nf4", "lora.targets": "attention",
        "lora.dropout": "0.5", "lora.upper": "0.5",
        "lora.ranks": "{q_proj: 2}", "lora.alphas": "{q_proj: 2}", "lora.init": "pissa",
        "train.method": "full", "train.packing": "none", "train.optimizer": "lion", "train.schedule": "linear",
        "train.warmup": "0.5", "train.weight_decay": "0.5", "train.learning_rate": "0.5", "train.trackers": "[wandb]",
        "watch.keep": "loss", "data.train": "[one, other]",
    }.get(key, "7")  # fmt: skip
    expected = known_keys()[key].expected
    changed = {"`true` or `false`": "true", "text that is not empty": "other", "a path, or `null`": "other"}.get(
        expected, changed
    )
    watched = ["watch.every=3"] if key.startswith("watch.") else []
    before, after = load_recipe(write(MINIMAL), watched), load_recipe(write(MINIMAL), [*watched, f"{key}={changed}"])
    assert recipe_hash(before) != recipe_hash(after)
    harmless = key in ("train.checkpoint_every", "train.keep_checkpoints", "train.trackers")
    decides = not key.startswith(("evaluate.", "generate.")) and not harmless
    assert (training_hash(before) != training_hash(after)) == decides
