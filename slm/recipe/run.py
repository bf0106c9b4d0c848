"""Where the files of one run are. Paths only: nothing here reads or writes."""

import re
from dataclasses import dataclass
from pathlib import Path


def file_safe(ref: str) -> str:
    """A data set reference as a file name: `spider:dev` → `spider-dev`, `my/data.jsonl` → `my-data`."""
    stem = re.sub(r"\.jsonl?$", "", ref)
    return re.sub(r"[^\w.]+", "-", stem, flags=re.ASCII).strip("-.") or "suite"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def card(self) -> Path:
        """What the run was made of: hashes of code, data and model, versions, figures of the training."""
        return self.path / "card.json"

    @property
    def metrics(self) -> Path:
        """One line an optimizer step."""
        return self.path / "metrics.jsonl"

    @property
    def plan(self) -> Path:
        """What was predicted before the first step: memory by part."""
        return self.path / "plan.json"

    @property
    def watch(self) -> Path:
        """One line a measurement on the held-out examples."""
        return self.path / "watch.jsonl"

    @property
    def curves(self) -> Path:
        """The picture of what `metrics` and `watch` say."""
        return self.path / "curves.svg"

    @property
    def adapter(self) -> Path:
        """The trained adapter, in PEFT's layout."""
        return self.path / "adapter"

    @property
    def model(self) -> Path:
        """The whole model, where all weights were trained instead of an adapter."""
        return self.path / "model"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    def predictions(self, suite: str) -> Path:
        """One `Generation` a line; `suite` is a data set reference such as `spider:dev`."""
        return self.path / "predictions" / f"{file_safe(suite)}.jsonl"

    def verdicts(self, suite: str) -> Path:
        """One `Verdict` a line."""
        return self.path / "verdicts" / f"{file_safe(suite)}.jsonl"

    def result(self, suite: str) -> Path:
        """The `Result` of the run on `suite`."""
        return self.path / "results" / f"{file_safe(suite)}.json"
