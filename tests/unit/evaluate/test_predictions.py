"""Files of answers, ours and other systems': each answer goes to its question, or the line is named."""

from pathlib import Path

import pytest

from slm.data import Dataset
from slm.errors import DataError
from slm.evaluate import read_predictions_file
from slm.records import Example, Generation

DATA = Dataset(
    "toy:test", tuple(Example(id=f"q{n}", context_id=f"db{n % 2}", question="?") for n in range(3)), {}, "f00d"
)


def texts(path: Path) -> dict[str, str]:
    return {key: answer.text for key, answer in read_predictions_file(path, DATA).items()}


@pytest.mark.parametrize(
    "content",
    [
        "SELECT 1\n\nSELECT 3",
        "SELECT 1\n\nSELECT 3\n",
        "SELECT 1\r\n\r\nSELECT 3\r\n",
        "SELECT 1\tdb0\n\tdb1\nSELECT 3\tdb0\n",
    ],
)
def test_one_sql_a_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "answers.txt"
    path.write_bytes(content.encode())
    assert texts(path) == {"q0": "SELECT 1", "q1": "", "q2": "SELECT 3"}


def test_the_last_answer_may_be_empty_and_sql_may_hold_tabs_and_odd_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "answers.txt"
    path.write_text("SELECT\t1\nSELECT '\u2028\x0b'\n\n", encoding="utf-8")
    assert texts(path) == {"q0": "SELECT\t1", "q1": "SELECT '\u2028\x0b'", "q2": ""}


@pytest.mark.parametrize(
    ("content", "where", "problem"),
    [
        (b"SELECT 1\nSELECT 2\n", "", "2 lines for the 3 questions"),
        (b"SELECT 1\n" * 5, "", "5 lines for the 3 questions"),
        (b"", "", "0 lines for the 3 questions"),
        (b"SELECT 1\nSELECT 2\tdb0\nSELECT 3\n", ":2", "for database db0, but question q1 is about db1"),
        (b"SELECT 1\nSELECT '\xff'\nSELECT 3\n", ":2", "not UTF-8"),
        (b'{"example_id": "q0", "text": "SELECT 1"}\n{"example_id": "q1", "txt": ""}\n', ":2", "text"),
        (b'{"example_id": "q0", "text": "a"}\n{"example_id": "q0", "text": "b"}\n', "", "2 answers to q0"),
    ],
)
def test_a_file_that_does_not_fit_is_an_error_with_its_place(
    tmp_path: Path, content: bytes, where: str, problem: str
) -> None:
    path = tmp_path / "answers.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=problem) as caught:
        read_predictions_file(path, DATA)
    assert f"{path}{where}: " in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.txt: no such file"):
        read_predictions_file(tmp_path / "none.txt", DATA)


def test_our_own_records(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    records = [Generation(example_id=f"q{n}", text=f"SELECT {n}", total_s=0.5) for n in (2, 0)]
    path.write_text("".join(record.model_dump_json() + "\n" for record in records))
    assert read_predictions_file(path, DATA) == {record.example_id: record for record in records}


def test_a_file_for_all_questions_serves_a_part_of_them(tmp_path: Path) -> None:
    part = Dataset("toy:test", (DATA.examples[2], DATA.examples[0]), {}, "beef")
    path = tmp_path / "answers.txt"
    for content in ("SELECT 0\nSELECT 1\nSELECT 2\n", "SELECT 2\nSELECT 0"):
        path.write_text(content)
        found = read_predictions_file(path, part, DATA)
        assert {key: answer.text for key, answer in found.items()} == {"q0": "SELECT 0", "q2": "SELECT 2"}
    records = [Generation(example_id=name, text="x") for name in ("q0", "q1", "elsewhere")]
    path.write_text("".join(record.model_dump_json() + "\n" for record in records))
    assert set(read_predictions_file(path, part, DATA)) == {"q0", "elsewhere"}, "what nobody asked is not hidden"
