"""A watched training: unseen questions, early stopping, the best weights kept; alone, killed and on two processes.

Run as a script, it is one process of such a training.
"""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.utils import set_seed

from command import ROOT, environment
from slm.data import load_dataset
from slm.data.holdout import hold_out
from slm.models.load import load_tokenizer
from slm.recipe import Recipe, RunFolder
from slm.tasks import Renderer, TextToSql
from slm.train.encode import encode
from slm.train.loop import Loop, TrainingTotals, plan_steps
from slm.train.prepare import prepare_model
from slm.train.processes import make_accelerator
from slm.train.summary import read_watch
from slm.train.watch import Watch, best

# Far too large steps: the held-out loss falls four times, and then twice it is higher.
TRAIN = {"batch_tokens": 1500, "packs_per_step": 2, "epochs": 3, "optimizer": "sgd", "learning_rate": 1.0}
TRAIN |= {"schedule": "constant", "clip_norm": 10.0, "checkpoint_every": 3}
WATCH = {"every": 1, "examples": 8, "keep": "loss", "patience": 2}


class Training:
    """A watched training of the tiny model in `folder` on a few examples of the roastery."""

    def __init__(self, model: Path, folder: Path) -> None:
        set_seed(0)
        recipe = Recipe(
            name="watched",
            model={"name": str(model)},
            data={"train": "roastery:train", "limit": 60},
            train=TRAIN,
            watch=WATCH,
            evaluate={"suite": "roastery:test"},
            generate={"max_new_tokens": 8},
        )
        self.run_folder = RunFolder(folder)
        accelerator = make_accelerator()
        dataset = load_dataset(recipe.data.train, limit=recipe.data.limit)
        train, self.held_out = hold_out(dataset, recipe.watch.examples, recipe.data.seed)
        task, renderer = TextToSql(dataset.contexts), Renderer(load_tokenizer(model))
        encoded, encoded_held_out = (encode(side, task, renderer) for side in (train, self.held_out))
        self.steps = plan_steps(encoded, recipe.train)
        self.watch = Watch(
            recipe, task, renderer, self.held_out, encoded_held_out, steps=len(self.steps), accelerator=accelerator
        )
        network = prepare_model(model, recipe, device=accelerator.device)
        self.loop = Loop(
            network,
            network.config,
            recipe.train,
            checkpoints=self.run_folder.checkpoints,
            metrics=self.run_folder.metrics,
            accelerator=accelerator,
            watch=self.watch,
            watch_settings=recipe.watch,
            watch_file=self.run_folder.watch,
        )

    def run(self) -> TrainingTotals:
        return self.loop.run(self.steps)


def steps_of(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_it_stops_when_nothing_gets_better_and_ends_with_the_best_weights(tiny_llama, tmp_path):
    training = Training(tiny_llama, tmp_path)
    trained = {example.example_id for step in training.steps for pack in step for example in pack.examples}
    assert not trained & {example.id for example in training.held_out}
    totals = training.run()
    rows = read_watch(training.run_folder)
    assert [row.step for row in rows] == list(range(1, totals.steps + 1))
    kept = best(rows, "loss")
    assert 1 < totals.kept_step == kept.step == totals.steps - WATCH["patience"]
    assert totals.steps < len(training.steps)
    assert all(row.total == len(training.held_out) == 8 for row in rows)
    again = training.watch.measure(training.loop.model, totals.steps)
    assert (again.loss, again.right) == (kept.loss, kept.right)


def test_a_killed_training_measures_the_same(tiny_llama, tmp_path, monkeypatch):
    whole = Training(tiny_llama, tmp_path / "whole")
    totals = whole.run()

    class Killed(BaseException):
        pass

    broken = Training(tiny_llama, tmp_path / "broken")
    step, count = broken.loop._step, itertools.count(1)

    def dying_step(*arguments: Any) -> Any:
        if next(count) == totals.steps:
            raise Killed
        return step(*arguments)

    monkeypatch.setattr(broken.loop, "_step", dying_step)
    with pytest.raises(Killed):
        broken.run()
    resumed = Training(tiny_llama, tmp_path / "broken")
    assert resumed.run().kept_step == totals.kept_step
    measured, expected = (read_watch(training.run_folder) for training in (resumed, whole))
    assert [row.model_copy(update={"seconds": 0}) for row in measured] == [
        row.model_copy(update={"seconds": 0}) for row in expected
    ]
    weights, best_weights = (training.loop.trained_weights() for training in (resumed, whole))
    assert all(torch.equal(weights[name], best_weights[name]) for name in best_weights)


def test_two_processes_agree_on_what_was_measured_and_when_to_stop(tiny_llama, tmp_path):
    alone = Training(tiny_llama, tmp_path / "alone")
    totals = alone.run()
    config = str(ROOT / "configs/accelerate/cpu-2.yaml")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", config]
    done = subprocess.run(
        [*launch, __file__, str(tiny_llama), str(tmp_path / "two")],
        env=environment(PYTHONPATH=f"{ROOT}:{ROOT / 'tests'}"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    both = RunFolder(tmp_path / "two")
    assert steps_of(both.metrics) == steps_of(alone.run_folder.metrics)
    assert sorted(done.stdout.split()) == [f"{totals.steps}/{totals.kept_step}"] * 2
    rows, expected = read_watch(both), read_watch(alone.run_folder)
    assert [row.step for row in rows] == [row.step for row in expected]
    assert rows[0].loss == pytest.approx(expected[0].loss, rel=1e-3)
    assert done.stderr.count("held-out loss") == len(rows)  # one process speaks


if __name__ == "__main__":
    result = Training(Path(sys.argv[1]), Path(sys.argv[2])).run()
    # One write: what two processes print in pieces can mix.
    os.write(1, f"{result.steps}/{result.kept_step}\n".encode())
