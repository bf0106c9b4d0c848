"""Several data sets as one."""

import json
import sqlite3

import pytest

from slm.data import load_dataset, load_mixture
from slm.errors import DataError


def database(path, table="item"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY)")
    return path


@pytest.fixture
def write(tmp_path):
    database(tmp_path / "shop.sqlite")

    def _write(name, *rows):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        lines = [{"question": question, "sql": sql, "db": "shop", **more} for question, sql, more in rows]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return str(path)

    return _write


FIRST = ("How many items?", "SELECT count(*) FROM item", {})
SECOND = ("Which items?", "SELECT id FROM item", {})


def test_one_data_set_is_itself(write):
    ref = write("a.jsonl", FIRST, SECOND)
    assert load_mixture([ref], limit=1) == load_dataset(ref, limit=1)


def test_examples_follow_one_another_and_the_same_one_counts_once(write):
    refs = [
        write("a.jsonl", FIRST),
        write("b.jsonl", FIRST, SECOND, (FIRST[0], SECOND[1], {}), (*FIRST[:2], {"hint": "all of them"})),
    ]
    mixed = load_mixture(refs)
    assert [(each.id, each.question) for each in mixed.examples] == [
        ("a-00000", FIRST[0]),
        ("b-00001", SECOND[0]),
        ("b-00002", FIRST[0]),
        ("b-00003", FIRST[0]),
    ]
    assert mixed.name == " + ".join(refs)
    assert set(mixed.contexts) == {"shop"}


def test_an_id_that_is_taken_gets_its_data_sets_name(write):
    refs = [write("a.jsonl", (*FIRST[:2], {"id": "1"})), write("b.jsonl", (*SECOND[:2], {"id": "1"}))]
    assert [each.id for each in load_mixture(refs).examples] == ["1", f"{refs[1]}/1"]


def test_the_limit_draws_from_all_of_them(write):
    rows = [[(f"{name} {number}?", FIRST[1], {}) for number in range(30)] for name in "ab"]
    refs = [write(f"{name}.jsonl", *part) for name, part in zip("ab", rows, strict=True)]
    drawn = load_mixture(refs, limit=20, seed=3)
    assert len(drawn.examples) == 20
    assert {each.question[0] for each in drawn.examples} == {"a", "b"}
    assert {each.id for each in drawn.examples} <= {each.id for each in load_mixture(refs, limit=40, seed=3).examples}
    assert drawn.fingerprint != load_mixture(refs, limit=20, seed=4).fingerprint


def test_two_databases_of_one_name_are_an_error(write, tmp_path):
    refs = [write("a.jsonl", FIRST), write("other/b.jsonl", FIRST)]
    path = database(tmp_path / "other/shop.sqlite", "thing")
    with pytest.raises(DataError, match=f"two databases are called 'shop'\n  expected: {path} to be"):
        load_mixture(refs)
    path.write_bytes((tmp_path / "shop.sqlite").read_bytes())
    assert len(load_mixture(refs).examples) == 1, "a copy is the same database"
