"""Answers from a file, ours or another system's."""

from collections import Counter
from pathlib import Path

from slm.data import Dataset
from slm.errors import DataError
from slm.files import read_records
from slm.records import Example, Generation


def read_predictions_file(path: Path, dataset: Dataset, whole: Dataset | None = None) -> dict[str, Generation]:
    """Answers by example id, from JSON Lines of `Generation` records or from text with one SQL a line.

    Text has one line for each example, in the data set's order. If the data set is a part of `whole`, the file may be
    for all of that, and what is not asked is left out. A blank line is an empty answer, and a tab followed by
    the question's database id, as Spider's own files have it, is left out. Raises DataError with the line or the id.
    """
    if not path.is_file():
        raise DataError("no such file", where=str(path), expected="predictions: one SQL a line, or JSON Lines")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        line = path.read_bytes().count(b"\n", 0, error.start) + 1
        raise DataError("not UTF-8 text", where=f"{path}:{line}", expected="UTF-8") from None
    if text.lstrip().startswith("{"):
        answers = _from_records(path)
    elif whole is not None and len(_lines(text)) == len(whole.examples):
        answers = _from_lines(path, text, whole)
    else:
        answers = _from_lines(path, text, dataset)
    if whole is None:
        return answers
    left_out = {example.id for example in whole.examples} - {example.id for example in dataset.examples}
    return {key: answer for key, answer in answers.items() if key not in left_out}


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def _from_records(path: Path) -> dict[str, Generation]:
    records = list(read_records(path, Generation))
    (example_id, count), *_ = Counter(record.example_id for record in records).most_common(1)
    if count > 1:
        raise DataError(f"{count} answers to {example_id}", where=str(path), expected="one answer to each question")
    return {record.example_id: record for record in records}


def _from_lines(path: Path, text: str, dataset: Dataset) -> dict[str, Generation]:
    lines = _lines(text)
    if len(lines) != len(dataset.examples):
        raise DataError(
            f"{len(lines)} lines for the {len(dataset.examples)} questions of {dataset.name}",
            where=str(path),
            expected="one line a question in the data set's order; an empty line where there is no answer",
            hint="a file for all questions needs all of them: leave out none, even with a limit",
        )
    databases = {example.context_id for example in dataset.examples}
    numbered = enumerate(zip(lines, dataset.examples, strict=True), 1)
    return {
        example.id: Generation(
            example_id=example.id, text=_without_database(line, example, databases, f"{path}:{number}")
        )
        for number, (line, example) in numbered
    }


def _without_database(line: str, example: Example, databases: set[str], where: str) -> str:
    sql, tab, database = line.rstrip().rpartition("\t")
    if not tab or database not in databases:
        return line.strip()
    if database != example.context_id:
        raise DataError(
            f"the line is for database {database}, but question {example.id} is about {example.context_id}",
            where=where,
            expected="the lines in the order of the data set's questions",
        )
    return sql.strip()
