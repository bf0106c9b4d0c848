"""What the client says of times, against when the reference server really wrote."""

import json

import pytest

from slm.bench.load import all_figures, closed, open_loop
from slm.bench.load.run import Recorder
from slm.errors import DiskFullError
from streaming import streaming


def truth(log) -> dict[int, dict]:
    return {row["number"]: row for row in map(json.loads, log.read_text().splitlines())}


def pairs(file, outcomes, log):
    """(outcome, its line of the server's log, the phase's start), by the number at the end of the answer."""
    clocks = {phase.number: phase.clock_ns for phase in file.phases}
    rows = truth(log)
    return [(each, rows[int(each.text.split("#")[1])], clocks[each.phase]) for each in outcomes]


@pytest.mark.parametrize("streams", [1, 16])
def test_every_piece_is_stamped_when_it_was_written(bench, measured, tmp_path, streams):
    log = tmp_path / "truth.jsonl"
    with streaming("--log", log, "--tokens", 12, "--gap-ms", 8) as url:
        file = bench(url, closed(streams), requests=2 * streams, caches=["cold"])
    late_ms = []
    for outcome, row, clock_ns in pairs(file, measured(file), log):
        assert len(outcome.chunks_us) == len(row["written_ns"]) == 12
        assert clock_ns + outcome.sent_s * 1e9 <= row["received_ns"] + 1000, "stamped before it was sent, to the µs"
        at_us = (clock_ns / 1000) + outcome.sent_s * 1e6
        for gap_us, written_ns in zip(outcome.chunks_us, row["written_ns"], strict=True):
            at_us += gap_us
            late_ms.append((at_us - written_ns / 1000) / 1000)
        assert outcome.first_token_s == pytest.approx(outcome.sent_s + outcome.chunks_us[0] / 1e6, abs=1e-5)
        assert outcome.last_token_s == pytest.approx(outcome.sent_s + sum(outcome.chunks_us) / 1e6, abs=2e-5)
    late_ms.sort()
    assert late_ms[len(late_ms) // 20] > -1, "pieces are not seen before they are written"
    assert late_ms[len(late_ms) // 2] < 20, "nor, even on a busy machine, long after"


def test_a_stall_is_in_the_latency_of_all_who_wait(bench, measured, tmp_path):
    """An open loop goes on sending while a server stands still, and counts from when each was due."""
    log = tmp_path / "truth.jsonl"
    options = ("--log", log, "--tokens", 2, "--first-ms", 5, "--gap-ms", 1, "--stall-at-s", 0.8, "--stall-s", 0.5)
    with streaming(*options) as url:
        file = bench(url, open_loop(40, 100), requests=100, caches=["cold"])
    late = [outcome for outcome in measured(file) if outcome.ttft_s > 0.1]
    assert len(late) > 8, "in half a second about 20 were due"
    assert max(outcome.ttft_s for outcome in late) > 0.4
    ordered = sorted(late, key=lambda outcome: outcome.scheduled_s)
    assert ordered[0].ttft_s > ordered[-1].ttft_s, "who came later waited less"


def test_who_waits_for_another_try_has_waited(bench, measured):
    with streaming("--tokens", 2, "--first-ms", 5, "--faults", "429,ok", "--retry-after-s", 0.3) as url:
        file = bench(url, open_loop(1000, 2), requests=2, caches=["cold"])
    retried = [outcome for outcome in measured(file) if outcome.retried]
    assert retried
    for outcome in retried:
        assert outcome.ttft_s > 0.3 > outcome.first_token_s - outcome.sent_s


def test_cold_and_warm_are_a_pair_that_is_never_mixed(bench, measured):
    with streaming("--tokens", 2, "--first-ms", 1) as url:
        file = bench(url, closed(2), requests=10, caches=["cold", "warm"])
    cold, warm = all_figures(file)
    assert (cold.cache, warm.cache) == ("cold", "warm")
    assert cold.cached_tokens == 0
    assert warm.cached_tokens > 0
    assert [phase.name for phase in file.phases] == ["cold, 2 at a time", "fill 1", "warm, 2 at a time"]
    assert (cold.requests, warm.requests) == (10, 10), "what fills the cache is in no figure"


def test_a_killed_benchmark_goes_on_where_it_was(bench, measured, tmp_path):
    out = tmp_path / "load.jsonl"
    with streaming("--tokens", 2, "--first-ms", 1) as url:
        whole = bench(url, open_loop(200, 20), requests=20, out=out)
        lines = out.read_text().splitlines(keepends=True)
        out.write_text("".join(lines[:12]) + lines[12][:30])  # as a kill leaves it
        before = [json.loads(line) for line in lines[:12]]
        again = bench(url, open_loop(200, 20), requests=20, out=out)
        assert bench(url, open_loop(200, 20), requests=20, out=out) == again, "nothing is left to ask"
    assert {outcome.id for outcome in measured(again)} == {outcome.id for outcome in measured(whole)}
    kept = [row for row in before if row["kind"] == "request"]
    assert [outcome.model_dump(mode="json") for outcome in again.outcomes[: len(kept)]] == kept
    (figures,) = all_figures(again)
    assert (figures.ok, figures.missing, len(figures.windows)) == (20, 0, 2)
    assert [phase.measured for phase in again.phases] == [False, True, False, True], "the cache is filled anew"


def test_on_a_full_disk_nothing_more_is_asked(bench, tmp_path, monkeypatch):
    with streaming("--tokens", 2, "--first-ms", 1, "--log", tmp_path / "log") as url:
        bench(url, closed(1), requests=1, caches=["cold"], out=tmp_path / "first.jsonl")
        monkeypatch.setattr(Recorder, "_write_some", lambda recorder, waiting: fail())
        with pytest.raises(DiskFullError):
            bench(url, closed(2), requests=400, caches=["cold"])
    assert len((tmp_path / "log").read_text().splitlines()) < 100


async def fail():
    raise DiskFullError("the disk is full")
