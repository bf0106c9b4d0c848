"""The same pairs judged on three engines agree, or differ as the file says and why."""

import json
from pathlib import Path

import pytest

from slm.sql import Pair, judge

PAIRS = [json.loads(line) for line in (Path(__file__).parent / "pairs.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module", params=["sqlite", "duckdb", "postgres"])
def verdicts(request, shop_sqlite):
    """The engine's name, and its verdicts by pair."""
    databases = {"sqlite": lambda: shop_sqlite}
    for name in ("duckdb", "postgres"):
        databases[name] = lambda name=name: request.getfixturevalue(f"shop_{name}")
    database = databases[request.param]()
    pairs = [Pair(p["id"], (p["gold"],), p["pred"], database, dialect=request.param) for p in PAIRS]
    return request.param, {verdict.example_id: verdict for verdict in judge(pairs, timeout_s=10)}


def test_there_are_fifty_pairs():
    assert len(PAIRS) == 50


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair["id"])
def test_verdict(pair, verdicts):
    engine, found = verdicts
    expected = pair.get("differs", {}).get(engine, pair)["correct"]
    verdict = found[pair["id"]]
    assert verdict.correct is expected, verdict
