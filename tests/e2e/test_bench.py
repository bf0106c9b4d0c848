"""A user loads a server with a suite's questions, sees speed and accuracy, and reckons the cost with it."""

import json
import signal
import subprocess
import time

import pytest

from command import ROOT, SLM, WITHOUT_TORCH, environment
from streaming import streaming

GOLD = ROOT / "eval/suites/roastery/test.jsonl"
QUICK = ["--first-ms", 5, "--gap-ms", 1, "--tokens", 4]


@pytest.fixture
def report(slm):
    """What `slm bench ARGUMENTS` reports."""

    def run(*arguments, **variables):
        done = slm("bench", *arguments, **variables)
        (found,) = json.loads(done.stdout)
        return found

    return run


def asking_gold(url):
    """Twenty questions to a server that has the gold queries."""
    return ["roastery:test", "--url", url, "--model", "gold", "--requests", 20, "--out", "x.jsonl"]


def test_right_answers_are_found_right_cold_and_warm(report, slm, tmp_path):
    with streaming("--answers", GOLD, *QUICK) as url:
        found = report(*asking_gold(url), "--cache", "pair", "--concurrency", 4)
    cold, warm = found["loads"]
    for figures in (cold, warm):
        assert figures["accuracy"]["right"] == figures["accuracy"]["total"] == figures["ok"] == 20
        assert figures["by_reason"] == {"correct": 20}
        assert figures["latency"]["ttft_s"]["p50"] > 0.004
        assert figures["throughput"]["answers_per_s"] > 0
    assert cold["cached_tokens"] == 0 < warm["cached_tokens"]
    assert found == json.loads((tmp_path / "x.json").read_text())
    again = report("--report", "x.jsonl")
    assert again["loads"] == found["loads"], "the file has everything"
    judged = report("--report", "x.jsonl", "--slo", "ttft_p95=900s")
    assert [figures["slo_met"] for figures in judged["loads"]] == [True, True]
    served = ["--usd-per-hour", 1, "--utilisation", 0.5, "--hosted", "gpt-4", "--tokens-of", "x.json"]
    done = slm("cost", "CodeS-1B", "--throughput", "x.json", *served, "--results", ROOT / "eval/results")
    (cost,) = json.loads(done.stdout)
    own, hosted = cost["systems"]
    best = max(figures["throughput"]["answers_per_s"] for figures in judged["loads"])
    assert own["usd_per_1000_answers"]["value"] == pytest.approx(1000 / (3600 * 0.5 * best))
    fastest = max(judged["loads"], key=lambda figures: figures["throughput"]["answers_per_s"])
    assert hosted["input_tokens"] == fastest["prompt_tokens"]
    assert hosted["output_tokens"] == fastest["completion_tokens"]


def test_a_benchmark_is_published_with_what_right_answers_cost(report, slm, tmp_path):
    with streaming("--answers", GOLD, *QUICK) as url:
        report(*asking_gold(url), "--concurrency", 4)
    publish = ["--publish", "--server", "a test server", "--name", "gold-at-4", "--results", "results"]
    report("--report", "x.jsonl", *publish)
    file = tmp_path / "results" / "roastery-test" / "gold-at-4.json"
    found = json.loads(file.read_text())
    assert (found["accuracy"]["right"], found["examples"], found["cost"]) == (20, 20, None)
    assert found["load"]["p95_s"] >= found["load"]["p50_s"] > 0.004
    own = ["--throughput", "x.json", "--usd-per-hour", 1, "--utilisation", 0.5]
    slm("cost", "gold-at-4", *own, "--results", "results", "--publish")
    cost = json.loads(file.read_text())["cost"]
    per_answer = 1000 / (3600 * 0.5 * found["load"]["answers_per_s"])
    assert cost["usd_per_1000_correct"] == pytest.approx(per_answer)
    assert cost["low"] <= cost["usd_per_1000_correct"] < cost["high"]
    slm("leaderboard", "--results", "results", "--out", "board.md")
    board = (tmp_path / "board.md").read_text()
    assert "a test server | 4 at a time, warm cache |" in board
    assert "$1 an hour, 50% used | [gold-at-4](results/roastery-test/gold-at-4.json) |" in board


