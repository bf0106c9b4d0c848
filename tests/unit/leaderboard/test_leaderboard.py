"""The page: its rows, their order, what is unknown, and when it is stale."""

import random
from pathlib import Path
from typing import Any

import pytest

from slm.errors import DataError
from slm.files import write_json, write_text
from slm.leaderboard import is_stale, make_page, read_results, render_leaderboard
from slm.records import Cost, Load, Rate, Result

RATE = Rate(right=80, total=100, value=0.8, low=0.7112, high=0.8666)


def result(run: str = "r", value: float | None = 0.8, **changes: Any) -> Result:
    fields: dict[str, Any] = {
        "run": run,
        "suite": "roastery:test",
        "model": "smollm2-135m",
        "examples": 103,
        "unavailable": 3,
        "questions_fingerprint": "f00d",
        "accuracy": RATE.model_copy(update={"value": value}),
        "by_reason": {"correct": 80, "row_count": 20},
        "by_tag": {},
        "card": {},
    }
    return Result(**(fields | changes))


def rows(page: str) -> list[list[str]]:
    lines = [line for line in page.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def test_a_full_row() -> None:
    page = render_leaderboard(
        [
            result(
                tuned=True,
                parameters=134_515_008,
                by_tag={"seen": {"seen": RATE, "unseen": RATE.model_copy(update={"value": 0.25})}},
                prompt_tokens_per_question=301.6,
                completion_tokens_per_question=24.2,
                seconds_per_question=0.514,
                card={
                    "code": {"commit": "0123456789abcdef", "diff": "aa"},
                    "data": "f00dfeedbeef",
                    "model": "abcdefabcdef",
                    "adapter": "1234567812345678",
                },
            )
        ]
    )
    assert "## roastery:test: 103 questions" in page
    head, row = rows(page)
    assert dict(zip(head[:11], row[:11], strict=True)) == {
        "rank": "1",
        "model": "smollm2-135m",
        "tuned": "tuned",
        "size": "135M",
        "accuracy": "**80.0%** (71.1% to 86.7%)",
        "right / judged": "80 / 100",
        "seen": "80.0%",
        "unseen": "25.0%",
        "tokens": "302 + 24",
        "seconds": "0.51",
        "run": "r",
    }
    assert row[11:] == ["`01234567+`", "`f00dfeed`", "`abcdefab`", "`12345678`"]


def test_what_is_unknown_is_a_dash() -> None:
    _, row = rows(render_leaderboard([result(value=None)]))
    assert row == ["1", "smollm2-135m", "–", "–", "–", "80 / 100", "–", "–", "r", "–", "–", "–", "–"]


def test_the_best_row_comes_first_and_other_questions_are_another_table() -> None:
    found = [
        result("middle", 0.5),
        result("none", None),
        result("best", 0.9),
        result("other", 0.1, questions_fingerprint="beef"),
        result("spider", 0.3, suite="spider:dev"),
    ]
    page = render_leaderboard(found)
    assert page.count("\n## ") == 3
    assert [row[8] for row in rows(page)] == ["run", "other", "run", "best", "middle", "none", "run", "spider"]
    assert render_leaderboard(random.Random(3).sample(found, 5)) == page  # noqa: S311


def test_tags_that_one_row_lacks_and_values_of_two_tags() -> None:
    page = render_leaderboard(
        [
            result("a", by_tag={"difficulty": {"hard": RATE, "easy": RATE}, "seen": {"yes": RATE}}),
            result("b", 0.1, by_tag={"long": {"yes": RATE}}),
        ]
    )
    head, first, second = rows(page)
    assert head[6:10] == ["easy", "hard", "long: yes", "seen: yes"]
    assert first[6:10] == ["80.0%", "80.0%", "–", "80.0%"]
    assert second[6:10] == ["–", "–", "80.0%", "–"]


@pytest.mark.parametrize(
    ("parameters", "size"),
    [(134_515_008, "135M"), (999_999_999, "1.0B"), (3_821_079_552, "3.8B"), (268_098_176, "268M")],
)
def test_sizes(parameters: int, size: str) -> None:
    assert rows(render_leaderboard([result(parameters=parameters)]))[1][3] == size


def test_a_bar_in_a_name_does_not_break_the_table() -> None:
    assert "a\\|b" in render_leaderboard([result(model="a|b")])


def test_results_are_read_from_all_folders(tmp_path: Path) -> None:
    assert read_results(tmp_path / "absent") == []
    write_json(tmp_path / "roastery-test" / "b.json", result("b"))
    write_json(tmp_path / "spider-dev" / "a.json", result("a", suite="spider:dev"))
    assert [each.run for each in read_results(tmp_path)] == ["b", "a"]


@pytest.mark.parametrize(("content", "problem"), [("{", "Invalid JSON"), ("[]", "object"), ('{"run": 1}', "run")])
def test_a_broken_result_is_named(tmp_path: Path, content: str, problem: str) -> None:
    write_text(tmp_path / "x" / "bad.json", content)
    with pytest.raises(DataError, match=problem) as caught:
        read_results(tmp_path)
    assert str(tmp_path / "x" / "bad.json") in str(caught.value)


def test_a_page_is_stale_until_it_is_made_again(tmp_path: Path) -> None:
    page, results = tmp_path / "LEADERBOARD.md", tmp_path / "results"
    assert is_stale(page, results)
    write_text(page, render_leaderboard([]))
    assert not is_stale(page, results)
    write_json(results / "s" / "a.json", result("a"))
    assert is_stale(page, results)
    write_text(page, make_page(page, results))
    assert not is_stale(page, results)
    assert "| [a](results/s/a.json) |" in page.read_text()
    elsewhere = tmp_path / "docs" / "board.md"
    assert "| [a](../results/s/a.json) |" in make_page(elsewhere, results)


@pytest.mark.parametrize(
    ("card", "marked"),
    [
        ({}, True),
        ({"parity": None}, True),
        ({"parity": "different"}, True),
        ({"parity": "equivalent"}, False),
        ({"parity": "same"}, False),
    ],
)
def test_a_form_that_no_certificate_vouches_for_is_marked(card: dict[str, Any], marked: bool) -> None:
    page = render_leaderboard([result(form="merged", card=card), result()])
    assert page.count("| merged (not certified) |") == marked
    assert page.count("(not certified)") == 2 * marked
    assert ("`slm parity` makes one" in page) == marked


def test_forms_have_columns_only_where_a_row_has_one() -> None:
    plain = rows(render_leaderboard([result()]))[0]
    assert not {"form", "MB on disk", "cold start"} & set(plain)
    exported = result(run="e", value=0.7, form="gguf-q8_0", size_bytes=144_812_345, cold_start_s=6.14)
    head, first, second = rows(render_leaderboard([result(), exported]))
    places = [head.index(name) for name in ("form", "MB on disk", "cold start")]
    assert [first[place] for place in places] == ["–", "–", "–"]
    assert [second[place] for place in places] == ["gguf-q8_0 (not certified)", "145", "6.1 s"]


def test_rows_that_luck_may_part_share_a_rank() -> None:
    found = [result(f"{right}", accuracy=Rate.of(right, 100)) for right in (90, 85, 60, 1)]
    found.append(result("none", None, accuracy=Rate.of(0, 0)))
    assert [row[0] for row in rows(render_leaderboard(found))[1:]] == ["1", "1", "3", "4", "–"]


def test_answers_under_load_have_columns_of_their_own() -> None:
    load = Load(server="vLLM, 2 cores", load="8 at a time", cache="warm", p50_s=0.5, p95_s=1.25, answers_per_s=3.456)
    cost = Cost(usd_per_1000_correct=0.1234, low=0.1, high=0.2, paid="$0.1 an hour, 40% used")
    unmeasured = load.model_copy(update={"p50_s": None, "p95_s": None, "answers_per_s": None})
    page = render_leaderboard([result("a", load=load, cost=cost), result("b", load=unmeasured), result("c")])
    head, *found = rows(page)
    start = head.index("server")
    assert head[start : start + 5] == ["server", "load", "p50 / p95", "answers/s", "$ / 1,000 right"]
    shown = {row[start + 5]: row[start : start + 5] for row in found}
    assert shown["a"][2:] == ["0.50 s / 1.25 s", "3.46", "0.123 (0.1 to 0.2), $0.1 an hour, 40% used"]
    assert shown["a"][:2] == shown["b"][:2] == ["vLLM, 2 cores", "8 at a time, warm cache"]
    assert shown["b"][2:] == ["–", "–", "–"]
    assert shown["c"] == ["–"] * 5


def test_a_constrained_row_says_so() -> None:
    (_, row) = rows(render_leaderboard([result(tuned=True, constrained=True)]))
    assert row[2] == "tuned, constrained"
