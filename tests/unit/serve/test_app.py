"""The API answers as the local backend does, many at once; what it would not do it refuses, and slots come back."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import httpx
import pytest

from learned_run import PAIRS
from serving import NAME, serving
from slm.data import load_dataset
from slm.generate.local import LocalBackend
from slm.generate.openai import OpenAiBackend
from slm.recipe import load_recipe
from slm.tasks import Renderer, TextToSql

TOKENS = 40
KEY = "s3cret-key"


@pytest.fixture(scope="module")
def served(backend):
    with serving(backend) as one:
        yield one


@pytest.fixture(scope="module")
def endless(backend):
    """One answer at a time, none of which ends by itself."""
    with serving(backend, end_id=-1, batch_size=1) as one:
        yield one


@pytest.fixture(scope="module")
def requests(run):
    dataset = load_dataset(load_recipe(run.recipe).evaluate.suite)
    task = TextToSql(dataset.contexts)
    return [(example.id, task.prompt(example)) for example in dataset.examples]


def answers_of(backend, requests):
    return {answer.example_id: answer for answer in backend.generate(requests)}


@pytest.mark.parametrize("chat", [True, False])
def test_answers_are_the_local_backends(backend, requests, chat):
    renderer = Renderer(backend.renderer.tokenizer, chat)
    local = LocalBackend(backend.model, renderer, max_new_tokens=TOKENS, batch_size=4)
    expected = answers_of(local, requests)
    assert len({answer.text for answer in expected.values()}) >= (len(PAIRS) if chat else 2)
    with (
        serving(backend, renderer=renderer) as served,
        OpenAiBackend(f"{served.url}/v1", NAME, renderer, max_new_tokens=TOKENS) as client,
    ):
        assert client.served() == [NAME]
        answers = answers_of(client, requests)
    for number, answer in answers.items():
        want = expected[number]
        assert (answer.text, answer.finish_reason) == (want.text, want.finish_reason)
        assert (answer.prompt_tokens, answer.completion_tokens) == (want.prompt_tokens, want.completion_tokens)
        assert answer.logprob == pytest.approx(want.logprob, abs=1e-4)


def body_of(backend, prompt, **more):
    messages = backend.renderer.messages(prompt)
    return {"model": NAME, "messages": messages, "max_tokens": TOKENS, "temperature": 0.0, **more}


def events_of(response: httpx.Response) -> list[dict]:
    lines = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert lines.pop() == "[DONE]"
    return [json.loads(line) for line in lines]


def test_eight_streams_at_once(backend, served, requests):
    expected = answers_of(backend, requests)

    def stream(request):
        number, prompt = request
        body = body_of(backend, prompt, stream=True, stream_options={"include_usage": True})
        with served.client.stream("POST", "/v1/chat/completions", json=body) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            return number, events_of(response)

    with ThreadPoolExecutor(8) as pool:
        streams = dict(pool.map(stream, requests))
    assert len(streams) == 8
    for number, events in streams.items():
        *chunks, last = events
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        assert deltas[0]["role"] == "assistant"
        assert "".join(delta.get("content", "") for delta in deltas) == expected[number].text
        assert len([delta for delta in deltas if delta.get("content")]) > 1, "it came in pieces"
        assert [chunk["choices"][0]["finish_reason"] for chunk in chunks][-2:] == [None, "stop"]
        assert last["usage"]["completion_tokens"] == expected[number].completion_tokens
    cached = [events[-1]["usage"]["prompt_tokens_details"]["cached_tokens"] for events in streams.values()]
    assert cached.count(0) <= 1 < max(cached), "the schema was computed once"


def test_what_is_counted(backend, requests):
    with serving(backend) as served:
        usages = [
            served.client.post("/v1/chat/completions", json=body_of(backend, prompt)).json()["usage"]
            for _, prompt in requests[:3]
        ]
        served.chat("?", temperature=1)
        text = served.client.get("/metrics").text
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert samples['slm_requests_total{endpoint="chat/completions",status="200"}'] == "3"
    assert samples['slm_requests_total{endpoint="chat/completions",status="400"}'] == "1"
    for name, key in (("prompt", "prompt_tokens"), ("completion", "completion_tokens")):
        assert samples[f"slm_{name}_tokens_total"] == str(sum(usage[key] for usage in usages))
    cached = [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages]
    assert cached[0] == 0 < cached[1] == cached[2]
    assert samples["slm_cached_tokens_total"] == str(sum(cached))
    for name in ("slm_time_to_first_token_seconds", "slm_request_seconds"):
        assert samples[f"{name}_count"] == "3"


MESSAGES = [{"role": "user", "content": "How many?"}]
CHAT = {"model": NAME, "messages": MESSAGES}


@pytest.mark.parametrize(
    ("content", "status", "told"),
    [
        ("{", 400, "not JSON"),
        ("[" * 100_000, 400, "not JSON"),
        ('{"model": "tuned", "messages": [{"role": "user", "content": "\\ud800"}]}', 400, "not JSON"),
        ("[]", 400, "not a JSON object"),
        ({"messages": MESSAGES}, 400, "model: Field required"),
        ({"model": NAME}, 400, "messages: Field required"),
        ({**CHAT, "model": "other"}, 404, "there is no model 'other'; this is 'tuned'"),
        ({**CHAT, "messages": []}, 400, "messages: List should have at least 1 item"),
        ({**CHAT, "messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "messages.0.content"),
        ({**CHAT, "temperature": 0.7}, 400, "temperature is 0.7; only 0 is possible: answers are greedy"),
        ({**CHAT, "n": 2}, 400, "n is 2; only 1"),
        ({**CHAT, "stop": [";"]}, 400, 'stop is [";"]; only []'),
        ({**CHAT, "tools": [{"type": "function"}]}, 400, "tools is"),
        ({**CHAT, "response_format": {"type": "json_object"}}, 400, "response_format is"),
        ({**CHAT, "max_tokens": 0}, 400, "max_tokens: Input should be greater than 0"),
        ({**CHAT, "max_tokens": 1501}, 400, "this server gives answers of at most 1500"),
        ({**CHAT, "max_tokens": "7"}, 400, "max_tokens: Input should be a valid integer"),
        ({**CHAT, "top_logprobs": 3, "logprobs": True}, 400, "top_logprobs"),
        ({**CHAT, "streem": True}, 400, "streem: no such field, or not supported"),
        ({**CHAT, "messages": [{"role": "user", "content": "many " * 3000}]}, 400, "the model takes 2048"),
        ({**CHAT, "messages": [{"role": "user", "content": "x" * 2**21}]}, 413, "bytes"),
    ],
)
def test_what_is_refused(served, content, status, told):
    sent = content if isinstance(content, str) else json.dumps(content)
    response = served.client.post("/v1/chat/completions", content=sent)
    assert response.status_code == status
    error = response.json()["error"]
    assert told in error["message"]
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("body", [{"prompt": ""}, {"prompt": ["a"]}, {"prompt": "a", "echo": True}, {}])
def test_what_completions_refuse(served, body):
    assert served.client.post("/v1/completions", json={"model": NAME, **body}).status_code == 400


def test_what_has_no_effect_is_taken(served):
    plain = served.chat("How many?").json()["choices"]
    more = {"temperature": None, "top_p": 0.5, "seed": 3, "user": "me", "stop": [], "n": 1, "max_completion_tokens": 40}
    assert served.chat("How many?", **more).json()["choices"] == plain
    parts = [{"type": "text", "text": "How "}, {"type": "text", "text": "many?"}]
    body = {"model": NAME, "messages": [{"role": "user", "content": parts}]}
    assert served.client.post("/v1/chat/completions", json=body).json()["choices"] == plain


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1/nothing", 404), ("GET", "/v1/completions", 405), ("GET", "/v1/models/other", 404)],
)
def test_other_addresses_are_json_errors(served, method, path, status):
    response = served.client.request(method, path)
    assert response.status_code == status
    assert response.json()["error"]["message"]
    assert served.client.get(f"/v1/models/{NAME}").json()["id"] == NAME


def test_a_key_is_asked_for_everywhere_but_for_health(backend):
    with serving(backend, key=KEY) as served:
        asked = [("GET", "/v1/models"), ("GET", "/metrics"), ("POST", "/v1/completions")]
        asked += [("POST", "/v1/chat/completions"), ("GET", f"/v1/models/{NAME}")]
        for method, path in asked:
            for given in ({}, {"Authorization": "Bearer s3cret"}, {"Authorization": f"Basic {KEY}"}):
                response = served.client.request(method, path, headers=given)
                assert response.status_code == 401, (path, given)
                assert response.json()["error"]["code"] == "invalid_api_key"
                assert KEY not in response.text
        assert served.client.get("/health").status_code == 200
        served.client.headers["Authorization"] = f"Bearer {KEY}"
        assert served.chat("How many?").status_code == 200
        assert KEY not in served.client.get("/metrics").text


def wait_until(true) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


def gone(served) -> int:
    name = 'slm_requests_total{endpoint="chat/completions",status="499"}'
    lines = served.client.get("/metrics").text.splitlines()
    return sum(int(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_slot(endless, stream):
    before = gone(endless)
    body = {**CHAT, "max_tokens": 1500, "stream": stream}
    with httpx.Client(base_url=endless.url) as client:
        if stream:
            with client.stream("POST", "/v1/chat/completions", json=body) as response:
                assert next(response.iter_lines()).startswith("data: ")
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post("/v1/chat/completions", json=body, timeout=0.2)
    wait_until(lambda: gone(endless) == before + 1)
    assert endless.chat("How many?", max_tokens=3).json()["usage"]["completion_tokens"] == 3
    assert (endless.engine.running, endless.engine.waiting) == (0, 0)


def test_a_client_that_goes_away_while_it_waits_leaves_the_queue(endless):
    before = gone(endless)
    body = {**CHAT, "max_tokens": 1500, "stream": True}
    with endless.client.stream("POST", "/v1/chat/completions", json=body) as response:
        lines = response.iter_lines()
        next(lines)
        with httpx.Client(base_url=endless.url) as client, pytest.raises(httpx.ReadTimeout):
            client.post("/v1/chat/completions", json=body, timeout=0.2)
        wait_until(lambda: gone(endless) == before + 1)
        wait_until(lambda: not endless.engine.waiting)
        assert endless.engine.running == 1


def test_a_model_that_fails_is_an_error_of_the_server(backend, monkeypatch):
    with serving(backend, end_id=-1) as served:
        monkeypatch.setattr(served.engine._decoder, "step", lambda: 1 / 0)
        response = served.chat("How many?")
        assert response.status_code == 503
        assert "the model failed: division by zero" in response.json()["error"]["message"]
        with served.client.stream("POST", "/v1/chat/completions", json={**CHAT, "stream": True}) as response:
            lines = response.iter_lines()
            next(lines)
            monkeypatch.setattr(served.engine._decoder, "step", lambda: 1 / 0)
            rest = [json.loads(line.removeprefix("data: ")) for line in lines if line]
        assert "the model failed" in rest[-1]["error"]["message"]
        assert served.chat("How many?", max_tokens=2).status_code == 200


def test_an_answer_is_cut_where_the_model_has_no_more_room(endless):
    text = "a " * 1000
    usage = endless.chat(text, max_tokens=1500).json()["usage"]
    assert usage["total_tokens"] == endless.engine.longest


def test_tokens_come_one_by_one_in_a_stream(endless):
    body = {**CHAT, "max_tokens": 30, "stream": True, "logprobs": True}
    with endless.client.stream("POST", "/v1/chat/completions", json=body) as response:
        events = events_of(response)
    tokens = [event["choices"][0]["logprobs"]["content"] for event in events[1:]]
    assert [len(each) for each in tokens] == [1] * 30
    assert all(one["id"] == other["id"] for one, other in pairwise(events))


def test_health_says_when_the_engine_is_gone(backend):
    with serving(backend) as served:
        assert served.client.get("/health").json() == {"status": "ok"}
        served.engine.__exit__(None, None, None)
        assert served.client.get("/health").status_code == 503
