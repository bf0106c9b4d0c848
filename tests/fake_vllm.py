"""Stands in for a Python with vLLM: `fake_vllm.py -m vllm.entrypoints.openai.api_server OPTIONS`, as a child of slm.

It speaks as much of the API as `slm serve` asks of it, and starts a process of its own, whose number it prints.
`FAKE_VLLM` is what goes wrong: `dies` (and prints its key), `unapplied` (every model answers alike), `stubborn` (takes
no SIGTERM).
"""

import argparse
import json
import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

KEY, FAULT = os.environ.get("VLLM_API_KEY"), os.environ.get("FAKE_VLLM")


def make_python(folder: Path) -> Path:
    """A program to be named by SLM_VLLM_PYTHON."""
    path = folder / "python-with-vllm"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "$@"\n')
    path.chmod(0o755)
    return path


class Handler(BaseHTTPRequestHandler):
    models: tuple[str, ...] = ()

    def do_GET(self) -> None:
        self._reply(200, {"data": [{"id": name} for name in self.models]})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if KEY and self.headers["Authorization"] != f"Bearer {KEY}":
            self._reply(401, {"error": "no key"})
        elif body["model"] not in self.models:
            self._reply(404, {"error": "no such model"})
        else:
            text = "SELECT 1" if FAULT == "unapplied" else f"SELECT '{body['model']}'"
            choice = {"message": {"content": text}, "text": text, "finish_reason": "stop"}
            usage = {"prompt_tokens": 3, "completion_tokens": 4}
            self._reply(200, {"model": body["model"], "choices": [choice], "usage": usage})

    def _reply(self, status: int, value: dict) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def main() -> None:
    print("arguments:", json.dumps(sys.argv[1:]), flush=True)
    print("PYTHONPATH:", os.environ.get("PYTHONPATH"), flush=True)
    parser = argparse.ArgumentParser()
    for name in ("-m", "--model", "--served-model-name", "--lora-modules", "--host"):
        parser.add_argument(name)
    parser.add_argument("--port", type=int)
    options, _ = parser.parse_known_args()
    if FAULT == "dies":
        print(f"the key is {KEY}\nRuntimeError: no memory", flush=True)
        sys.exit(3)
    if FAULT == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print(f"worker: {worker.pid}", flush=True)
    adapter = [options.lora_modules.partition("=")[0]] if options.lora_modules else []
    Handler.models = (options.served_model_name, *adapter)
    ThreadingHTTPServer((options.host, options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
