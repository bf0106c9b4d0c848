"""A child process is awaited, its failure is told without the key, and nothing of it is left."""

import os
import sys

import pytest

from serve_process import alive, wait_until_dead
from slm.errors import InputError, JobError
from slm.serve import child as module
from slm.serve.address import Address
from slm.serve.child import started

KEY = "s3cret-key"
SERVER = """
import http.server, subprocess, sys, time
worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(worker.pid, flush=True)
time.sleep(0.3)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def port() -> int:
    with Address("127.0.0.1", 0).listen() as free:
        return free.getsockname()[1]


def start(tmp_path, code: str, *arguments: object):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return started("server", command, os.environ, log=tmp_path / "logs" / "server.log", secret=KEY)


def test_it_is_ready_once_it_answers_and_gone_after_the_block(tmp_path, port, monkeypatch, capsys):
    monkeypatch.setattr(module, "_TELL_EVERY_S", 0.1)
    monkeypatch.setattr(module, "_POLL_S", 0.1)
    with start(tmp_path, SERVER, port) as child:
        child.wait_until_ready(f"http://127.0.0.1:{port}/health")
        worker = int(child.log.read_text().splitlines()[0])
        assert alive(worker)
    wait_until_dead(worker)
    assert f"server: starting for 0 s: {worker}" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["wait_until_ready", "wait"])
def test_one_that_dies_is_an_error_with_its_last_words_but_not_the_key(tmp_path, port, method):
    code = f"print('loading'); print('the key is {KEY}'); print('RuntimeError: no memory'); raise SystemExit(3)"
    with start(tmp_path, code) as child, pytest.raises(JobError) as raised:
        child.wait_until_ready(f"http://127.0.0.1:{port}/health") if method == "wait_until_ready" else child.wait()
    told = str(raised.value)
    assert "server ended with 3" in told
    assert str(tmp_path / "logs" / "server.log") in told
    assert "the key is ***\n    RuntimeError: no memory" in told
    assert KEY not in told


def test_one_that_does_not_listen_is_killed(tmp_path, port, monkeypatch):
    monkeypatch.setattr(module, "_GRACE_S", 0.3)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVER
    with start(tmp_path, deaf, port) as child:
        child.wait_until_ready(f"http://127.0.0.1:{port}/health")
        pids = [child._process.pid, int(child.log.read_text().splitlines()[0])]
    for pid in pids:
        wait_until_dead(pid)


def test_an_error_in_the_block_ends_it_too(tmp_path, port):
    pids = []

    def fail() -> None:
        with start(tmp_path, SERVER, port) as child:
            pids.append(child._process.pid)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    wait_until_dead(pids[0])


def test_a_program_that_is_not_there(tmp_path):
    with (
        pytest.raises(InputError, match="nowhere/python: cannot be started"),
        started("server", ["nowhere/python"], {}, log=tmp_path / "log", secret=None),
    ):
        pass
