"""The page says what is known, marks what cannot be compared, and draws what has a place."""

from datetime import date

import pytest

from slm.bench import Hosting, Latency, Price, Rates, Report, Span, Tokens, crossings, hosted_system, own_system
from slm.bench.cost import pareto
from slm.bench.curves import Curve, load_curves, volume_curves
from slm.bench.load import Figures, LoadReport, Plan, Quantiles
from slm.bench.load.figures import Latency as Latencies
from slm.bench.load.figures import Throughput
from slm.bench.page import Page, _at, render_page, write_page
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


def sides():
    """The own system with its hosting, and the hosted one, of `report`."""
    own, hosted = report().systems
    hosting = Hosting(usd_per_hour=0.36, answers_per_s=Span.of(2, 1, 4), utilisation=0.5)
    return [(own, hosting)], [hosted]


def load_report(rates, total):
    none = {"ttft_s": None, "server_ttft_s": None, "tpot_s": None, "itl_s": None, "queue_s": None}
    loads = [
        Figures(
            name=f"{rate}", cache="warm", load=f"{rate} a second", rate=rate, concurrency=None, requests=9, ok=9,
            failed=0, missing=0, empty=0, errors={}, retries={}, retried_requests=0, windows=(), window_s=1,
            steady=True,
            latency=Latencies(total_s=total, **none), slo_met=True, prompt_tokens=1, cached_tokens=0,
            completion_tokens=1, tokens_from=(),
            throughput=Throughput(
                answers_per_s=answers, answers_per_s_low=None, answers_per_s_high=None, output_tokens_per_s=None,
                goodput_per_s=None,
            ),
        )
        for rate, answers in rates
    ]  # fmt: skip
    plan = Plan(suite="s", url="u", model="m", prompts="p", settings={})
    return LoadReport(file="f", plan=plan, slo="total_p95=9s", loads=tuple(loads))


def test_the_page_has_every_system_with_its_figures():
    page = render_page(report(), TODAY, {"cost": "x.svg", "volume": "v.svg"})
    (mine,) = [line for line in page.splitlines() if line.startswith("| mine | yourself")]
    assert "2 answers/s of which 50% are used" in mine
    assert "80.0% (71.1% to 86.7%) | 100 | 0.1 (0.05 to 0.2)" in mine
    assert "not measured" in mine
    assert "| theirs | them: big | 90.0%" in page
    assert "- big: their page, 2026-11-01\n" in page
    assert "![Accuracy against the cost of 1,000 answers](x.svg)" in page
    assert "![Cost a day against answers a day](v.svg)" in page
    assert "same questions" not in page


def test_what_cannot_be_compared_or_is_old_is_said():
    old = PRICE.model_copy(update={"date": date(2023, 1, 1)})
    page = render_page(report(questions="others", price=old), TODAY, {})
    assert "**Not all accuracies are of the same questions**" in page
    assert "2023-01-01 (**old**" in page
    assert "![" not in page
    (crossing,) = [line for line in page.splitlines() if line.startswith("| mine | theirs")]
    assert crossing.endswith("| – | – |"), "right answers to other questions break even nowhere"


def test_a_latency_is_there_where_it_was_measured():
    assert "0.40 s / 1.25 s" in render_page(report(latency=Latency(p50_s=0.4, p95_s=1.25)), TODAY, {})


def test_files_of_a_page(tmp_path):
    pytest.importorskip("matplotlib")
    slow = (1.0, 2.0, 3.0, 4.0)
    latency, rate = (Curve(kind=kind, system="mine", hosted=False, x=slow, y=slow) for kind in ("latency", "rate"))
    page = Page(report=report(), curves=(latency, rate, *volume_curves(*sides())))
    files = write_page(page, tmp_path / "page.md", TODAY)
    pictures = [f"page-{kind}.{suffix}" for kind in ("cost", "latency", "rate", "volume") for suffix in ("png", "svg")]
    assert sorted(file.name for file in files) == [*pictures, "page.json", "page.md"]
    first = {file.name: file.read_bytes() for file in files}
    assert Page.model_validate_json(first["page.json"]) == page
    assert b"mine" in first["page-cost.svg"]
    for kind in ("cost", "latency", "rate", "volume"):
        assert f"](page-{kind}.svg)".encode() in first["page.md"]
    assert {file.name: file.read_bytes() for file in write_page(page, tmp_path / "page.md", TODAY)} == first
    alone = Report(systems=(own_system(result("mine", 80), "yourself", None),), break_even=(), prices=())
    assert [file.name for file in write_page(Page(report=alone), tmp_path / "none.md", TODAY)] == [
        "none.md",
        "none.json",
    ]


def test_curves_of_costs_meet_where_they_break_even():
    own, hosted = volume_curves(*sides())
    (crossing,) = report().break_even
    first = next(volume for volume, mine, theirs in zip(own.x, own.y, hosted.y, strict=True) if mine <= theirs)
    assert first == pytest.approx(crossing.answers.first.value, rel=0.06)
    assert hosted.y[-1] == pytest.approx(hosted.x[-1] * 0.013)
    mine, theirs = sides()
    assert volume_curves(mine, []) == volume_curves([(mine[0][0], None)], theirs) == []


def test_curves_of_a_benchmark():
    one = Quantiles(p50=1, p90=2, p95=3, p99=4, mean=1, count=9)
    found = load_curves(sides()[0][0][0], load_report([(2.0, 1.9), (4.0, 3.0)], one))
    assert [(curve.kind, curve.x, curve.y) for curve in found] == [
        ("latency", (50, 90, 95, 99), (1, 2, 3, 4)),
        ("rate", (2, 4), (1.9, 3)),
    ]


def test_the_front_leaves_out_what_another_beats():
    found = report()
    worse = found.systems[1].model_copy(update={"system": "worse", "accuracy": Rate.of(70, 100)})
    assert [one.system for one in pareto([*found.systems, worse], _at)] == ["mine", "theirs"]
