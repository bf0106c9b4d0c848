"""A user reckons costs from published results, a file of their own, and stated prices."""

import json
import subprocess

import pytest

from command import ROOT, SLM, WITHOUT_TORCH, environment

RESULTS = ["--results", ROOT / "eval/results"]
GPT4 = ["--hosted", "gpt-4=DAIL-SQL-GPT-4"]
TOKENS = ["--input-tokens", "1600", "--output-tokens", "40"]
OWN = ["--usd-per-hour", "1", "--throughput", "2,1,3", "--utilisation", "0.5"]


@pytest.fixture
def cost(slm):
    """What `slm cost ARGUMENTS` prints as JSON, and its warnings."""

    def run(*arguments):
        done = slm("cost", *arguments, *RESULTS)
        (report,) = json.loads(done.stdout)
        return report, done.stderr

    return run


def test_recorded_answers_of_a_hosted_model(cost):
    report, warnings = cost(*GPT4, *TOKENS)
    (system,) = report["systems"]
    assert system["usd_per_1000_answers"]["value"] == pytest.approx(50.4)
    assert system["usd_per_1000_correct"]["value"] == pytest.approx(50.4 * 972 / 739)
    assert "warning: the price of gpt-4 is of 2023-06-13" in warnings
    (price,) = report["prices"]
    assert price["source"].startswith("https://")
    (system,) = cost(*GPT4)[0]["systems"]
    assert system["usd_per_1000_answers"] is system["input_tokens"] is None, "its tokens were not recorded"


def test_own_machines_against_hosted_models(cost, tmp_path):
    (tmp_path / "mine.json").write_text((ROOT / "eval/results/spider-dev/CodeS-1B.json").read_text())
    report, _ = cost("mine.json", *OWN, *GPT4, "--hosted", "claude-sonnet-5-5", *TOKENS, "--volume", "1000")
    mine, gpt4, claude = report["systems"]
    assert mine["usd_per_day"] == {"value": 24, "low": 24, "high": 24}
    assert gpt4["usd_per_day"]["value"] == pytest.approx(50.4)
    assert claude["accuracy"] is claude["usd_per_1000_correct"] is None
    against_gpt4, against_claude = report["break_even"]
    assert against_gpt4["answers"]["first"]["value"] == pytest.approx(24 / 0.0504)
    assert against_gpt4["correct"]["first"]["low"] < against_gpt4["correct"]["first"]["high"]
    assert against_claude["correct"] is None
    report, _ = cost("CodeS-1B", *GPT4, *TOKENS)
    assert report["systems"][0]["usd_per_1000_answers"] is report["break_even"][0]["answers"] is None


def test_the_sheet_of_gpus_energy_and_stated_prices(cost):
    served = ["--gpu", "l4", "--watts", "72", "--usd-per-kwh", "0.3", *OWN[2:]]
    report, warnings = cost("CodeS-1B", *served, "--hosted", "ours", "--price", "ours=3,1,4", *TOKENS, "--volume", "1")
    assert report["systems"][0]["usd_per_day"]["value"] == pytest.approx(24 * (0.80 + 0.072 * 0.3))
    assert report["prices"][0]["realtime"]["cached_input_usd_per_mtok"] == 1
    assert "warning: the price of NVIDIA L4" in warnings
    assert "ours" not in warnings


def test_it_needs_no_torch(slm, tmp_path):
    command = [SLM[0], "-c", WITHOUT_TORCH, "cost", "CodeS-1B", "--gpu", "l4", *OWN[2:], *GPT4, *map(str, RESULTS)]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
