"""Where the figures of every step also go: the trackers that Accelerate knows, TensorBoard, MLflow, W&B and Trackio."""

import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from slm.errors import RecipeError
from slm.recipe import Recipe, RunFolder

_PROJECT = "slm"
# Any one of these packages brings the tracker.
_PACKAGES = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "mlflow": ("mlflow", "mlflow-skinny"),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
}


def tracker_names(recipe: Recipe) -> list[str]:
    """The recipe's trackers, each once, for `Accelerator(log_with=names or None, project_dir=run.path / "trackers")`.

    Call it before anything is done.

    Raises RecipeError for those that are not installed.
    """
    names: list[str] = list(dict.fromkeys(recipe.train.trackers))
    missing = [name for name in names if not any(map(_installed, _PACKAGES[name]))]
    if missing:
        raise RecipeError(
            f"not installed: {', '.join(missing)}",
            where="train.trackers",
            expected="trackers that are installed, or an empty list",
            hint=f"pip install {' '.join(missing)}",
        )
    return names


def start_trackers(accelerator: Any, recipe: Recipe, run: RunFolder) -> None:
    """Open the run at each tracker the accelerator was made with, and store the recipe there.

    A run that continues is continued at W&B and Trackio; TensorBoard and MLflow show it under the same name again.
    Every process calls it, and `stop_trackers` at the end. What trackers print goes to stderr: stdout is for results.
    """
    name = run.path.name
    if not accelerator.log_with:
        return
    with redirect_stdout(sys.stderr):
        accelerator.init_trackers(
            _PROJECT,
            config=flat_config(recipe),
            init_kwargs={
                "wandb": {"name": name, "id": name, "resume": "allow"},
                "trackio": {"name": name, "resume": "allow"},
                "mlflow": {"run_name": name},
            },
        )


def stop_trackers(accelerator: Any) -> None:
    """End the training, in place of `accelerator.end_training()`; every figure has then reached its tracker."""
    with redirect_stdout(sys.stderr):
        names = [tracker.name for tracker in accelerator.trackers]
        accelerator.end_training()
        if "trackio" in names and accelerator.is_main_process:
            # Accelerate closes the run, but leaves it the current one, which prints when Python exits.
            import_module("trackio").finish()


def flat_config(recipe: Recipe) -> dict[str, str | int | float | bool]:
    """Every value of the recipe by its dotted key, without paths of this machine: of those the last part is left.

    A recipe holds no secrets: it has no key for one, and other keys are refused.
    """
    flat: dict[str, str | int | float | bool] = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                add(f"{prefix}.{key}" if prefix else str(key), inner)
        elif isinstance(value, list):
            flat[prefix] = ", ".join(map(str, value))
        elif isinstance(value, str):
            flat[prefix] = _without_folder(value)
        else:  # trackers take no None
            flat[prefix] = "none" if value is None else value

    add("", recipe.model_dump(mode="json", exclude={"description"}))
    return flat


def _without_folder(text: str) -> str:
    """`/home/me/data:train` → `data:train`; `org/name` of a hub stays, unless there is such a folder here."""
    path, colon, split = text.rpartition(":") if ":" in text else (text, "", "")
    local = Path(path).is_absolute() or path.startswith(("~", ".")) or ("/" in path and Path(path).exists())
    return f"{Path(path).name}{colon}{split}" if local else text


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
