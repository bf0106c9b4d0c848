"""The load client against the truth, and beside guidellm: how right its times are, and what it takes of the processor.

python benchmarks/bench.py [--streams 1,64,256] [--guidellm PYTHON] [--tokens 64] [--gap-ms 40] [--rounds 2] [--json]

A reference server in a process of its own writes tokens at known times and logs when it really wrote each, by the
clock that the client stamps with. Printed are the absolute errors at p50 and p99: `first_token` and `every_piece` of
the stamps; `ttft` of the time to the first token, against the server's from having read the request (what the server
takes to read is in it); `between_tokens` of the gaps (of guidellm a request's mean, as it keeps no others). `stall`:
the same at 64 streams while the server once stands still for two seconds, with the longest gap seen and true.

Processor seconds are those of the whole process with its children, user and system. Those of a token are the
difference of two runs, with answers of `--tokens` and of an eighth of that, divided by the tokens that differ: starting
and imports cancel. `ratio` is ours divided by guidellm's. guidellm is that of the environment whose Python is named:
python -m venv VENV && VENV/bin/pip install guidellm
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from loading.truth import guidellms, longest_gap_ms, ours, read_log

from slm import provenance
from slm.files import write_json

HERE = Path(__file__).parent
STALL = ["--stall-at-s", "1", "--stall-s", "2"]
ENOUGH = 16  # streams from which the processor's time of a token can be told


def main() -> int:
    """Measure and print; returns the exit code."""
    options = _options()
    report: dict[str, Any] = {"code": provenance.code_state(), "machine": provenance.machine()}
    report |= {
        "tokens": options.tokens,
        "gap_ms": options.gap_ms,
        "rounds": options.rounds,
        "together": options.together,
    }
    report["guidellm"] = _version(options.guidellm) if options.guidellm else None
    report["loads"] = [_measure(options, streams) for streams in options.streams]
    if not options.no_stall:
        report["stall"] = _measure(options, 64, stall=True)
    if options.out:
        write_json(options.out, report)
    if options.json or not sys.stdout.isatty():
        print(json.dumps(report))
    else:
        show(report)
    return 0


def _measure(options: argparse.Namespace, streams: int, *, stall: bool = False) -> dict[str, Any]:
    """Both clients at so many streams, one after the other."""
    record: dict[str, Any] = {"streams": streams, "slm": _client("slm", options, streams, stall=stall)}
    if options.guidellm:
        record["guidellm"] = _client("guidellm", options, streams, stall=stall)
        theirs, mine = record["guidellm"]["cpu_us_per_token"], record["slm"]["cpu_us_per_token"]
        record["ratio"] = mine / theirs if mine and theirs and theirs > 0 else None
    return record


def _client(name: str, options: argparse.Namespace, streams: int, *, stall: bool) -> dict[str, Any]:
    """Errors of the whole run; of the processor the difference to a run with short answers."""
    print(f"{name}, {streams} streams{', stall' if stall else ''} …", file=sys.stderr, flush=True)
    requests = streams * options.rounds
    found = _run(name, options, streams, requests, options.tokens, stall=stall)
    found["cpu_us_per_token"] = None
    if streams >= ENOUGH and not stall:
        short = _run(name, options, streams, requests, max(options.tokens // 8, 2), stall=False)
        seconds, tokens = found["cpu_s"] - short["cpu_s"], found["tokens"] - short["tokens"]
        found["cpu_us_per_token"] = 1e6 * seconds / tokens if tokens > 0 else None
    return found


def _run(
    name: str, options: argparse.Namespace, streams: int, requests: int, tokens: int, *, stall: bool
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        log, file = Path(folder) / "truth.jsonl", Path(folder) / ("load.jsonl" if name == "slm" else "report.json")
        serve: list[object] = [
            "--tokens",
            tokens,
            "--first-ms",
            options.first_ms,
            "--gap-ms",
            options.gap_ms,
            "--log",
            log,
        ]
        serve += [*(STALL if stall else []), *(["--together"] if options.together else [])]
        with _server(serve) as url:
            if name == "slm":
                command: list[object] = [sys.executable, HERE / "loading/ours.py", url, streams, requests, tokens, file]
            else:
                command = _guidellm(options.guidellm, Path(folder), url, streams, requests, file)
            before = _cpu_s()
            done = subprocess.run([*map(str, command)], env=_environment(), capture_output=True, text=True)
            seconds = _cpu_s() - before  # the server is not ended yet, so it is not in it
            if done.returncode:
                raise SystemExit(f"{name} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
        rows = read_log(log)
        found = ours(file, rows) if name == "slm" else guidellms(file, rows)
        return found | {"cpu_s": round(seconds, 3), "true_longest_gap_ms": longest_gap_ms(rows.values())}


def _guidellm(python: Path, folder: Path, url: str, streams: int, requests: int, file: Path) -> list[object]:
    prompts = folder / "prompts.jsonl"
    rows = [{"prompt": f"question {number} {'schema ' * 200}"} for number in range(requests)]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [
        python.parent / "guidellm",
        "run",
        *("--backend", f"kind=openai_http,target={url.removesuffix('/v1')},model=model"),
        *("--profile", f"kind=concurrent,streams=[{streams}]"),
        *("--constraint", f"kind=max_requests,count={requests}"),
        *("--data", f"kind=json_file,path={prompts}"),
        *("--output", f"kind=json,path={file}"),
        "--disable-console",
    ]


@contextmanager
def _server(options: list[object]) -> Iterator[str]:
    command = [sys.executable, HERE / "loading/server.py", *options]
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def _cpu_s() -> float:
    """Of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _version(python: Path) -> str:
    command = [str(python), "-c", "import importlib.metadata as m; print(m.version('guidellm'))"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def show(report: dict[str, Any]) -> None:
    """A row a client and load."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title="absolute errors, ms: p50 p99")
    names = ("first_token_ms", "every_piece_ms", "ttft_ms", "between_tokens_ms")
    for head in ("streams", "client", *(name.removesuffix("_ms").replace("_", " ") for name in names)):
        table.add_column(head)
    for head in ("longest gap, ms (true)", "CPU µs a token", "ratio"):
        table.add_column(head)
    loads = [(str(load["streams"]), load) for load in report["loads"]]
    loads += [(f"{report['stall']['streams']}, stall", report["stall"])] if "stall" in report else []
    for label, load in loads:
        for client in ("slm", "guidellm"):
            if found := load.get(client):
                errors = [found.get(name) for name in names]
                shown = [f"{each['p50']:.2f} {each['p99']:.2f}" if each else "–" for each in errors]
                gap = f"{found.get('longest_gap_ms') or float('nan'):.0f} ({found['true_longest_gap_ms']:.0f})"
                cpu = "–" if found["cpu_us_per_token"] is None else f"{found['cpu_us_per_token']:.1f}"
                ratio = f"{load['ratio']:.2f}" if client == "slm" and load.get("ratio") else ""
                table.add_row(label, client, *shown, gap, cpu, ratio)
    Console(width=160).print(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--streams", type=lambda text: [int(part) for part in text.split(",")], default=[1, 64, 256])
    parser.add_argument("--guidellm", type=Path, metavar="PYTHON", help="the Python of an environment that has it")
    parser.add_argument("--tokens", type=int, default=64, help="of an answer")
    parser.add_argument("--first-ms", type=float, default=50)
    parser.add_argument("--gap-ms", type=float, default=40)
    parser.add_argument("--rounds", type=int, default=2, help="requests of each stream")
    parser.add_argument("--together", action="store_true", help="the server writes to all streams at the same moments")
    parser.add_argument("--no-stall", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path, help="keep the report as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
