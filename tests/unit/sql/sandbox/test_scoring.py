"""Kill scores are counted in a worker."""

import pytest

from slm.sql.sandbox.scoring import Scorer

DEAR = "SELECT name FROM item WHERE price > 4"


@pytest.fixture
def score(heartbeat, request_for):
    scorer = Scorer(heartbeat, timeout_s=1.0, max_rows=100)
    return lambda sql, **keys: scorer(request_for(sql=sql, **{"instances": 4, **keys}))


def test_most_neighbours_of_a_gold_are_told_apart(score):
    reply = score(DEAR)
    assert reply["reason"] == "ok"
    assert reply["instances"] == 4
    assert reply["mutants"] >= 10
    assert reply["killed"] >= 0.6 * reply["mutants"]
    assert reply["killed"] + reply["fragile_killed"] + len(reply["survivors"]) == reply["mutants"]
    assert DEAR not in reply["survivors"]


def test_more_instances_tell_no_fewer_apart(score):
    assert score(DEAR, instances=1)["killed"] <= score(DEAR, instances=8)["killed"]


def test_the_counts_are_the_same_each_time_and_what_was_made_is_returned(score):
    first = score(DEAR)
    assert len(first["made"]) == 1
    again = score(DEAR)
    assert {**again, "made": None} == {**first, "made": None}


@pytest.mark.parametrize(
    ("sql", "reason"), [("SELECT nosuch FROM item", "gold_failed"), ("DROP TABLE item", "gold_failed")]
)
def test_a_gold_that_fails_has_no_score(score, sql, reason):
    reply = score(sql)
    assert reply["reason"] == reason
    assert "mutants" not in reply


def test_a_database_that_is_not_there(score):
    assert score(DEAR, source="file:///nowhere.sqlite?mode=ro")["reason"] == "database_unavailable"
