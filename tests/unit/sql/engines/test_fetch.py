"""Limits of rows, cells, text and time that the engines share."""

import threading
import time

import pytest

from slm.sql.engines.fetch import checked_text, deadline, fetch_rows
from slm.sql.results import Refused


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 999, 1000])
def test_all_rows_up_to_the_limit_are_fetched(count):
    rows = [(number,) for number in range(count)]
    assert fetch_rows(lambda wanted: [rows.pop(0) for _ in range(min(wanted, len(rows)))], 1, 1000) == [
        (number,) for number in range(count)
    ]


def test_one_row_above_the_limit_is_too_many_and_no_more_are_fetched():
    taken = []

    def fetch(count):
        taken.append(count)
        return [(1,)] * count

    with pytest.raises(Refused) as refusal:
        fetch_rows(fetch, 1, 1000)
    assert refusal.value.reason == "too_many_rows"
    assert sum(taken) == 1001


def test_wide_rows_are_limited_by_their_cells():
    with pytest.raises(Refused, match="too_many_rows"):
        fetch_rows(lambda count: [(1,) * 1000] * count, 1000, 1_000_000)


@pytest.mark.parametrize("cell", ["x" * (1 << 20), b"x" * (1 << 20)])
def test_long_text_is_refused(cell):
    with pytest.raises(Refused) as refusal:
        fetch_rows(lambda count: [(cell,)] * count, 1, 1000)
    assert refusal.value.reason == "memory"


def test_a_deadline_that_passes_stops_again_and_again_until_the_end():
    stops = []
    with deadline(0.01, lambda: stops.append(1)) as late:
        while len(stops) < 2:
            time.sleep(0.005)
    assert late.is_set()
    after = len(stops)
    time.sleep(0.1)
    assert len(stops) == after


def test_a_deadline_that_does_not_pass_stops_nothing_and_leaves_no_thread():
    before = threading.active_count()
    with deadline(60, lambda: pytest.fail("stopped")) as late:
        pass
    assert not late.is_set()
    assert threading.active_count() == before


@pytest.mark.parametrize("sql", ["SELECT 1\0", "SELECT '\udcff'"])
def test_text_that_cannot_be_passed_on_whole_is_wrong_syntax(sql):
    with pytest.raises(Refused) as refusal:
        checked_text(sql)
    assert refusal.value.reason == "syntax"


def test_other_text_is_passed_on():
    assert checked_text("SELECT 'ä 😀'") == "SELECT 'ä 😀'"
