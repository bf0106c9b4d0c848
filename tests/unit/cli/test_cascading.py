"""`slm cascade` finds the answers that results are about, and refuses what cannot be compared."""

import json
import sys

import pytest

from slm.cli.app import app
from slm.errors import InputError
from slm.files import sha256_file
from slm.recipe import RunFolder
from slm.records import Generation, Rate, Result, Verdict

SUITE = "roastery:test"


def scored(path, rights, *, logprobs=None, instances=0, seconds=None):
    """A run as `slm eval` leaves it; with `logprobs` its answers were generated, not read from a file."""
    run = RunFolder(path)
    names = [f"q{n}" for n in range(len(rights))]
    predictions = run.predictions(f"{SUITE}-0a1b2c3d")
    predictions.parent.mkdir(parents=True)
    if logprobs:
        lines = [
            Generation(example_id=name, text="SELECT 1", logprob=value, completion_tokens=2, total_s=seconds)
            for name, value in zip(names, logprobs, strict=True)
        ]
        predictions.write_text("".join(f"{line.model_dump_json()}\n" for line in lines))
    verdicts = [
        Verdict(example_id=name, correct=right, reason="correct" if right else "wrong_result")
        for name, right in zip(names, rights, strict=True)
    ]
    run.verdicts(SUITE).parent.mkdir()
    run.verdicts(SUITE).write_text("".join(f"{verdict.model_dump_json()}\n" for verdict in verdicts))
    card = {"predictions": sha256_file(predictions) if logprobs else "of a file of somebody else"}
    rate = Rate.of(sum(rights), len(rights))
    result = Result(
        run=path.name, suite=SUITE, model="m", examples=len(rights), unavailable=0, questions_fingerprint="f",
        accuracy=rate, instances=instances, by_reason={}, by_tag={}, card=card,
    )  # fmt: skip
    run.result(SUITE).parent.mkdir()
    run.result(SUITE).write_text(result.model_dump_json())


@pytest.fixture
def runs(tmp_path):
    scored(tmp_path / "small", [True, False, True], logprobs=[-0.2, -4.0, -0.4], seconds=0.5)
    scored(tmp_path / "large", [True, True, True, True])
    scored(tmp_path / "harder", [True, True, True], instances=4)
    (tmp_path / "unscored").mkdir()
    return ["--runs", str(tmp_path)]


def test_the_unsure_answer_goes_on(runs, capsys):
    app(["cascade", "small", "large", SUITE, "--small-usd", "1", "--large-usd", "30", *runs], standalone_mode=False)
    printed = capsys.readouterr()
    (found,) = json.loads(printed.out)
    assert (found["questions"], found["small"]["right"], found["large"]["right"]) == (3, 2, 3)
    assert found["chosen"]["accuracy"]["right"] == 3
    assert found["chosen"]["threshold"] == -0.2, "a token's log-probability: the next surer answer's"
    assert found["chosen"]["usd_per_1000"] == pytest.approx(11)
    assert "3 questions were judged for both; 1 only for one of them" in printed.err


def test_its_curve_is_shown_on_the_page(runs, capsys, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    app(["cascade", "small", "large", SUITE, "--large-usd", "30", *runs, "--json"], standalone_mode=False)
    (tmp_path / "ours.json").write_text(capsys.readouterr().out)
    cost = ["cost", "--hosted", "m", "--price", "m=1,2", "--input-tokens", "9", "--output-tokens", "9"]
    monkeypatch.chdir(tmp_path)
    app([*cost, "--page", "page.md", "--cascade", "ours.json"], standalone_mode=False)
    assert "](page-cascade.svg)" in (tmp_path / "page.md").read_text()
    (curve,) = json.loads((tmp_path / "page.json").read_text())["curves"]
    assert (curve["system"], curve["x"][-1], curve["y"][-1]) == ("ours", 100, 100)
    for wrong in (["--cascade", "ours.json"], ["--page", "page.md", "--cascade", "page.json"]):
        with pytest.raises(InputError):
            app([*cost, *wrong], standalone_mode=False)


def test_on_a_terminal_it_is_a_table(runs, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    app(["cascade", "small", "large", SUITE, "--large-usd", "30", *runs], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "small alone" in shown
    assert "33%" in shown
    assert "the same choice on held-out questions" in shown


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (("small", "nobody"), "nobody: no such run"),
        (("small", "unscored"), "not scored on roastery:test"),
        (("small", "harder"), "the two were not judged alike"),
        (("large", "small"), "has a log-probability"),
    ],
)
def test_what_cannot_be_compared_is_refused(names, problem, runs):
    with pytest.raises(InputError) as raised:
        app(["cascade", *names, SUITE, *runs], standalone_mode=False)
    assert problem in str(raised.value)
