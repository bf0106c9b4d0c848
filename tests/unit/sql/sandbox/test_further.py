"""What a proof and further instances make of a verdict, with the judge in this process."""

import base64
import json

import pytest

from slm.sql.sandbox import further
from slm.sql.store import Store

SEPARATED = "separated_on_instance"
NAMES = "SELECT name FROM item"
DEAR = "SELECT name FROM item WHERE price > 4"


@pytest.fixture
def look(ask):
    """`look(prediction, *golds, …)`: the verdict with four further instances."""
    return lambda prediction, *golds, **keys: ask(prediction, *golds, **{"instances": 4, **keys})


@pytest.mark.parametrize(
    ("prediction", "gold", "level"),
    [
        (NAMES, NAMES, "proved"),
        ("SELECT i.name FROM item AS i WHERE i.price > 4", DEAR, "proved"),
        ("SELECT name FROM item WHERE price >= 5", DEAR, "equal_on_4_instances"),  # a price may be 4.5
        ("SELECT group_concat(name) FROM item WHERE 0", "SELECT NULL", "equal_on_4_instances"),
    ],
)
def test_levels(look, prediction, gold, level):
    reply = look(prediction, gold)
    assert (reply["reason"], reply["level"]) == ("correct", level)


@pytest.mark.parametrize(
    ("prediction", "gold"),
    [
        ("SELECT 'ink' UNION ALL SELECT 'mug'", DEAR),
        ("SELECT name FROM item WHERE id IN (2, 3)", DEAR),
        ("SELECT 4", "SELECT count(*) FROM item"),
        ("SELECT DISTINCT name FROM item", NAMES),
        ("SELECT count(name) FROM item WHERE price IS NULL", "SELECT 1"),
    ],
)
def test_an_instance_separates_what_the_shipped_data_do_not(look, prediction, gold):
    reply = look(prediction, gold)
    assert reply["reason"] == SEPARATED
    assert reply["detail"].rpartition(" ")[2].isdigit()
    assert "level" not in reply


def test_the_witness_names_the_instance(look):
    reply = look("SELECT 4", "SELECT count(*) FROM item", witness=True)
    number = int(reply["detail"].rpartition(" ")[2])
    assert reply["witness"]["instance"] == number
    assert number in range(1, 9)
    assert reply["witness"]["prediction"]["rows"] == [[4]]
    assert reply["witness"]["gold"]["rows"] != [[4]]


def test_of_several_golds_one_must_stand_on_further_data(look):
    coincidence, good = "SELECT 4", "SELECT count(name) FROM item"
    assert look("SELECT count(*) FROM item", coincidence, good)["reason"] == "correct"
    assert look("SELECT count(*) FROM item", coincidence)["reason"] == SEPARATED


def test_both_empty_until_an_instance_has_rows(look):
    nothing = "SELECT name FROM item WHERE price > 100"
    assert look("SELECT i.name FROM item i WHERE i.price > 100", nothing)["reason"] == "correct"
    assert look("SELECT name FROM item WHERE price > 200", nothing)["reason"] == SEPARATED
    nobody = look("SELECT name FROM item WHERE random() IS NULL", "SELECT name FROM item WHERE 0")
    assert nobody["reason"] == "both_empty"


@pytest.mark.parametrize(
    ("prediction", "reason"),
    [
        ("SELECT b AS x, a AS y FROM t", "correct"),
        ("SELECT min(a, b) AS x, max(a, b) AS y FROM t", SEPARATED),  # b and a where b is the smaller
        ("SELECT max(a, b) AS x, min(a, b) AS y FROM t", SEPARATED),
        # As they are on the shipped data, the other way round elsewhere.
        ("SELECT iif(s = 20, a, b) AS x, iif(s = 20, b, a) AS y FROM t, (SELECT sum(a) AS s FROM t)", SEPARATED),
    ],
)
def test_an_order_of_columns_must_fit_every_instance(look, prediction, reason):
    script = ["CREATE TABLE t(a INTEGER, b INTEGER)", "INSERT INTO t VALUES (2, 1), (9, 1), (9, 7)"]
    for instances, expected in ((0, "correct"), (4, reason)):
        assert look(prediction, "SELECT a, b FROM t", script=script, instances=instances)["reason"] == expected


