"""A result in its run's folder."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from slm.data import Dataset
from slm.files import write_json, write_text
from slm.recipe import RunFolder
from slm.records import Result, Verdict


def write_result(run: RunFolder, result: Result, verdicts: Sequence[Verdict]) -> Path:
    """Write the verdicts as JSON Lines and then the result, each atomically; the result's path."""
    write_text(run.verdicts(result.suite), "".join(f"{verdict.model_dump_json()}\n" for verdict in verdicts))
    path = run.result(result.suite)
    write_json(path, result)
    return path


def read_result(run: RunFolder, dataset: Dataset) -> Result | None:
    """The run's result on exactly these questions; None where there is none, or only one of another version of slm."""
    path = run.result(dataset.name)
    try:
        result = Result.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return result if result.questions_fingerprint == dataset.fingerprint else None
