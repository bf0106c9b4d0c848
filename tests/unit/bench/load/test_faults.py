"""Servers that fail in every way: each request is in the file once with its outcome, and nothing waits for ever."""

import socket
import subprocess
import threading
import time
from collections import Counter

import pytest

from slm.bench.load import Retry, all_figures, closed, open_loop
from slm.errors import InputError, JobError
from streaming import address, start, streaming

FAULTS = "ok,429,500,reset,malformed,bad-chunk,empty,truncated,server-error,whole,400"
LATER = {"429": "http_429", "500": "http_500", "reset": "reset", "empty": "empty", "truncated": "truncated"}


@pytest.mark.parametrize("load", [closed(3), open_loop(200, 44)], ids=["closed", "open"])
def test_without_another_try_each_fault_is_an_outcome(bench, measured, load):
    with streaming("--faults", FAULTS, "--tokens", 4, "--first-ms", 2, "--gap-ms", 1) as url:
        file = bench(url, load, requests=44, caches=["cold"], retry=Retry(retries=0))
    outcomes = measured(file)
    assert len({outcome.id for outcome in outcomes}) == len(outcomes) == 44
    errors = Counter(outcome.error for outcome in outcomes)
    expected = dict.fromkeys(("http_429", "http_500", "http_400", "reset", "empty", "truncated", "server_error"), 4)
    assert errors == expected | {"malformed": 8, None: 8}
    (figures,) = all_figures(file)
    assert (figures.ok, figures.failed, figures.missing) == (8, 36, 0)
    assert figures.errors == {kind: count for kind, count in errors.items() if kind}
    whole = [outcome for outcome in outcomes if outcome.text == "all at once"]
    assert len(whole) == 4
    assert all(outcome.first_token_s is None and outcome.error is None for outcome in whole), "it was not streamed"


def test_what_may_pass_is_tried_again_and_counted_apart(bench, measured):
    with streaming(
        "--faults", "429,500,reset,empty,truncated,ok", "--tokens", 4, "--first-ms", 1, "--gap-ms", 1
    ) as url:
        file = bench(url, requests=6, retry=Retry(retries=30, first_s=0.01, longest_s=0.1))
    (figures,) = all_figures(file)
    assert (figures.ok, figures.failed, figures.missing) == (6, 0, 0)
    retried = Counter(error for outcome in measured(file) for error in outcome.retried)
    assert dict(retried) == figures.retries
    assert set(retried) == set(LATER.values())
    assert figures.retried_requests == sum(bool(outcome.retried) for outcome in measured(file)) > 0
    for outcome in measured(file):
        assert outcome.text.endswith(outcome.text.split()[-1])
        assert len(outcome.chunks_us) == 4, "what came before a reset is no part of the answer"
        assert outcome.scheduled_s <= outcome.first_sent_s <= outcome.sent_s < outcome.first_token_s <= outcome.ended_s


def test_retry_after_is_honoured(bench, measured):
    with streaming("--faults", "429,ok", "--retry-after-s", 0.4, "--tokens", 2) as url:
        file = bench(url, closed(1), requests=1, caches=["cold"])
    (outcome,) = measured(file)
    assert outcome.retried == ("http_429",)
    assert outcome.sent_s - outcome.first_sent_s >= 0.4
    assert outcome.ttft_s > 0.4, "who waits, waits from the beginning"


def test_a_server_that_says_nothing_is_left(bench, measured):
    with streaming("--faults", "silent") as url:
        started = time.monotonic()
        file = bench(url, closed(2), requests=2, caches=["cold"], retry=Retry(retries=1, first_s=0), timeout_s=0.3)
        assert time.monotonic() - started < 20
    assert {(outcome.error, outcome.retried) for outcome in measured(file)} == {("timeout", ("timeout",))}


def test_a_server_that_dies_and_comes_back(bench, measured, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ("--port", port, "--tokens", 8, "--first-ms", 5, "--gap-ms", 5)
    servers = [start(*options)]
    url = address(servers[0])

    def replace():
        deadline, file = time.monotonic() + 60, tmp_path / "load.jsonl"
        while not (file.exists() and file.read_text().count('"request"') > 5) and time.monotonic() < deadline:
            time.sleep(0.02)
        servers[0].kill()
        servers[0].wait()
        time.sleep(0.4)
        servers.append(start(*options))

    thread = threading.Thread(target=replace)
    try:
        thread.start()
        file = bench(url, open_loop(40, 80), requests=80, retry=Retry(retries=40, first_s=0.05, longest_s=0.2))
    finally:
        thread.join()
        for server in servers:
            server.kill()
            server.wait()
    outcomes = measured(file)
    assert len({outcome.id for outcome in outcomes}) == len(outcomes) == 80
    assert all(outcome.error is None for outcome in outcomes)
    retried = {error for outcome in outcomes for error in outcome.retried}
    assert "refused" in retried, "the time without a server shows"
    assert retried <= {"refused", "reset"}


def test_a_server_that_does_not_count_tokens(bench, measured):
    with streaming("--no-usage", "--tokens", 3) as url:
        file = bench(url, requests=2)
        assert {(outcome.completion_tokens, outcome.tokens_from) for outcome in file.outcomes} == {(None, None)}
    (figures,) = all_figures(file)
    assert figures.throughput.output_tokens_per_s is figures.latency.tpot_s is figures.prompt_tokens is None


def test_a_tokenizer_counts_instead_and_that_is_said(bench, measured):
    with streaming("--no-usage", "--tokens", 3) as url:
        file = bench(url, requests=2, caches=["cold"], count=lambda text: len(text.split()))
    assert {(outcome.completion_tokens, outcome.tokens_from) for outcome in file.outcomes} == {(3, "tokenizer")}
    assert all_figures(file)[0].tokens_from == ("tokenizer",)


def test_without_a_server_nothing_is_begun(bench, tmp_path):
    with pytest.raises(JobError, match=r"no answer \(refused\)[\s\S]*try: start the server"):
        bench("http://127.0.0.1:1/v1")
    assert len((tmp_path / "load.jsonl").read_text().splitlines()) == 1, "the plan alone"


def test_a_key_is_sent_and_shown_nowhere(bench, tmp_path, capfd):
    sentinel = "sk-sentinel-3f9a"
    with streaming("--key-env", "THE_KEY", "--tokens", 2, THE_KEY=sentinel) as url:
        bench(url, requests=2, key=sentinel)
        with pytest.raises(JobError, match="http_401") as raised:
            bench(url, requests=2, key=f"{sentinel}-wrong", out=tmp_path / "other.jsonl")
    with pytest.raises(InputError) as other:
        bench(url, requests=2, key=f"{sentinel}\r\nHost: elsewhere", out=tmp_path / "third.jsonl")
    shown = "".join(capfd.readouterr()) + str(raised.value) + str(other.value)
    kept = "".join(path.read_text() for path in tmp_path.iterdir())
    assert sentinel not in shown + kept
    assert "[key]" in str(raised.value), "the server said it"


def test_over_tls_and_only_to_whom_is_trusted(bench, measured, tmp_path, monkeypatch):
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names]
    subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + certificate.read_text())
    with streaming("--certificate", both, "--tokens", 3, "--first-ms", 1, "--gap-ms", 1) as url:
        assert url.startswith("https://")
        with pytest.raises(JobError, match=r"(?i)certificate"):
            bench(url, retry=Retry(retries=0))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        outcomes = measured(bench(url, closed(2), requests=6))
    assert [(outcome.error, len(outcome.chunks_us)) for outcome in outcomes] == [(None, 3)] * 6
