"""Our judge of SQL beside the ones that pip can install: the same pairs, one after the other in one run.

python benchmarks/judge.py [--peers FOLDER] [--sample N] [--workers N] [--rounds N] [--json]
python benchmarks/judge.py --adversarial [--peers FOLDER] [--instances N] [--json]

The first judges the published predictions for Spider dev (needs SLM_DATA) on the shipped databases and prints pairs a
second, every judge in one process of its own; starting up and importing are not timed. The second judges
tests/adversarial/pairs.jsonl and prints how many verdicts each judge gets wrong; there ours uses further database
instances, which no peer has, and the peers take some minutes.

`benchmarks/peers.sh FOLDER` installs the peers; without --peers only ours runs. benchmarks/peers/ says how each peer is
driven. Peers work on copies of the databases, and the copies that they change are counted.
"""

import argparse
import hashlib
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ask_peers import ask_peer, copy_databases, installed
from rich.console import Console
from rich.table import Table

from slm.records import Verdict
from slm.sql import Judge, Pair, read_pairs

ADVERSARIAL = Path(__file__).parent.parent / "tests/adversarial/pairs.jsonl"

Correct = dict[str, bool | None]  # by the id of a pair
Timed = tuple[str, list[bool | None], float]  # a judge, its verdicts, seconds


def spider_pairs(data: Path) -> list[Pair]:
    """The predictions of every file for the dev questions whose database is there."""
    with (data / "spider/dev.jsonl").open() as lines:
        questions = [json.loads(line) for line in lines]
    pairs = []
    for file in sorted((data / "predictions/spider-dev").glob("*.txt")):
        predictions = file.read_text().removesuffix("\n").split("\n")
        for n, (question, prediction) in enumerate(zip(questions, predictions, strict=True)):
            name = question["db_id"]
            database = data / "spider/database" / name / f"{name}.sqlite"
            if database.is_file():
                gold = (question["query"],)
                pairs.append(Pair(f"{file.stem}:{n}", gold, prediction, database, double_quoted_text=True))
    return pairs


def fingerprints(folder: Path) -> dict[Path, str]:
    """The databases of a folder and what is in them."""
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.glob("*/*.sqlite")}


def ask_ours(
    pairs: Sequence[Pair], *, workers: int, instances: int, store: Path | None = None
) -> tuple[list[Verdict], float]:
    """Our verdicts and the seconds they took, the workers' start and their imports not counted."""
    with Judge(workers=workers, instances=instances, store=store) as session:
        tie = ("SELECT a FROM t ORDER BY a LIMIT 1",)
        scripts = [(f"CREATE TABLE t(a); CREATE TABLE t{n}(a)", "") for n in range(workers)]  # one for each worker
        list(session.judge([Pair(str(n), tie, "SELECT 1", script=script) for n, script in enumerate(scripts)]))
        began = time.perf_counter()
        verdicts = list(session.judge(pairs))
        return verdicts, time.perf_counter() - began


def measure_speed(pairs: Sequence[Pair], peers: Path | None, workers: int, rounds: int) -> list[dict[str, Any]]:
    """A record a judge, from its fastest round; the judges take turns, so that a noisy machine treats all alike."""
    best: dict[str, tuple[float, list[bool | None]]] = {}
    for _ in range(rounds):
        for name, verdicts, seconds in one_round(pairs, peers, workers):
            if name not in best or seconds < best[name][0]:
                best[name] = seconds, verdicts
    return [speed(name, verdicts, seconds, best["ours"][0]) for name, (seconds, verdicts) in best.items()]


def one_round(pairs: Sequence[Pair], peers: Path | None, workers: int) -> Iterator[Timed]:
    """Each judge's name, verdicts and seconds. Nothing is kept from an earlier round."""
    for count in sorted({1, workers}):
        verdicts, seconds = ask_ours(pairs, workers=count, instances=0)
        yield "ours" if count == 1 else f"ours, {count} processes", [verdict.correct for verdict in verdicts], seconds
    with tempfile.TemporaryDirectory() as folder:
        for state in ("made", "kept"):  # other processes judge the second time: only the store is kept
            verdicts, seconds = ask_ours(pairs, workers=1, instances=16, store=Path(folder) / "judge.sqlite")
            yield f"ours, 16 instances {state}", [verdict.correct for verdict in verdicts], seconds
    for name, python, driver in installed(peers):
        with tempfile.TemporaryDirectory() as folder:
            answers = ask_peer(python, driver, copy_databases(pairs, Path(folder), shared=True), idle_s=600.0)
        yield name, [correct for correct, _ in answers.values()], sum(seconds for _, seconds in answers.values())


