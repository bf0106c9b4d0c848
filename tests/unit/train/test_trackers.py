"""Figures reach each tracker that is installed, with the recipe and without paths; one that is missing is named."""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from slm.errors import RecipeError
from slm.recipe import Recipe, RunFolder
from slm.train import trackers
from slm.train.trackers import flat_config, start_trackers, stop_trackers, tracker_names

ROWS = [{"step": number, "loss": 1.0 / number, "tokens": 10 * number, "mfu": None} for number in (1, 2, 3)]


def recipe(*names: str, **sections) -> Recipe:
    return Recipe(
        name="tracked",
        description="a note to myself",
        model={"name": "org/model"},
        data={"train": "roastery:train"},
        train={"trackers": list(names)},
        evaluate={"suite": "roastery:test"},
        **sections,
    )


def log(name: str, folder: Path) -> RunFolder:
    """A run of three steps as a job does it."""
    run = RunFolder(folder / "runs" / "tracked-1234abcd")
    chosen = recipe(name)
    AcceleratorState._reset_state(True)
    accelerator = Accelerator(cpu=True, log_with=tracker_names(chosen) or None, project_dir=run.path)
    start_trackers(accelerator, chosen, run)
    for row in ROWS:
        accelerator.log({name: value for name, value in row.items() if value is not None}, step=row["step"])
    stop_trackers(accelerator)
    return run


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = log("tensorboard", tmp_path)
    events = EventAccumulator(str(run.path / "slm")).Reload()
    assert events.Tags()["scalars"] == ["step", "loss", "tokens"]
    assert [(event.step, event.value) for event in events.Scalars("tokens")] == [(1, 10.0), (2, 20.0), (3, 30.0)]
    (stored,) = run.path.rglob("hparams.yml")
    assert "train.learning_rate: 0.0002" in stored.read_text()


def test_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    log("mlflow", tmp_path)
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("slm").experiment_id])
    assert run.info.run_name == "tracked-1234abcd"
    assert run.data.metrics == {"step": 3.0, "loss": pytest.approx(1 / 3), "tokens": 30.0}
    assert run.data.params["train.learning_rate"] == "0.0002"
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "loss")] == [1, 2, 3]


TRACKIO = """
import sys
from pathlib import Path
from test_trackers import log
log("trackio", Path(sys.argv[1]))
import trackio
from trackio.sqlite_storage import SQLiteStorage
(run,) = trackio.Api().runs("slm")
print(run.name, run.config["train.learning_rate"], *(row["tokens"] for row in SQLiteStorage.get_logs("slm", run.name)))
"""


def test_trackio_and_stdout_stays_clean(tmp_path):
    pytest.importorskip("trackio")
    done = subprocess.run(  # a process of its own, because trackio reads its folder when it is imported
        [sys.executable, "-c", TRACKIO, str(tmp_path)],
        env=os.environ | {"TRACKIO_DIR": str(tmp_path / "trackio"), "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout == "tracked-1234abcd 0.0002 10 20 30\n", done.stderr


def test_a_tracker_that_is_not_installed_is_said_with_what_to_run(monkeypatch):
    def not_here(name: str) -> str:
        if name == "accelerate":
            return version(name)
        raise PackageNotFoundError(name)

    monkeypatch.setattr(trackers, "version", not_here)
    with pytest.raises(RecipeError) as raised:
        tracker_names(recipe("wandb", "mlflow", "wandb"))
    assert "train.trackers: not installed: wandb, mlflow" in str(raised.value)
    assert "pip install wandb mlflow" in str(raised.value)


def test_no_trackers_start_nothing(tmp_path):
    AcceleratorState._reset_state(True)
    accelerator = Accelerator(cpu=True, log_with=tracker_names(recipe()) or None, project_dir=tmp_path / "run")
    start_trackers(accelerator, recipe(), RunFolder(tmp_path / "run"))
    assert accelerator.trackers == []
    assert not (tmp_path / "run").exists()


def test_what_is_stored_has_every_key_and_no_path_of_this_machine(tmp_path):
    (tmp_path / "models" / "mine").mkdir(parents=True)
    chosen = Recipe(
        name="n",
        description="private",
        model={"name": str(tmp_path / "models" / "mine")},
        lora={"targets": ["q_proj", "v_proj"], "ranks": {"down_proj": 32}},
        data={"train": f"{tmp_path}/secret/shop:train", "databases": tmp_path / "dbs"},
        evaluate={"suite": "~/me/mine.jsonl"},
    )
    flat = flat_config(chosen)
    assert flat["model.name"] == "mine"
    assert flat["data.train"] == "shop:train"
    assert flat["data.databases"] == "dbs"
    assert flat["evaluate.suite"] == "mine.jsonl"
    assert flat["lora.targets"] == "q_proj, v_proj"
    assert flat["lora.ranks.down_proj"] == 32
    assert flat["data.limit"] == "none"
    assert flat["train.packing"] == "shared"
    assert all(isinstance(value, str | int | float | bool) for value in flat.values())
    assert str(tmp_path) not in str(flat)
    assert "private" not in flat.values()
    assert flat_config(recipe())["model.name"] == "org/model"
    assert flat_config(recipe())["data.train"] == "roastery:train"