@pytest.mark.parametrize(("declared", "fragile"), [("TEXT", True), ("TEXT NOT NULL", False)])
def test_fragile_is_told_apart_only_where_a_rule_breaks_that_is_not_declared(look, declared, fragile):
    """No text is NULL in sixty rows."""
    rows = ", ".join(f"({n}, 'b{n % 7}')" for n in range(60))
    script = [f"CREATE TABLE t(a INTEGER PRIMARY KEY, b {declared})", f"INSERT INTO t VALUES {rows}"]
    reply = look("SELECT count(b) FROM t", "SELECT count(*) FROM t", script=script, instances=8, skip=["proof"])
    assert (reply["reason"], reply["level"]) == ("correct", "equal_on_8_instances")
    assert reply.get("fragile", False) is fragile


@pytest.mark.parametrize("skip", [["instances"], ["proof"], ["instances", "proof"], ["witness"]])
@pytest.mark.parametrize(
    ("prediction", "reason"), [("SELECT i.name FROM item i", "correct"), ("SELECT 1", "row_count")]
)
def test_what_is_skipped_leaves_the_verdict(look, skip, prediction, reason):
    reply = look(prediction, NAMES, skip=skip, witness=True)
    assert reply["reason"] == reason
    assert ("witness" in reply) == (reason != "correct" and "witness" not in skip)
    if reason == "correct":
        level = reply.get("level")
        assert level == ("proved" if "proof" not in skip else None if "instances" in skip else "equal_on_4_instances")


def test_without_instances_a_right_answer_is_that_of_the_shipped_data(ask):
    assert "level" not in ask(NAMES, NAMES, witness=True)
    assert ask("SELECT 4", "SELECT count(*) FROM item", witness=True)["reason"] == "correct"


PAIR = ("SELECT name FROM item WHERE price >= 5", DEAR)


def test_what_was_made_is_returned_and_read_again(look, tmp_path, monkeypatch):
    with_store = {"store": str(tmp_path / "judge.sqlite"), "hash": "of the shop"}
    store = Store(tmp_path / "judge.sqlite")
    first = look(*PAIR, **with_store)
    made = first.pop("made")
    json.dumps(made)
    assert b"0" in map(base64.b64decode, made.values())  # the proof that failed
    store.put(made)

    def never(*_, **__):
        raise AssertionError("made again")

    for name in ("build", "prove_equal", "top_up", "mine"):
        monkeypatch.setattr(further, name, never)
    again = look(*PAIR, **with_store)
    assert "made" not in again
    assert again == first
    store.close()


def test_what_was_made_for_one_database_is_not_used_for_another(look):
    scripts = [["CREATE TABLE item(name, price)", f"INSERT INTO item VALUES ('a', {n})"] for n in (7, 8)]
    one, other = [set(look(*PAIR, script=script)["made"]) for script in scripts]
    assert len(one) == len(other) > 1
    assert not one & other


@pytest.mark.parametrize("broken", [None, b"", b"no database" * 100])
def test_a_store_that_cannot_be_read_costs_only_time(look, tmp_path, broken):
    if broken is not None:
        (tmp_path / "judge.sqlite").write_bytes(broken)
    reply = look(*PAIR, store=str(tmp_path / "judge.sqlite"), hash="x")
    assert (reply["reason"], reply["level"]) == ("correct", "equal_on_4_instances")


def test_only_some_sets_stay_open(look, monkeypatch):
    monkeypatch.setattr(further, "_KEPT_SETS", 2)
    for n in range(4):
        reply = look(f"SELECT name FROM item WHERE price >= {n + 1}", f"SELECT name FROM item WHERE price > {n}")
        assert reply["reason"] in ("correct", SEPARATED)
