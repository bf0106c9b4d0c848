"""The local engine's server beside other servers of the same run: answers and output tokens a second, by concurrency.

python benchmarks/serving.py RUN [--systems local,transformers,transformers-batching,vllm] [--concurrency 1,8,32]
    [--suite roastery:test] [--requests 64] [--out FILE] [--json]

Each server is started, asked by `slm bench` with each concurrency in turn, and stopped. All serve float32 weights on
the CPU and are asked greedily, with the prompts of `slm eval`; caches of prompts are as a server has them, warmed by
one question of each schema. `local` is `slm serve RUN`; `vllm` the same with vLLM, which applies the adapter
(SLM_VLLM_PYTHON names a Python that has it); `transformers` is `transformers serve` of the merged float32 form, which
is exported if need be, and `transformers-batching` that with continuous batching (both need `pip install fastapi
openai`). Ratios are answers a second, `local` over the other. What is right is printed too: a server that answers
otherwise is no faster server of the same model.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slm import provenance
from slm.files import write_json

SLM = [sys.executable, "-m", "slm.cli"]
VLLM = "--max-model-len 2048 --enforce-eager"
START_S = 300
Server = tuple[str, str]  # its address, and what it calls the model


def main() -> int:
    """Measure and print; returns the exit code."""
    options = _options()
    report: dict[str, Any] = {"code": provenance.code_state(), "machine": provenance.machine()}
    report |= {"run": Path(options.run).name, "suite": options.suite, "requests": options.requests, "rows": []}
    for system in options.systems:
        with tempfile.TemporaryDirectory() as folder, start(system, options.run, Path(folder)) as server:
            for concurrency in options.concurrency:
                row = measure(server, options, concurrency, Path(folder))
                report["rows"].append({"system": system, "concurrency": concurrency, **row})
                print(json.dumps(report["rows"][-1]), file=sys.stderr, flush=True)
        report["ratios"] = ratios(report["rows"])
        if options.out:
            write_json(options.out, report)
    if options.json or not sys.stdout.isatty():
        print(json.dumps(report))
    else:
        show(report)
    return 0


@contextmanager
def start(system: str, run: str, folder: Path, options: str = VLLM) -> Iterator[Server]:
    """The server, once it answers; it ends with the block."""
    child: subprocess.Popen[Any]
    log = (folder / "log").open("wb")
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    # Both cores, as the others use; left to itself vLLM keeps one free for its HTTP server.
    environment["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
    if system.startswith("transformers"):
        form = merged(run)
        port = _free_port()
        batching = ["--continuous-batching"] if system == "transformers-batching" else []
        command = [str(Path(sys.executable).with_name("transformers")), "serve", str(form), "--device", "cpu"]
        command += ["--dtype", "float32", "--port", str(port), *batching]
        child = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        server = f"http://localhost:{port}/v1", str(form)
    else:
        vllm = ["--vllm-options", options] if system == "vllm" else []
        command = [*SLM, "serve", run, "--engine", system, "--port", "0", "--json", *vllm]
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, env=environment, text=True, start_new_session=True
        )
        assert child.stdout is not None
        told = json.loads(child.stdout.readline() or "null")
        assert told, (folder / "log").read_text()
        server = told["url"], told["model"]
    try:
        _wait(f"{server[0].removesuffix('/v1')}/health", child)
        yield server
    finally:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(timeout=60)
        log.close()


def measure(server: Server, options: argparse.Namespace, concurrency: int, folder: Path) -> dict[str, Any]:
    """What `slm bench` says of one concurrency."""
    url, model = server
    ask = [*SLM, "bench", options.suite, "--url", url, "--model", model, "--of", options.run, "--json"]
    ask += ["--requests", str(options.requests), "--concurrency", str(concurrency)]
    ask += ["--out", str(folder / f"{concurrency}.jsonl")]
    done = subprocess.run(ask, stdout=subprocess.PIPE, check=True)
    ((load,),) = (report["loads"] for report in json.loads(done.stdout))
    latency, flow = load["latency"], load["throughput"]
    return {
        "output_tokens_per_s": flow["output_tokens_per_s"],
        "answers_per_s": flow["answers_per_s"],
        "total_p50_s": latency["total_s"] and latency["total_s"]["p50"],
        "total_p95_s": latency["total_s"] and latency["total_s"]["p95"],
        "right": load["accuracy"]["right"],
        "of": load["accuracy"]["total"],
        "failed": load["failed"],
        "tokens_from": load["tokens_from"],
    }


def merged(run: str) -> Path:
    """The run's merged form in float32, exported where it is not there."""
    subprocess.run(
        [*SLM, "export", run, "--to", "merged", "--dtype", "float32", "--json"], check=True, stdout=sys.stderr
    )
    return (Path(run) / "exports" / "merged-float32").resolve()


def ratios(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The local engine's answers a second over each other system's, by concurrency."""
    speed = {(row["system"], row["concurrency"]): row["answers_per_s"] for row in rows}
    found: dict[str, dict[str, float]] = {}
    for (system, concurrency), answers in speed.items():
        mine = speed.get(("local", concurrency))
        if system != "local" and mine and answers:
            found.setdefault(system, {})[str(concurrency)] = round(mine / answers, 2)
    return found


def show(report: dict[str, Any]) -> None:
    """A table for a terminal."""
    from slm.cli.output import emit

    emit(report["rows"], as_json=False, title=f"{report['run']}, {report['suite']}, {report['requests']} requests")
    for system, by_concurrency in report["ratios"].items():
        print(f"local over {system}:", ", ".join(f"{value:g} x at {key}" for key, value in by_concurrency.items()))


def _wait(url: str, child: subprocess.Popen[Any]) -> None:
    for _ in range(START_S * 2):
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own server
                return
        except OSError:
            assert child.poll() is None, "the server has ended"
            time.sleep(0.5)
    raise TimeoutError(url)


def _free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--systems", type=lambda text: text.split(","), default=["local", "transformers", "vllm"])
    parser.add_argument("--concurrency", type=lambda text: list(map(int, text.split(","))), default=[1, 8, 32])
    parser.add_argument("--suite", default="roastery:test")
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