def speed(name: str, verdicts: Sequence[bool | None], seconds: float, ours: float) -> dict[str, Any]:
    """The record of a judge that took `seconds`, where ours took `ours`; `right` is how many it calls right."""
    return {
        "judge": name,
        "pairs": len(verdicts),
        "right": verdicts.count(True),
        "seconds": round(seconds, 3),
        "pairs_per_s": round(len(verdicts) / seconds, 1),
        "ours_is_faster": round(seconds / ours, 2),
    }


def tally(name: str, expected: Correct, verdicts: Correct, changed: int) -> dict[str, Any]:
    """How a judge's verdicts differ from what is expected.

    Of the pairs that are right or wrong, `wrong` is the sum of `false_yes` and `false_no`, and `silent` is no verdict
    (an error, a crash). Of the pairs of which nothing can be said, `unsure`, a judge without a third answer cannot get
    any right, so they are counted by themselves. `damaged`: databases that it left changed.
    """
    known = {key: value for key, value in expected.items() if value is not None}
    unknown = [verdicts[key] for key, value in expected.items() if value is None]
    return {
        "judge": name,
        "pairs": len(known),
        "wrong": sum(verdicts[key] is not None and verdicts[key] != value for key, value in known.items()),
        "false_yes": sum(verdicts[key] is True for key, value in known.items() if not value),
        "false_no": sum(verdicts[key] is False for key, value in known.items() if value),
        "silent": sum(verdicts[key] is None for key in known),
        "unsure": len(unknown),
        "unsure_yes": unknown.count(True),
        "unsure_no": unknown.count(False),
        "damaged": changed,
    }


def try_adversarial(peers: Path | None, instances: int) -> list[dict[str, Any]]:
    """A record a judge: how many of the adversarial pairs it gets wrong."""
    pairs = list(read_pairs(ADVERSARIAL))
    with ADVERSARIAL.open() as lines:
        expected = {line["id"]: line["expect"]["correct"] for line in map(json.loads, lines)}
    verdicts, _ = ask_ours(pairs, workers=1, instances=instances)
    for verdict in verdicts:
        if verdict.correct != expected[verdict.example_id]:
            print(f"ours: {verdict.example_id}: {verdict.correct}, {verdict.reason}", file=sys.stderr)
    records = [tally("ours", expected, {verdict.example_id: verdict.correct for verdict in verdicts}, 0)]
    for name, python, driver in installed(peers):
        with tempfile.TemporaryDirectory() as folder:
            rows = copy_databases(pairs, Path(folder), shared=False)
            before = fingerprints(Path(folder))
            answers = ask_peer(python, driver, rows, idle_s=30.0)
            after = fingerprints(Path(folder))
        changed = sum(after.get(file) != content for file, content in before.items())
        several = {pair.id: [answers[f"{pair.id}#{k}"][0] for k in range(len(pair.gold))] for pair in pairs}
        records.append(tally(name, expected, {key: any_right(found) for key, found in several.items()}, changed))
    return records


def any_right(verdicts: Sequence[bool | None]) -> bool | None:
    """The verdict over several golds, of which any one will do."""
    return True if True in verdicts else False if False in verdicts else None


def show(records: Sequence[dict[str, Any]]) -> None:
    """The records as a table."""
    table = Table(*[key.replace("_", " ") for key in records[0]])
    for column in table.columns[1:]:
        column.justify = "right"
    for record in records:
        table.add_row(*[f"{cell:,}" if isinstance(cell, int | float) else str(cell) for cell in record.values()])
    Console().print(table)


def main() -> None:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="the folder that peers.sh filled")
    parser.add_argument("--adversarial", action="store_true", help="count wrong verdicts instead of seconds")
    parser.add_argument("--sample", type=int, metavar="N", help="only N of the pairs, the same for all")
    parser.add_argument("--workers", type=int, default=1, help="ours a second time, with so many processes")
    parser.add_argument("--rounds", type=int, default=1, help="so many times, and the fastest counts")
    parser.add_argument("--instances", type=int, default=16, help="further database instances for ours (16)")
    parser.add_argument("--json", action="store_true", help="JSON, as it is when piped")
    options = parser.parse_args()
    if options.adversarial:
        records = try_adversarial(options.peers, options.instances)
    else:
        if not (data := os.environ.get("SLM_DATA")):
            parser.error("set SLM_DATA to the folder that holds spider/ and predictions/spider-dev/")
        pairs = spider_pairs(Path(data))
        if options.sample and options.sample < len(pairs):
            pairs = random.Random(0).sample(pairs, options.sample)  # noqa: S311 - nothing secret
        records = measure_speed(pairs, options.peers, options.workers, options.rounds)
    if options.json or not sys.stdout.isatty():
        print(json.dumps(records))
    else:
        show(records)


if __name__ == "__main__":
    main()
