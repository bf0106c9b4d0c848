"""`slm bench` refuses what is not clear, shows a table on a terminal, and asks as a model's tokenizer would."""

import json
import sys

import pytest

from command import ROOT
from slm.cli.app import app
from slm.errors import DataError, InputError
from streaming import streaming
from tiny import make_tiny_model

WHO = ["roastery:test", "--url", "http://localhost:1/v1", "--model", "m"]


def bench(*arguments: object) -> None:
    app(["bench", *map(str, arguments)], standalone_mode=False)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["roastery:test", "--model", "m"], "it is not clear who is asked what"),
        (["--report", "x.jsonl", "--model", "m"], "a report asks nothing"),
        ([*WHO, "--rate", "1", "--concurrency", "2"], "more than one load"),
        ([*WHO, "--sweep", "1,4"], "nothing says what a rate must keep"),
        ([*WHO, "--sweep", "1-4", "--slo", "ttft_p95=1s"], "--sweep 1-4: no range of rates"),
        ([*WHO, "--slo", "fast"], "--slo fast: no objective"),
        ([*WHO, "--cache", "hot"], "--cache hot: no such state of the cache"),
        ([*WHO, "--out", "load.json"], "--out load.json: not the name of a load file"),
        ([*WHO, "--publish", "--name", "x"], "nothing names the row"),
        ([*WHO, "--of", "no-such-run"], "no-such-run: not a training run"),
        ([*WHO, "--key-env", "SLM_NO_SUCH_KEY"], "SLM_NO_SUCH_KEY: the environment variable is not set"),
        (["roastery:test", "--url", "http://me:secret@host/v1", "--model", "m"], "the address holds a name"),
    ],
)
def test_what_is_not_clear_is_refused(arguments, problem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((InputError, DataError)) as raised:
        bench(*arguments)
    assert problem in str(raised.value)
    assert "secret" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_file_is_of_one_benchmark(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with streaming("--first-ms", 1, "--tokens", 2) as url:
        ask = ["roastery:test", "--url", url, "--model", "m", "--out", "load.jsonl", "--requests", 2]
        bench(*ask)
        with pytest.raises(InputError, match="the file is of another benchmark"):
            bench(*ask, "--max-tokens", 7)


def test_on_a_terminal_it_is_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "240")
    with streaming("--first-ms", 1, "--tokens", 2, "--faults", "ok,ok,400") as url:
        ask = ["roastery:test", "--url", url, "--model", "m", "--out", "load.jsonl", "--requests", 6]
        bench(*ask, "--rate", 50, "--slo", "total_p50=900s")
    shown = capsys.readouterr().out
    for part in ("warm, 50 a second", "4 of 6", "2 http_400", "kept", "too few to tell", "load.jsonl and load.json"):
        assert part in shown
    assert "highest rate that keeps total_p50=900000ms, warm cache: 50 a second" in shown
    (tmp_path / "load.jsonl").write_text((tmp_path / "load.jsonl").read_text().replace("roastery:test", "gone.jsonl"))
    bench("--report", "load.jsonl", "--json")
    told = capsys.readouterr()
    assert "warning: the answers are not graded" in told.err
    assert json.loads(told.out)[0]["loads"][0]["accuracy"] is None
    with pytest.raises(DataError, match="no such file"):
        bench("--report", "nothing.jsonl")


def test_other_times_are_another_benchmark(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with streaming("--first-ms", 1, "--tokens", 2) as url:
        ask = ["roastery:test", "--url", url, "--model", "m", "--out", "load.jsonl", "--trace", "times.txt"]
        (tmp_path / "times.txt").write_text("0\n0.05\n0.06\n")
        bench(*ask)
        (load,) = json.loads((tmp_path / "load.json").read_text())["loads"]
        assert (load["ok"], load["load"]) == (3, "replay of times.txt")
        (tmp_path / "times.txt").write_text("0\n0.01\n0.06\n")
        with pytest.raises(InputError, match="the file is of another benchmark"):
            bench(*ask)


def test_a_failed_request_is_no_right_answer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gold = ROOT / "eval/suites/roastery/test.jsonl"
    with streaming("--first-ms", 1, "--gap-ms", 1, "--answers", gold, "--faults", "ok,400,500,429") as url:
        ask = ["roastery:test", "--url", url, "--model", "m", "--out", "load.jsonl", "--requests", 8]
        bench(*ask, "--cache", "cold", "--retries", 0)
    (load,) = json.loads((tmp_path / "load.json").read_text())["loads"]
    assert load["by_reason"] == {"no_answer": 6, "correct": 2}
    assert (load["accuracy"]["right"], load["accuracy"]["total"]) == (2, 8)


def test_a_tokenizer_says_how_to_ask_and_counts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = make_tiny_model("llama", tmp_path / "tiny")
    with streaming("--first-ms", 1, "--tokens", 3, "--no-usage") as url:
        ask = ["roastery:test", "--url", url, "--model", "m", "--out", "load.jsonl", "--requests", 2]
        bench(*ask, "--tokenizer", model)
    (load,) = json.loads((tmp_path / "load.json").read_text())["loads"]
    assert load["tokens_from"] == ["tokenizer"]
    assert load["completion_tokens"] > 0
    assert load["prompt_tokens"] is None, "only a server knows what its template makes of a prompt"
