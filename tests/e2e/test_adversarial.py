"""`tests/adversarial`: pairs that are easy to judge wrongly, and texts that must do no harm."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from command import ROOT, SLM, environment
from slm.sql import Judge, Pair


def cases(name: str) -> dict[str, dict[str, Any]]:
    lines = (ROOT / "tests" / "adversarial" / name).read_text(encoding="utf-8").splitlines()
    return {case["id"]: case for case in map(json.loads, lines)}


PAIRS, ATTACKS = cases("pairs.jsonl"), cases("attacks.jsonl")
GOLD = "SELECT count(*) FROM item"
TIMEOUT_S = 1.0
START_S = 1.0  # to end a process and start another, on a busy machine
MOST_BYTES = 512 << 20
FURTHER = 100  # verdicts after each attack


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> dict[str, dict[str, Any]]:
    """The verdict on each pair, from one run of the command."""
    folder = tmp_path_factory.mktemp("pairs")
    command = [*SLM, "sql", "judge", str(ROOT / "tests/adversarial/pairs.jsonl"), "--instances", "16"]
    done = subprocess.run(command, cwd=folder, env=environment(SLM_HOME="home"), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert [verdict["id"] for verdict in verdicts] == list(PAIRS)
    return {verdict["id"]: verdict for verdict in verdicts}


@pytest.mark.parametrize("name", PAIRS)
def test_pair(judged, name):
    expect, verdict = PAIRS[name]["expect"], judged[name]
    assert verdict["correct"] is expect["correct"], f"{PAIRS[name]['why']}: {verdict}"
    assert verdict["reason"] in expect.get("reason", [verdict["reason"]])


class Watched(subprocess.Popen):
    """A worker process; what it has used is read in /proc while it lives, for the last time before it is killed."""

    cpu_s, peak_bytes = 0.0, 0

    def look(self) -> "Watched":
        if self.returncode is None:
            status = Path(f"/proc/{self.pid}/status").read_text()
            lines = dict(line.split(":", 1) for line in status.splitlines())
            self.peak_bytes = max(self.peak_bytes, int(lines.get("VmHWM", "0").split()[0]) << 10)
            times = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
            self.cpu_s = sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
        return self

    def kill(self) -> None:
        self.look()
        super().kill()


class Target:
    """A judge with one worker, and the database that is attacked."""

    def __init__(self, folder: Path, judge: Judge, workers: list[Watched]) -> None:
        self.judge, self.workers = judge, workers
        self.path = folder / "shop.sqlite"
        with apsw.Connection(str(self.path)) as connection:
            connection.execute("CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL)")
            connection.executemany("INSERT INTO item VALUES(?, ?, ?)", [(n, f"item {n}", n / 4) for n in range(300)])
        connection.close()
        self.files = self.state()

    def state(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.path.parent.iterdir()}

    def verdicts(self, *predictions: str) -> list[Any]:
        pairs = [Pair(str(n), (GOLD,), sql, self.path) for n, sql in enumerate(predictions)]
        return list(self.judge.judge(pairs))

    def used(self) -> tuple[float, int]:
        """CPU seconds of all workers so far, and the peak of memory of any."""
        looked = [worker.look() for worker in self.workers]
        return sum(worker.cpu_s for worker in looked), max(worker.peak_bytes for worker in looked)


@pytest.fixture(scope="module")
def target(tmp_path_factory) -> Iterator[Target]:
    if not Path("/proc/self/status").exists():
        pytest.skip("what a process uses is read in /proc")
    workers: list[Watched] = []

    def start(*arguments: Any, **options: Any) -> Watched:
        workers.append(Watched(*arguments, **options))
        return workers[-1]

    with pytest.MonkeyPatch.context() as patch, Judge(timeout_s=TIMEOUT_S, workers=1) as judge:
        patch.setattr(subprocess, "Popen", start)
        yield Target(tmp_path_factory.mktemp("target"), judge, workers)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(target, name):
    case = ATTACKS[name]
    text = case["sql"] if "sql" in case else case["prefix"] + case["fill"] * case["times"] + case["suffix"]
    assert target.verdicts(f"SELECT 300 -- before {name}")[0].correct
    before_s, start = target.used()[0], time.monotonic()
    (verdict,) = target.verdicts(text)
    wall_s, (after_s, peak_bytes) = time.monotonic() - start, target.used()

    assert verdict.correct is False
    assert verdict.reason in case["reason"], verdict.detail
    assert wall_s < TIMEOUT_S + 1.0 + START_S
    assert after_s - before_s < TIMEOUT_S + 1.0
    assert peak_bytes < MOST_BYTES
    assert target.state() == target.files
    further = target.verdicts(*[f"SELECT {299 + n % 2} -- {n} after {name}" for n in range(FURTHER)])
    assert [each.correct for each in further] == [n % 2 == 1 for n in range(FURTHER)]


def test_the_watch_sees_what_workers_use(target):
    target.verdicts("WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r")
    cpu_s, peak_bytes = target.used()
    assert cpu_s > TIMEOUT_S / 4
    assert peak_bytes > 10 << 20
