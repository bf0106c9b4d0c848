"""Predictions on disk: appended as they come; a killed run continues without repeating or losing a row."""

from pathlib import Path

from slm.data import Dataset
from slm.files import JsonLinesWriter, read_records
from slm.generate.backend import Backend
from slm.progress import Meter
from slm.records import Generation
from slm.tasks import Task


def generate_all(backend: Backend, task: Task, dataset: Dataset, out: Path) -> dict[str, Generation]:
    """Answer every example whose database is there; returns all answers by example id, old and new.

    Answers that `out` holds already are kept; only the missing ones are asked.
    """
    answers = read_predictions(out)
    asked = dataset.available
    missing = [example for example in asked if example.id not in answers]
    requests = [(example.id, task.prompt(example)) for example in missing]
    with (
        JsonLinesWriter(out) as writer,
        Meter(f"generate {dataset.name}", len(asked), unit="answers", done=len(asked) - len(missing)) as meter,
    ):
        for generation in backend.generate(requests):
            writer.append(generation)
            answers[generation.example_id] = generation
            meter.advance(note=_shorten(generation.text))
    return answers


def read_predictions(path: Path) -> dict[str, Generation]:
    """Answers by example id; a torn last line is ignored, a missing file is empty."""
    if not path.is_file():
        return {}
    return {generation.example_id: generation for generation in read_records(path, Generation, torn_tail=True)}


def _shorten(text: str, width: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
