"""Suite files are checked, and data that is not there is asked for politely."""

import json
from pathlib import Path

import pytest

from slm.data import list_suites, load_dataset, suites
from slm.errors import DataError

SUITE = """\
name: zoo
title: Zoo
task: text-to-sql
licence: CC0
description: Animals.
data_folder: animals
splits: {dev: [dev.jsonl, dev.json]}
databases: dbs
keys: {sql: query}
report_by: [difficulty, shape]
get: |
  Ask the keeper,
  then set SLM_DATA.
"""


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A shipped suite `zoo` whose data is not there."""
    folder = tmp_path / "eval" / "suites"
    folder.mkdir(parents=True)
    (folder / "zoo.yaml").write_text(SUITE)
    monkeypatch.setattr(suites, "shipped", lambda *parts: tmp_path.joinpath(*parts))
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    return folder / "zoo.yaml"


def fill(data: Path, file: str, text: str) -> None:
    (data / "animals" / "dbs" / "cage").mkdir(parents=True)
    (data / "animals" / "dbs" / "cage" / "cage.sqlite").touch()
    (data / "animals" / file).write_text(text)


def test_every_shipped_suite_is_sound():
    shipped = list_suites()
    assert "spider" in {suite.name for suite in shipped}
    for suite in shipped:
        assert suite.data_folder is None or suite.get, f"{suite.name}: does not say how to get its data"
        assert suite.present or suite.data_folder, f"{suite.name}: ships without its data"


@pytest.mark.parametrize("file", ["dev.jsonl", "dev.json"])
def test_a_suite_with_its_data(zoo, tmp_path, file):
    row = {"question": "How many?", "query": "SELECT 1", "db": "cage"}
    fill(tmp_path / "data", file, json.dumps([row] if file.endswith("json") else row))
    assert list_suites()[0].present
    dataset = load_dataset("zoo:dev")
    assert (dataset.name, dataset.report_by) == ("zoo:dev", ("difficulty", "shape"))
    assert dataset.examples[0].targets == ("SELECT 1",)
    assert dataset.contexts == {"cage": tmp_path / "data" / "animals" / "dbs" / "cage" / "cage.sqlite"}


def test_a_missing_set_says_how_to_get_it(zoo, tmp_path, monkeypatch):
    assert not list_suites()[0].present
    with pytest.raises(DataError) as caught:
        load_dataset("zoo:dev")
    assert f"no file dev.jsonl or dev.json in {tmp_path / 'data' / 'animals'}" in str(caught.value)
    assert "try: Ask the keeper, then set SLM_DATA." in str(caught.value)
    monkeypatch.delenv("SLM_DATA")
    with pytest.raises(DataError, match="is not set") as caught:
        load_dataset("zoo:dev")
    assert "dbs/ID/ID.sqlite in $SLM_DATA/animals" in str(caught.value)


def test_a_suite_without_any_of_its_databases_says_how_to_get_them(zoo, tmp_path):
    fill(tmp_path / "data", "dev.jsonl", '{"question": "How many?", "query": "SELECT 1", "db": "aviary"}')
    with pytest.raises(DataError, match="no database of any example") as caught:
        load_dataset("zoo:dev")
    assert "Ask the keeper" in str(caught.value)


def test_spider_s_error_names_its_source_and_licence(monkeypatch):
    monkeypatch.delenv("SLM_DATA", raising=False)
    with pytest.raises(DataError) as caught:
        load_dataset("spider:dev")
    assert "https://yale-lily.github.io/spider" in str(caught.value)
    assert "CC BY-SA 4.0" in str(caught.value)
    assert "SLM_DATA" in str(caught.value)


@pytest.mark.parametrize(("ref", "wrong"), [("zo:dev", "data set"), ("zoo:test", "split"), ("zoo", "data set")])
def test_unknown_references_get_the_nearest_and_all(zoo, ref, wrong):
    with pytest.raises(DataError, match=f"{ref}: no such {wrong}\n  expected: zoo:dev\\? Or one of zoo:dev"):
        load_dataset(ref)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("title: Zoo", "titel: Zoo"), "titel: Extra inputs.*"),
        (("name: zoo", "name: ark"), "name is 'ark'"),
        (("licence: CC0", "licence: [CC0"), "not readable as YAML"),
        (("sql: query", "sqll: query"), "keys.sqll"),
    ],
)
def test_a_wrong_suite_file_is_named_with_what_is_wrong(zoo, change, message):
    zoo.write_text(SUITE.replace(*change))
    with pytest.raises(DataError, match=f"zoo.yaml: .*{message}"):
        list_suites()
