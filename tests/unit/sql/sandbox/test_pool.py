"""The pool, with a stand-in for the worker that does as its requests say."""

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from slm.sql.engines.sqlite import database_uri
from slm.sql.sandbox import pool as module
from slm.sql.sandbox.heartbeat import GRACE_S
from slm.sql.sandbox.pool import Pool, Task

# `sleep`: seconds before the answer; `hang` or `crash`: the phase in which it does so, unless it is to be skipped.
STAND_IN = """
import json, os, time
from slm.sql.sandbox.heartbeat import Heartbeat

def main(memory, engine, timeout_s, max_rows):
    heartbeat = Heartbeat(int(memory))
    heartbeat.start(-1)
    for line in sys.stdin.buffer:
        for number, request in json.loads(line):
            heartbeat.start(number)
            time.sleep(request.get("sleep", 0))
            for what in ("hang", "crash"):
                phase = request.get(what)
                if phase == "between":
                    os.kill(os.getpid(), 9)
                if phase and phase not in request.get("skip", ()):
                    with heartbeat.phase(phase, float(timeout_s)):
                        time.sleep(60) if what == "hang" else os.kill(os.getpid(), 9)
            reply = {"task": number, "pid": os.getpid(), "engine": engine, "skip": request.get("skip")}
            reply["pad"] = "x" * request.get("pad", 0)
            print(json.dumps(reply), flush=True)
        heartbeat.start(-1)
"""
TIMEOUT_S = 0.1


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    boot = module._BOOT.replace("from slm.sql.sandbox.worker import main", STAND_IN)
    assert boot != module._BOOT
    monkeypatch.setattr(module, "_BOOT", boot)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that are started."""
    processes, popen = [], subprocess.Popen

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        processes.append(popen(*arguments, **options))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    return processes


@pytest.fixture
def make_pool(stand_in: None) -> Iterator[Callable[..., Pool[str]]]:
    pools: list[Pool[str]] = []

    def make(workers: int = 1) -> Pool[str]:
        pools.append(Pool(timeout_s=TIMEOUT_S, max_rows=9, workers=workers))
        return pools[-1]

    yield make
    for each in pools:
        each.close()


def task(ticket: str, key: str | None = None, engine: str = "sqlite", **request: Any) -> Task[str]:
    return Task(ticket, engine, request, key=key)


def replies(pool: Pool[str], count: int, seconds: float = 20.0) -> dict[str, dict[str, Any]]:
    """So many replies by their tickets, each of which comes once."""
    found: dict[str, dict[str, Any]] = {}
    deadline = time.monotonic() + seconds
    while len(found) < count:
        assert time.monotonic() < deadline, f"only {sorted(found)}"
        for ticket, reply in pool.wait():
            assert ticket not in found
            found[ticket] = reply
    assert pool.wait() == []
    return found


def test_every_task_is_answered_once(make_pool):
    pool = make_pool(2)
    for key in "abcde":
        pool.add([task(f"{key}{n}", key) for n in range(30)])
    assert len(replies(pool, 150)) == 150


def test_a_busy_worker_gets_the_next_batch_ahead(make_pool):
    pool = make_pool()
    pool.add([task("first", sleep=0.5)])
    pool.add([task("second")])
    pool.add([task("third", padding="x" * module._AHEAD_BYTES)])
    assert not pool.is_hungry
    deadline = time.monotonic() + 10
    while len(pool._queue) > 1 and time.monotonic() < deadline:
        assert pool.wait() == []
    (worker,) = pool._busy
    assert [each.ticket for each in worker.tasks.values()] == ["first", "second"]
    assert [batch[0].ticket for batch in pool._queue] == ["third"]  # more than a pipe may hold
    assert pool.is_hungry
    assert list(replies(pool, 3)) == ["first", "second", "third"]


def test_tasks_of_one_key_stay_with_their_worker(make_pool):
    pool = make_pool(2)
    found = []
    for sleep_a, sleep_b in [(0.0, 0.1), (0.1, 0.0)] * 2:  # whoever is free first
        pool.add([task("a", "a", sleep=sleep_a)])
        pool.add([task("b", "b", sleep=sleep_b)])
        found.append({key: reply["pid"] for key, reply in replies(pool, 2).items()})
    assert found[0]["a"] != found[0]["b"]
    assert found == found[:1] * 4


def test_a_worker_without_work_takes_what_another_knows(make_pool):
    pool = make_pool(2)
    for n in range(4):
        pool.add([task(str(n), "a", sleep=0.2)])
    assert len({reply["pid"] for reply in replies(pool, 4).values()}) == 2


@pytest.mark.parametrize(
    ("phase", "reason"),
    [
        ("script", "database_unavailable"),
        ("gold", "gold_failed"),
        ("prediction", "timeout"),
        ("comparison", "timeout"),
    ],
)
def test_a_hanging_worker_is_killed_at_its_deadline_and_costs_one_reply(make_pool, started, phase, reason):
    pool = make_pool()
    pool.add([task("before"), task("guilty", hang=phase), *[task(f"after {n}") for n in range(3)]])
    pool.add([task("ahead")])
    start = time.monotonic()
    found = replies(pool, 6)
    assert TIMEOUT_S + GRACE_S <= time.monotonic() - start < TIMEOUT_S + GRACE_S + 3.0
    guilty = found.pop("guilty")
    assert guilty["reason"] == reason
    assert f"stopped after 0.1 s ({phase}, exit status -9)" in guilty["detail"]
    assert {reply["pid"] for reply in found.values()} == {process.pid for process in started}
    assert len(started) == 2


@pytest.mark.parametrize(("phase", "reason"), [("gold", "gold_failed"), ("prediction", "runtime_error")])
def test_a_crashing_worker_costs_one_reply(make_pool, started, phase, reason):
    pool = make_pool()
    pool.add([task("guilty", crash=phase), task("after")])
    found = replies(pool, 2)
    assert found["guilty"]["reason"] == reason
    assert "the worker process died" in found["guilty"]["detail"]
    assert found["after"]["pid"] == started[1].pid


@pytest.mark.parametrize(
    ("how", "phase"),
    [("hang", "readings"), ("crash", "readings"), ("crash", "instances"), ("crash", "proof"), ("crash", "witness")],
)
def test_an_optional_phase_is_skipped_when_it_cannot_be_finished(make_pool, started, how, phase):
    pool = make_pool()
    pool.add([task("guilty", **{how: phase}), task("after")])
    found = replies(pool, 2)
    assert found["guilty"]["skip"] == [phase]
    assert found["after"]["skip"] is None
    assert len(started) == 2


def test_a_reading_that_hangs_leaves_the_verdict(shop):
    """Without DISTINCT, as the test-suite script runs it, it is one operation without end."""
    long = "instr(printf('%.*c', 999000, 'a'), printf('%.*c', 400000, 'a') || 'b')"
    sql = f"SELECT CASE count(DISTINCT 1) WHEN 1 THEN 4 ELSE {long} END FROM item"
    request = {"kind": "judge", "engine": "sqlite", "source": database_uri(shop), "double_quoted_text": False}
    with Pool[str](timeout_s=0.1, max_rows=9, workers=1) as pool:
        pool.add([Task("a", "sqlite", request | {"golds": ["SELECT count(*) FROM item"], "prediction": sql})])
        reply = replies(pool, 1)["a"]
    assert reply["reason"] == "correct"
    assert "readings" not in reply


def test_several_optional_phases_are_skipped_one_after_the_other(make_pool):
    pool = make_pool()
    pool.add([task("guilty", crash="readings", hang="witness")])
    assert sorted(replies(pool, 1)["guilty"]["skip"]) == ["readings", "witness"]


def test_a_task_in_which_the_judge_itself_always_fails_costs_one_reply(make_pool, started):
    pool = make_pool()
    pool.add([task("a", crash="between"), task("b")])
    found = replies(pool, 2)
    assert found["a"]["reason"] == "internal_error"
    assert "pid" in found["b"]
    assert len(started) == 4


def test_a_worker_that_dies_while_it_is_idle_costs_nothing(make_pool, started):
    pool = make_pool()
    pool.add([task("a")])
    replies(pool, 1)
    started[0].kill()
    pool.add([task("b"), task("c")])
    assert {reply["pid"] for reply in replies(pool, 2).values()} == {started[1].pid}


@pytest.mark.parametrize("workers", [1, 2])
def test_engines_have_workers_of_their_own_but_no_more_than_there_may_be(make_pool, started, workers):
    pool = make_pool(workers)
    for n, engine in enumerate(["sqlite", "duckdb", "postgres", "sqlite"]):
        pool.add([task(f"{engine} {n}", engine=engine)])
    for ticket, reply in replies(pool, 4).items():
        assert reply["engine"] == ticket.split()[0]
    assert sum(process.poll() is None for process in started) <= workers


def test_two_engines_answer_in_one_pool(shop, tmp_path):
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE item AS SELECT * FROM range(7) AS t(id)")
    sources = {"sqlite": database_uri(shop), "duckdb": str(path)}
    with Pool[str](timeout_s=10.0, max_rows=9, workers=1) as pool:
        for engine, source in sources.items():
            request = {"kind": "run", "engine": engine, "source": source, "sql": "SELECT count(*) FROM item"}
            pool.add([Task(engine, engine, request | {"double_quoted_text": False})])
        found = replies(pool, 2)
    assert {engine: reply["rows"] for engine, reply in found.items()} == {"sqlite": [[4]], "duckdb": [[7]]}


def test_replies_may_be_fetched_late(shop, started):
    """A worker that waits for its reader is not ended by its alarm."""
    request = {"kind": "run", "engine": "sqlite", "source": database_uri(shop), "double_quoted_text": False}
    long = "SELECT printf('%.*c', 190, 'x') FROM item a, item b, item c LIMIT 60"
    with Pool[str](timeout_s=0.1, max_rows=100, workers=1) as pool:
        pool.add([Task(str(n), "sqlite", request | {"sql": f"{long} -- {n}"}) for n in range(40)])
        early = pool.wait()
        time.sleep(TIMEOUT_S + GRACE_S + 2.2)
        found = replies(pool, 40 - len(early))
    assert {reply["reason"] for reply in found.values()} == {"ok"}
    assert len(started) == 1


def test_closing_leaves_no_process(make_pool, started):
    pool = make_pool(2)
    pool.add([task("quick")])
    replies(pool, 1)
    for n in range(3):
        pool.add([task(f"slow {n}", sleep=30)])
    assert pool.wait() == []
    pool.close()
    assert len(started) == 2
    assert all(process.returncode == -9 for process in started)
    assert not any(Path(f"/proc/{process.pid}").exists() for process in started)


def test_long_requests_and_long_replies_do_not_wait_for_each_other(make_pool):
    """Each is less than a pipe holds, and some of them together are more."""
    pool = make_pool(workers=2)
    for number in range(60):
        pool.add([task(str(number), key=str(number % 3), sleep=0.01, pad=30_000, text="x" * 12_000)])
    found: dict[str, Any] = {}
    asking = threading.Thread(target=lambda: found.update(replies(pool, 60)), daemon=True)
    asking.start()
    asking.join(timeout=30)
    assert len(found) == 60
