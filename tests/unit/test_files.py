"""Files are whole or as they were; a torn tail is cut; what cannot be read is located."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm.errors import DataError, DiskFullError
from slm.files import JsonLinesWriter, atomic_path, digest, read_json_lines, read_records, write_json, write_text
from slm.records import Prompt


def test_a_write_replaces_the_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "new" / "file.json"
    write_json(path, {"b": 1, "a": "é"})
    write_json(path, {"b": 2, "a": "é"})
    assert path.read_text() == '{\n  "a": "é",\n  "b": 2\n}\n'
    assert list(path.parent.iterdir()) == [path]


def test_a_block_that_raises_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")

    def write_half() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is of Linux")
def test_a_full_disk_leaves_the_old_file_and_is_named(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    (tmp_path / f".file.{os.getpid()}.tmp").symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match="file: the disk is full"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_another_failure_of_the_system_is_not_called_a_full_disk(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path / "file", "text")


ROWS = st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=5)), min_size=1, max_size=4)


@settings(max_examples=30, deadline=None)  # each one waits for the disk
@given(ROWS, ROWS, st.integers(min_value=0))
def test_a_kill_at_any_byte_costs_at_most_the_row_being_written(tmp_path_factory, rows, more, cut):
    path = tmp_path_factory.mktemp("lines") / "rows.jsonl"
    with JsonLinesWriter(path) as writer:
        for row in rows:
            writer.append(row)
    content = path.read_bytes()
    path.write_bytes(content[: cut % (len(content) + 1)])
    whole = rows[: path.read_bytes().count(b"\n")]
    assert [row for _, row in read_json_lines(path, torn_tail=True)] == whole
    with JsonLinesWriter(path) as writer:
        for row in more:
            writer.append(row)
    assert list(read_json_lines(path)) == list(enumerate([*whole, *more], 1))


def test_a_row_is_on_the_disk_before_the_next_one_is_made(tmp_path):
    with JsonLinesWriter(tmp_path / "rows.jsonl") as writer:
        writer.append(Prompt(context="c", question="é"))
        assert list(read_records(tmp_path / "rows.jsonl", Prompt)) == [Prompt(context="c", question="é")]


def test_a_disk_that_fills_up_keeps_every_row_before(small_disk):
    path = small_disk(16) / "rows.jsonl"
    row, written = {"text": "x" * 1000}, 0

    def fill() -> None:
        nonlocal written
        with JsonLinesWriter(path) as writer:
            while True:
                writer.append(row)
                written += 1

    with pytest.raises(DiskFullError, match=r"rows\.jsonl: the disk is full"):
        fill()
    assert written > 10
    assert [value for _, value in read_json_lines(path, torn_tail=True)] == [row] * written


@pytest.mark.parametrize(
    ("content", "place", "problem"),
    [
        (b'{"context": "c", "question": "q"}\n\n{broken\n', ":3", "not readable as JSON"),
        (b'{"context": "c", "question": "q"}\n[1]\n', ":2", "not a JSON object"),
        (b'{"context": "c", "question": "q"}\n{"context": "\xff"}\n', ":2", "not readable as JSON"),
        (b'{"context": "c"}\n', ":1", "'question'"),
        (b'{"context": "c", "question": "q", "qestion": ""}\n', ":1", "'qestion'"),
        (b'{"context": "c", "question": "q"}\n{"torn', ":2", "not readable as JSON"),
    ],
)
def test_what_cannot_be_read_is_located(tmp_path, content, place, problem):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as raised:
        list(read_records(path, Prompt))
    assert f"{path}{place}: " in str(raised.value)
    assert problem in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.jsonl: no such file"):
        list(read_json_lines(tmp_path / "none.jsonl"))


JSON = st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner))


@given(JSON, JSON)
def test_a_digest_is_of_the_value_and_not_of_the_order_of_keys(one, other):
    turned = json.loads(json.dumps(one), object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    assert digest(one) == digest(turned)
    assert (digest(one) == digest(other)) == (one == other)
