"""Data sets load from suites, the user's own files and folders; what is wrong with them is said with places."""

import json
import os
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.data import load_dataset
from slm.data.sources import draw
from slm.errors import DataError

needs_spider = pytest.mark.skipif(
    not (os.environ.get("SLM_DATA") and Path(os.environ["SLM_DATA"], "spider").is_dir()),
    reason="Spider is not there: set SLM_DATA to the folder that has spider/",
)


def make_database(path: Path, table: str = "item") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, name TEXT)")
    return path


def line(**changes) -> dict:
    row = {"question": "How many items?", "sql": "SELECT count(*) FROM item", "db": "shop.sqlite", **changes}
    return {key: value for key, value in row.items() if value is not ...}


@pytest.fixture
def write(tmp_path):
    make_database(tmp_path / "shop.sqlite")

    def _write(*rows: object, name: str = "mine.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
        return path

    return _write


def problems(ref: object, **options) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset(str(ref), **options)
    return str(caught.value)


def test_own_lines_become_examples(write, tmp_path):
    path = write(
        line(),
        "",
        line(id="second", sql=["SELECT 1", "SELECT 2"], hint="count them", tags={"topic": "stock"}),
        line(id=7),
    )
    dataset = load_dataset(str(path))
    first, second, third = dataset.examples
    assert (first.id, first.context_id, first.targets, first.hint) == (
        "mine-00000",
        "shop",
        ("SELECT count(*) FROM item",),
        None,
    )
    assert (second.id, second.targets, second.hint) == ("second", ("SELECT 1", "SELECT 2"), "count them")
    assert second.tags["topic"] == "stock"
    assert third.id == "7"
    assert dataset.contexts == {"shop": tmp_path / "shop.sqlite"}
    assert (dataset.name, dataset.report_by) == (str(path), ("difficulty",))


def test_every_example_with_a_gold_is_tagged_with_its_difficulty(write):
    hard = "SELECT name FROM item WHERE id IN (SELECT max(id) FROM item GROUP BY name) UNION SELECT name FROM item"
    tags = [each.tags["difficulty"] for each in load_dataset(str(write(line(), line(sql=hard)))).examples]
    assert tags[0] == "easy"
    assert tags[1] in ("hard", "extra")


@pytest.mark.parametrize("name", ["shop", "shop.sqlite", "./shop.sqlite"])
def test_a_database_is_named_by_path_or_id(write, name, tmp_path):
    make_database(tmp_path / "dbs" / "store" / "store.sqlite")
    make_database(tmp_path / "dbs" / "flat.sqlite")
    path = write(line(db=name), line(db="store"), line(db="flat"), line(db="store/store.sqlite"))
    dataset = load_dataset(str(path), databases=tmp_path / "dbs")
    assert [each.context_id for each in dataset.examples] == ["shop", "store", "flat", "store"]
    assert dataset.contexts["store"] == tmp_path / "dbs" / "store" / "store.sqlite"
    assert dataset.contexts["flat"] == tmp_path / "dbs" / "flat.sqlite"


def test_databases_of_the_same_name_keep_their_paths_as_ids(write, tmp_path):
    make_database(tmp_path / "a" / "shop.db")
    make_database(tmp_path / "b" / "shop.db")
    dataset = load_dataset(str(write(line(db="a/shop.db"), line(db="b/shop.db"))))
    assert set(dataset.contexts) == {"a/shop.db", "b/shop.db"}


def test_all_problems_of_a_file_are_in_one_report_with_places(write):
    path = write(
        "{not json",
        "[1]",
        line(question=" "),
        line(sql=...),
        line(db="shpo"),
        line(question=..., qestion="?"),
        line(sql=[]),
        line(id="a"),
        line(id="a"),
        line(tags={"x": 1}),
        line(hint=3),
        line(db="SELECT 1 " * 100),
    )
    text = problems(path)
    assert text.startswith("11 problems found")
    assert f"{path}:1: not readable as JSON" in text
    assert f"{path}:2: not a JSON object" in text
    assert f"{path}:3: question is ' '" in text
    assert f"{path}:4: no 'sql'" in text
    assert f"{path}:5: db is 'shpo': no such database" in text
    assert "did you mean 'shop'?" in text
    assert f"{path}:6: no 'question'\n  expected: 'qestion' renamed to 'question'" in text
    assert f"{path}:7: sql is []" in text
    assert f"{path}:9: id 'a' is taken by {path}:8" in text
    assert f"{path}:10: tags is {{'x': 1}}" in text
    assert f"{path}:11: hint is 3" in text
    assert f"{path}:12: db is 'SELECT 1" in text


def test_many_problems_are_cut_to_twenty_and_a_count(write):
    text = problems(write(*["{"] * 25))
    assert text.startswith("25 problems found")
    assert text.count("not readable as JSON") == 20
    assert text.endswith("… and 5 more")


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_a_file_without_examples_is_an_error(tmp_path, content):
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    assert "no examples in it" in problems(path)


def test_bytes_that_are_not_text_are_located(tmp_path):
    path = tmp_path / "bytes.jsonl"
    path.write_bytes(b'{"question": "\xff"}\n')
    assert f"{path}:1: not readable as JSON" in problems(path)


def test_a_byte_order_mark_is_no_problem(write, tmp_path):
    path = tmp_path / "bom.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + write(line()).read_bytes())
    assert len(load_dataset(str(path)).examples) == 1


def test_missing_files_and_folders_are_named(write, tmp_path):
    assert "no such file" in problems(tmp_path / "nowhere.jsonl")
    assert "no such folder" in problems(write(line()), databases=tmp_path / "nowhere")
    assert "no such folder" in problems(f"{tmp_path}/nowhere:dev")
    assert "there is mine.jsonl" in problems(f"{write(line()).parent}:dev")


@pytest.mark.parametrize("suffix", ["jsonl", "json"])
def test_a_folder_in_spiders_layout(tmp_path, suffix):
    make_database(tmp_path / "database" / "shop" / "shop.sqlite")
    rows = [
        {"question": "q", "query": "SELECT 1", "db_id": "shop", "sql": {"parsed": "ignored"}},
        {"question": "q", "query": "SELECT 2", "db_id": "lost"},
    ]
    text = json.dumps(rows) if suffix == "json" else "\n".join(map(json.dumps, rows))
    (tmp_path / f"dev.{suffix}").write_text(text)
    dataset = load_dataset(f"{tmp_path}:dev")
    assert [each.id for each in dataset.examples] == ["dev-00000", "dev-00001"]
    assert set(dataset.contexts) == {"shop"}, "an absent database of a public set is counted later, not an error"


def test_a_set_without_any_database_is_an_error(tmp_path):
    (tmp_path / "dev.jsonl").write_text('{"question": "q", "query": "SELECT 1", "db_id": "lost"}')
    text = problems(f"{tmp_path}:dev")
    assert "none of its databases is there" in text
    assert f"ID.sqlite in {tmp_path / 'database'}, with ID one of lost" in text


def test_a_json_list_is_located_by_item(tmp_path):
    make_database(tmp_path / "shop.sqlite")
    path = tmp_path / "mine.json"
    path.write_text(json.dumps([line(), line(sql="")]))
    assert f"{path}: item 2: sql is ''" in problems(path)
    path.write_text('{"question": "q"}')
    assert "not a JSON list" in problems(path)


def test_the_fingerprint_is_of_what_is_asked_and_of_the_databases(write, tmp_path):
    def of(**changes):
        return load_dataset(str(write(line(**changes)))).fingerprint

    before = of()
    assert of() == before
    assert of(tags={"topic": "x"}) == before, "a tag changes no verdict"
    changes = [
        {"question": "other"},
        {"sql": "SELECT 1"},
        {"id": "x"},
        {"hint": "h"},
        {"sql": ["SELECT 1", "SELECT 2"]},
    ]
    assert len({before, *(of(**change) for change in changes)}) == 6
    with sqlite3.connect(tmp_path / "shop.sqlite") as connection:
        connection.execute("INSERT INTO item VALUES (1, 'a')")
    assert of() != before


def test_a_limit_keeps_only_what_it_needs(write, tmp_path):
    make_database(tmp_path / "other.sqlite", "t")
    path = write(*[line()] * 20, line(db="other"))
    dataset = load_dataset(str(path), limit=3, seed=1)
    assert len(dataset.examples) == 3
    assert set(dataset.contexts) == {each.context_id for each in dataset.examples}
    assert load_dataset(str(path), limit=3, seed=1) == dataset
    assert load_dataset(str(path), limit=3, seed=2).examples != dataset.examples
    assert len(load_dataset(str(path), limit=99).examples) == 21


@given(st.integers(1, 60), st.integers(1, 70), st.integers(1, 70), st.integers(0, 5))
def test_samples_are_ordered_nested_and_of_the_size_asked_for(count, small, large, seed):
    small, large = sorted((small, large))
    rows = list(range(count))
    few, many = draw(rows, small, seed), draw(rows, large, seed)
    assert len(few) == min(small, count)
    assert set(few) <= set(many) <= set(rows)
    assert few == sorted(set(few))


@needs_spider
def test_spider_is_all_there_but_three_databases():
    dev, train = load_dataset("spider:dev"), load_dataset("spider:train")
    assert (len(dev.examples), sum(each.context_id not in dev.contexts for each in dev.examples)) == (1034, 62)
    assert (len(train.examples), sum(each.context_id not in train.contexts for each in train.examples)) == (7000, 96)
    assert dev.examples[0].id == "dev-00000"
    assert {each.tags["difficulty"] for each in dev.examples} == {"easy", "medium", "hard", "extra"}
    assert not set(dev.contexts) & set(train.contexts)
