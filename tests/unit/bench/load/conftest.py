"""A benchmark of a few questions against the reference server."""

from pathlib import Path

import pytest

from slm.bench.load import Bench, LoadFile, Plan, Retry, Target, closed, read_load
from slm.records import Prompt

ASKED = [(f"q{number}", Prompt(context="CREATE TABLE t (a)", question=f"How many {number}?")) for number in range(5)]
PLAN = Plan(suite="none", url="here", model="m", prompts="0", settings={})
QUICK = Retry(retries=4, first_s=0.01, longest_s=0.1)


@pytest.fixture
def bench(tmp_path):
    """Runs a load against `url`; what the file holds afterwards, as it was read back."""

    def run(
        url: str, load=None, *, requests=10, caches=("warm",), retry=QUICK, out: Path | None = None, **target
    ) -> LoadFile:
        file = out or tmp_path / "load.jsonl"
        told = Bench(PLAN, Target(url, "m", **target), ASKED, file, retry).run(load or closed(3), requests, caches)
        kept = read_load(file)
        assert kept == told, "what is told is what was written"
        return kept

    return run


@pytest.fixture
def measured():
    """The requests of the measured phases."""

    def of(load: LoadFile):
        numbers = {phase.number for phase in load.phases if phase.measured}
        return [outcome for outcome in load.outcomes if outcome.phase in numbers]

    return of