def test_a_sweep_finds_the_highest_rate(report):
    options = ["--requests", 30, "--sweep", "20,80", "--slo", "total_p95=20s", "--cache", "cold"]
    with streaming(*QUICK) as url:
        found = report("roastery:test", "--url", url, "--model", "m", *options)
        assert [figures["rate"] for figures in found["loads"]] == [20, 40, 80]
        assert found["highest"] == [{"cache": "cold", "rate": 80}]
        options[5] = "total_p95=1ms"
        found = report("roastery:test", "--url", url, "--model", "m", *options)
    assert found["highest"] == [{"cache": "cold", "rate": None}]
    assert found["loads"][0]["slo_met"] is False


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_ended_early_it_reports_what_it_has_and_continues(report, tmp_path, how):
    options = ["--requests", "30", "--concurrency", "1", "--cache", "cold", "--out", "load.jsonl"]
    with streaming("--first-ms", 100, "--tokens", 2) as url:
        load = ["roastery:test", "--url", url, "--model", "m", *options]
        process = subprocess.Popen([*SLM, "bench", *load], cwd=tmp_path, env=environment(), stdout=subprocess.DEVNULL)
        file, deadline = tmp_path / "load.jsonl", time.monotonic() + 120
        while not (file.exists() and file.read_text().count('"request"') >= 5):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(how)
        assert process.wait(60) == (130 if how == signal.SIGINT else -how)
        kept = [json.loads(line)["id"] for line in file.read_text().splitlines() if '"request"' in line]
        (part,) = report("--report", "load.jsonl")["loads"]
        assert (part["ok"], part["missing"], part["failed"]) == (len(kept), 30 - len(kept), 0)
        (whole,) = report(*load)["loads"]
    assert (whole["ok"], whole["missing"]) == (30, 0)
    ids = [json.loads(line)["id"] for line in file.read_text().splitlines() if '"request"' in line]
    assert ids[: len(kept)] == kept
    assert len(set(ids)) == len(ids) == 30


def test_a_key_is_seen_nowhere(tmp_path):
    sentinel = "sk-sentinel-71c2"
    options = ["--requests", "40", "--concurrency", "1", "--cache", "cold", "--key-env", "THE_KEY"]
    with streaming("--key-env", "THE_KEY", "--first-ms", 50, THE_KEY=sentinel) as url:
        command = [*SLM, "bench", "roastery:test", "--url", url, "--model", "m", *options]
        where = {"cwd": tmp_path, "env": environment(THE_KEY=sentinel)}
        process = subprocess.Popen(command, **where, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        listed = subprocess.run(["ps", "-ww", "-o", "args=", "-p", str(process.pid)], capture_output=True, text=True)
        said = "".join(process.communicate(timeout=120))
        assert process.returncode == 0, said
        wrong = {"cwd": tmp_path, "env": environment(THE_KEY=f"{sentinel}-wrong")}
        refused = subprocess.run([*command, "--out", "other.jsonl"], **wrong, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "http_401" in refused.stderr
    files = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())
    assert "roastery:test" in files + listed.stdout
    assert sentinel not in files + listed.stdout + said + refused.stdout + refused.stderr


def test_it_needs_no_torch(tmp_path):
    with streaming(*QUICK) as url:
        command = [SLM[0], "-c", WITHOUT_TORCH, "bench", "roastery:test", "--url", url, "--model", "m"]
        done = subprocess.run(
            [*command, "--requests", "3"], cwd=tmp_path, env=environment(), capture_output=True, text=True
        )
    assert done.returncode == 0, done.stderr
