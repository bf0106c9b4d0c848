"""Send times, retries, the search for a rate, and what events mean."""

import json
import random
from array import array
from datetime import UTC, datetime
from itertools import pairwise
from statistics import fmean, pvariance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slm.bench.load import Retry, closed, open_loop, read_load, replay
from slm.bench.load.api import quick_error, read_answer
from slm.bench.load.client import Reply
from slm.bench.load.retry import retry_after_s
from slm.bench.load.sweep import find_rate
from slm.errors import DataError, InputError


@pytest.mark.parametrize("burstiness", [0.2, 1.0, 4.0])
def test_an_open_loop_keeps_its_rate_and_burstiness(burstiness):
    times = open_loop(10, 20_000, burstiness=burstiness).times_s
    gaps = [later - at for at, later in pairwise(times)]
    assert times[0] == 0
    assert fmean(gaps) == pytest.approx(0.1, rel=0.06)
    assert pvariance(gaps) / fmean(gaps) ** 2 == pytest.approx(burstiness, rel=0.15)
    assert open_loop(10, 50, seed=1) == open_loop(10, 50, seed=1) != open_loop(10, 50, seed=2)
    with pytest.raises(InputError):
        open_loop(0, 5)


def load_file(*phases: tuple[str, bool]) -> str:
    """A load file with two requests in each phase, an hour apart."""
    plan = {"kind": "plan", "suite": "s", "url": "u", "model": "m", "prompts": "p", "settings": {}}
    lines = [plan]
    for number, (name, measured) in enumerate(phases):
        about = {"cache": "warm", "load": "l", "requests": 2, "started": "", "clock_ns": 0}
        lines.append({"kind": "phase", "number": number, "name": name, "measured": measured} | about)
        for at in (9 + number, 3609 + number):
            times = {"scheduled_s": at, "first_sent_s": at, "sent_s": at, "ended_s": at}
            lines.append({"kind": "request", "id": f"{number}/{at}", "phase": number, "example_id": "e"} | times)
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_times_are_replayed(tmp_path):
    file = tmp_path / "times.txt"
    file.write_text("12.5\n10\n\n11\n")
    assert replay(file).times_s == (0, 1, 2.5)
    file.write_text(load_file(("fill", False), ("warm", True)))
    assert replay(file).times_s == (0, 3600)
    assert closed(3).times_s is None


@pytest.mark.parametrize("text", ["", "\n", "soon\n", "1\nnan\n", "[1]\n", "1\ninf\n", '{"kind": "plan"}\n'], ids=repr)
def test_what_is_no_time_is_refused(tmp_path, text):
    (tmp_path / "times.txt").write_text(text)
    with pytest.raises(DataError):
        replay(tmp_path / "times.txt")


def test_two_loads_are_not_replayed_as_one(tmp_path):
    (tmp_path / "load.jsonl").write_text(load_file(("cold", True), ("warm", True)))
    with pytest.raises(DataError, match="2 loads"):
        replay(tmp_path / "load.jsonl")


@given(st.floats(0.1, 50), st.floats(0.1, 5), st.floats(1, 100))
def test_the_search_ends_at_the_highest_rate(limit, low, times):
    high, tried = low * times, []

    def meets(rate):
        tried.append(rate)
        return rate <= limit

    found = find_rate(meets, low, high)
    assert len(tried) == len(set(tried)), "no rate is tried twice"
    assert all(low <= rate <= high for rate in tried)
    if low > limit:
        assert found is None
        return
    assert found in tried
    assert found <= limit
    missed = min((rate for rate in tried if rate > limit), default=None)
    assert found == high if missed is None else missed / found < 1.06


@pytest.mark.parametrize("error", ["http_429", "http_503", "reset", "refused", "timeout"])
def test_what_may_pass_is_tried_again(error):
    retry = Retry(retries=2, first_s=1, longest_s=1.5, draw=random.Random(0))  # noqa: S311
    waits = [retry.wait_s(error, failed, {}) for failed in (1, 2, 3)]
    assert 0 <= waits[0] <= 1
    assert 0 <= waits[1] <= 1.5
    assert waits[2] is None


@pytest.mark.parametrize("error", ["http_400", "http_401", "http_404", "malformed"])
def test_what_will_not_pass_is_not(error):
    assert Retry().wait_s(error, 1, {}) is None


def test_the_server_says_how_long_to_wait():
    assert 7 <= Retry(first_s=1).wait_s("http_429", 1, {"retry-after": "7"}) <= 8
    assert Retry(longest_s=30).wait_s("http_429", 1, {"retry-after": "301"}) is None, "that is too long"
    now = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
    assert retry_after_s("Thu, 01 Jan 2026 12:00:09 GMT", now) == 9
    assert retry_after_s("Thu, 01 Jan 2026 11:00:00 GMT", now) == 0
    assert [retry_after_s(value, now) for value in (None, "soon", "nan", "inf", "-3")] == [None, None, None, None, 0]


def reply(*events: bytes, **more) -> Reply:
    return Reply(0, status=200, events=list(events), stamps_ns=array("q", range(1, len(events) + 1)), **more)


def test_a_stream_is_read():
    events = [
        b'{"choices": [{"delta": {"role": "assistant", "content": ""}}]}',
        b'{"choices": [{"delta": {"reasoning_content": "hm"}}]}',
        b'{"choices": [{"delta": {"content": " SELECT"}}]}',
        b'{"choices": [{"delta": {"content": " 1 "}, "finish_reason": "stop"}]}',
        b'{"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": null}}',
        b"[DONE]",
    ]
    answer = read_answer(reply(*events))
    assert (answer.text, answer.token_ns, answer.finish_reason, answer.error) == ("SELECT 1", (2, 3, 4), "stop", None)
    assert (answer.prompt_tokens, answer.cached_tokens, answer.completion_tokens) == (9, None, 2)
    completion = read_answer(reply(b'{"choices": [{"text": "SELECT 1", "finish_reason": "length"}]}'))
    assert (completion.text, completion.error) == ("SELECT 1", None), "a finish reason ends it too"


def test_an_empty_answer_that_ends_is_an_answer():
    answer = read_answer(reply(b'{"choices": [{"delta": {}, "finish_reason": "stop"}]}', b"[DONE]"))
    assert (answer.text, answer.token_ns, answer.error) == ("", (), None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["choices", "delta", "usage"]), inner),
    max_leaves=8,
)


@given(st.lists(st.binary(max_size=20) | JSON.map(lambda value: repr(value).replace("'", '"').encode()), max_size=4))
def test_whatever_a_server_says_has_an_outcome(events):
    answer = read_answer(reply(*events))
    assert answer.error in (None, "empty", "truncated", "malformed", "server_error")
    assert quick_error(reply(*events, b"[DONE]")) is None, "what ended as it should is read later"


def test_half_a_character_can_be_kept():
    answer = read_answer(reply(b'{"choices": [{"text": "a\\ud800", "finish_reason": "\\udc00"}]}', b"[DONE]"))
    assert (answer.text, answer.finish_reason) == ("a?", "?")
    assert read_answer(reply(b'{"error": "\\ud800"}')).detail == '"?"'


def test_a_file_that_is_no_load_file_is_refused(tmp_path):
    file = tmp_path / "load.jsonl"
    for text, problem in [
        ("{}\n", "load.jsonl:1: not a line"),
        ('{"kind": "plan"}\n', "key 'suite'"),
        ("", "a plan on"),
    ]:
        file.write_text(text)
        with pytest.raises(DataError, match=problem):
            read_load(file)
