"""Runs the drivers of `benchmarks/peers/`, each with the Python of its peer's virtual environment."""

import json
import os
import queue
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from slm.sql import Pair

DRIVERS = Path(__file__).parent / "peers"
PEERS = {
    "llama-text2sql-eval": "llama.py",
    "nl2sqlevaluator": "nl2sql.py",
    "text2sql-eval-toolkit": "text2sql_toolkit.py",
    "attestql": "attest.py",
}
PEER_BYTES = 8 << 30  # address space; some peers keep every row of an endless query
IMPORT_S = 120.0
# Nothing is fetched or reported while a peer runs, and its libraries take one core.
PEER_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "WANDB_MODE": "disabled",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}

Answers = dict[str, tuple[bool | None, float]]


class Row(NamedTuple):
    """A pair as the drivers take it."""

    id: str
    gold: str
    pred: str
    database: str


def installed(peers: Path | None) -> Iterator[tuple[str, Path, str]]:
    """Name, Python and driver of each peer; none without a folder."""
    if peers:
        yield from ((name, peers.absolute() / name / "bin/python", driver) for name, driver in PEERS.items())


def copy_databases(pairs: Sequence[Pair], folder: Path, *, shared: bool) -> list[Row]:
    """Rows over copies at `folder`/NAME/NAME.sqlite: one a database if `shared`, else one a pair.

    A row for each gold, in the order of the databases, as the drivers sort them.
    """
    rows, names = [], dict[Path | str | None, str]()
    for n, pair in enumerate(pairs):
        name = names.setdefault(pair.database, f"database_{n:05}") if shared else f"database_{n:05}"
        copy = folder / name / f"{name}.sqlite"
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True)
            if pair.script:
                connection = sqlite3.connect(copy)
                connection.executescript("\n".join(pair.script))
                connection.close()
            elif Path(str(pair.database)).is_file():
                shutil.copyfile(str(pair.database), copy)
        rows += [Row(f"{pair.id}#{k}", gold, pair.prediction, str(copy)) for k, gold in enumerate(pair.gold)]
    return sorted(rows, key=lambda row: row.database)


def start_peer(python: Path, driver: str, rows: IO[str], errors: IO[str]) -> subprocess.Popen[str]:
    """A driver that has the rows on its stdin, in a process group of its own."""
    return subprocess.Popen(
        [python, DRIVERS / driver],
        stdin=rows,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        env=os.environ | PEER_ENVIRONMENT,
        start_new_session=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (PEER_BYTES, PEER_BYTES)),
    )


def read_answers(process: subprocess.Popen[str], idle_s: float) -> Iterator[dict[str, Any]]:
    """What the driver writes, until it ends or is silent for `idle_s`; then it is killed with its children."""
    arrived: queue.Queue[str | None] = queue.Queue()

    def pump() -> None:
        assert process.stdout
        for line in process.stdout:
            arrived.put(line)
        arrived.put(None)

    threading.Thread(target=pump, daemon=True).start()
    patience = IMPORT_S
    try:
        while line := arrived.get(timeout=patience):
            patience = idle_s
            yield json.loads(line)
    except queue.Empty:
        pass
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask_peer(python: Path, driver: str, rows: Sequence[Row], idle_s: float) -> Answers:
    """A peer's verdicts and seconds. Where it crashes or hangs there is no verdict, and it starts again behind that."""
    answers: Answers = {}
    left = list(rows)
    while left:
        with tempfile.TemporaryFile("w+") as source, tempfile.TemporaryFile("w+") as errors:
            source.writelines(json.dumps(row._asdict()) + "\n" for row in left)
            source.seek(0)
            lines = read_answers(start_peer(python, driver, source, errors), idle_s)
            if "ready" not in next(lines, {}):
                errors.seek(0)
                sys.exit(f"{driver} does not start with {python}: {errors.read()[-500:]}")
            answers |= {line["id"]: (line["correct"], line["seconds"]) for line in lines}
        left = [row for row in left if row.id not in answers]
        if left:
            answers[left.pop(0).id] = (None, 0.0)
    return answers
