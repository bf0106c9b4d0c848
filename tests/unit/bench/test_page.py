"""The page says what is known, marks what cannot be compared, and draws what has a place."""

from datetime import date

import pytest

from slm.bench import Hosting, Latency, Price, Rates, Report, Span, Tokens, crossings, hosted_system, own_system
from slm.bench.cost import pareto
from slm.bench.page import _at, render_page, write_page
from slm.records import Rate, Result

TODAY = date(2026, 11, 26)
PRICE = Price(
    model="big", provider="them", realtime=Rates(input_usd_per_mtok=10, cached_input_usd_per_mtok=None,
    output_usd_per_mtok=30), source="their page", date=date(2026, 11, 1), batch=None, prompt_limit_tokens=None,
)  # fmt: skip


def result(run, right, *, questions="f"):
    return Result(
        run=run, suite="s", model="m", examples=100, unavailable=0, questions_fingerprint=questions,
        accuracy=Rate.of(right, 100), by_reason={}, by_tag={}, card={},
    )  # fmt: skip


def report(*, questions="f", latency=None, price=PRICE):
    hosting = Hosting(usd_per_hour=0.36, answers_per_s=Span.of(2, 1, 4), utilisation=0.5)
    own = own_system(result("mine", 80), "yourself", hosting, latency=latency)
    hosted = hosted_system(price, result("theirs", 90, questions=questions), Tokens(input=1000, output=100))
    return Report(
        systems=(own, hosted), break_even=tuple(crossings([(own, hosting)], [hosted])), prices=(price,)
    )  # fmt: skip


def test_the_page_has_every_system_with_its_figures():
    page = render_page(report(), TODAY, picture="x.svg")
    (mine,) = [line for line in page.splitlines() if line.startswith("| mine | yourself")]
    assert "2 answers/s of which 50% are used" in mine
    assert "80.0% (71.1% to 86.7%) | 100 | 0.1 (0.05 to 0.2)" in mine
    assert "not measured" in mine
    assert "| theirs | them: big | 90.0%" in page
    assert "- big: their page, 2026-11-01\n" in page
    assert "![Accuracy against the cost of 1,000 answers](x.svg)" in page
    assert "same questions" not in page


def test_what_cannot_be_compared_or_is_old_is_said():
    old = PRICE.model_copy(update={"date": date(2023, 1, 1)})
    page = render_page(report(questions="others", price=old), TODAY, picture=None)
    assert "**Not all accuracies are of the same questions**" in page
    assert "2023-01-01 (**old**" in page
    assert "![" not in page
    (crossing,) = [line for line in page.splitlines() if line.startswith("| mine | theirs")]
    assert crossing.endswith("| – | – |"), "right answers to other questions break even nowhere"


def test_a_latency_is_there_where_it_was_measured():
    assert "0.40 s / 1.25 s" in render_page(report(latency=Latency(p50_s=0.4, p95_s=1.25)), TODAY, picture=None)


def test_files_of_a_page(tmp_path):
    pytest.importorskip("matplotlib")
    files = write_page(report(), tmp_path / "page.md", TODAY)
    assert sorted(file.name for file in files) == ["page.json", "page.md", "page.png", "page.svg"]
    first = {file.name: file.read_bytes() for file in files}
    assert Report.model_validate_json(first["page.json"]) == report()
    assert b"mine" in first["page.svg"]
    assert {file.name: file.read_bytes() for file in write_page(report(), tmp_path / "page.md", TODAY)} == first
    alone = Report(systems=(own_system(result("mine", 80), "yourself", None),), break_even=(), prices=())
    assert [file.name for file in write_page(alone, tmp_path / "none.md", TODAY)] == ["none.md", "none.json"]


def test_the_front_leaves_out_what_another_beats():
    found = report()
    worse = found.systems[1].model_copy(update={"system": "worse", "accuracy": Rate.of(70, 100)})
    assert [one.system for one in pareto([*found.systems, worse], _at)] == ["mine", "theirs"]
