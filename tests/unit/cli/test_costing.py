"""`slm cost` refuses what cannot be reckoned with, and shows a table on a terminal."""

import sys

import pytest

from command import ROOT
from slm.cli.app import app
from slm.errors import InputError

RESULTS = ["--results", str(ROOT / "eval/results")]
TOKENS = ["--input-tokens", "1600", "--output-tokens", "40"]
OWN = ["--usd-per-hour", "1", "--throughput", "2,1,3", "--utilisation", "0.5"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "nothing to reckon with"),
        (["nothing"], "nothing: no such result"),
        (["smollm2-135m-untuned"], "roastery-test/smollm2-135m-untuned, spider-dev/smollm2-135m-untuned"),
        (["quickstart", *OWN[2:]], "state --gpu or --usd-per-hour, and --utilisation"),
        (["quickstart", "CodeS-1B", *OWN], "1 throughputs are given\n  expected: 2, one for each RESULT"),
        (["quickstart", *OWN, "--watts", "300"], "energy needs both"),
        (["quickstart", *OWN[:2], "--throughput", "2,3,1", *OWN[4:]], "the value between the others"),
        (["quickstart", *OWN[:2], "--throughput", "fast", *OWN[4:]], "--throughput fast: not to be read"),
        (["quickstart", "--gpu", "h200"], "--gpu h200: the sheet has no price of it"),
        (["--hosted", "gpt-4", "--price", "gpt-5=1,2"], "--price gpt-5: no --hosted names this model"),
        (["--hosted", "x", "--price", "x=1"], "2 or 3 numbers"),
        (["--hosted", "x", "--price", "x=1,2,3"], "cached input costs more"),
        (["CodeS-1B", "--publish"], "what its right answers cost is not known"),
        (["--hosted", "gpt-4", "--batch", *TOKENS], "gpt-4: no price for batches"),
        (["--hosted", "gpt-4", "--cached-tokens", "1601", *TOKENS], "1,601 cached tokens"),
    ],
)
def test_what_cannot_be_reckoned_is_refused(arguments, problem):
    with pytest.raises(InputError) as raised:
        app(["cost", *arguments, *RESULTS], standalone_mode=False)
    assert problem in str(raised.value)


def test_on_a_terminal_it_is_a_table(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "240")
    hosted = ["--hosted", "gpt-4=DAIL-SQL-GPT-4", "--hosted", "gpt-6.1-sol"]
    app(["cost", "CodeS-1B", *OWN, *hosted, *TOKENS, *RESULTS], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "66.29 (64.12 – 68.81)" in shown
    assert " 476 " in shown, "a machine costs $24 a day, an answer of gpt-4 $0.0504"
    assert (shown.count("1600 + 40"), shown.count("– + –")) == (2, 1), "stated tokens are those of hosted answers"
    assert "price of gpt-6.1-sol: genai-prices" in shown
    app(["cost", "CodeS-1B", "--hosted", "gpt-4=DAIL-SQL-GPT-4", *RESULTS], standalone_mode=False)
    shown = capsys.readouterr().out
    assert shown.count("– + –") == 2, "tokens that nobody recorded are dashes"
    assert "0.0" not in shown
