"""Progress goes to stderr: a bar on a terminal, a line now and then elsewhere."""

import io
import sys

import pytest

from slm import progress
from slm.progress import Meter


@pytest.fixture
def clock(monkeypatch):
    """`clock(seconds)` lets time pass."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def tick(seconds: float) -> None:
        now[0] += seconds

    return tick


def test_a_log_gets_a_line_every_15_seconds_and_one_at_the_end(clock, capsys):
    with Meter("train", 10, unit="steps") as meter:
        for step in range(1, 11):
            clock(5)
            meter.advance(note=f"loss {step}")
    out, err = capsys.readouterr()
    assert out == "", "stdout is for results"
    assert err.splitlines() == [
        "train: 3/10 steps, 0.20 steps/s, 35 s left, loss 3",
        "train: 6/10 steps, 0.20 steps/s, 20 s left, loss 6",
        "train: 9/10 steps, 0.20 steps/s, 5 s left, loss 9",
        "train: 10/10 steps, 0.20 steps/s, 0 s left, loss 10",
    ]


def test_work_done_before_counts_as_done_and_not_as_speed(clock, capsys):
    with Meter("generate", 100, unit="answers", done=80) as meter:
        clock(20)
        meter.advance(10)
    assert capsys.readouterr().err.splitlines()[-1] == "generate: 90/100 answers, 0.50 answers/s, 20 s left"


def test_nothing_to_do_and_an_error_still_end_with_a_line(clock, capsys):
    with Meter("judge", 0, unit="answers"):
        pass
    assert capsys.readouterr().err == "judge: 0/0 answers, 0.00 answers/s\n"

    def fail() -> None:
        with Meter("judge", 3, unit="answers") as meter:
            meter.advance()
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert "judge: 1/3 answers" in capsys.readouterr().err


def test_other_processes_are_quiet(clock, capsys):
    with Meter("train", 2, unit="steps", quiet=True) as meter:
        clock(60)
        meter.advance(2)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "120")
    with Meter("train", 4, unit="steps", done=1) as meter:
        meter.advance(2, note="loss 0.31")
    shown = sys.stderr.getvalue()
    assert "train" in shown
    assert "3/4" in shown
    assert "loss 0.31" in shown
