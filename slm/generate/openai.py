"""The backend for a server that speaks the OpenAI API: vLLM, llama.cpp's server, or a hosted model. Needs httpx.

Greedy decoding, one request after the other. A tokenizer with a chat template sends messages, one without sends the
prompt as text, so that in both cases the server makes the tokens, and its own count of them is what is reported.
"""

import math
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from slm.errors import InputError, JobError
from slm.records import Generation, Prompt
from slm.tasks import Renderer

if TYPE_CHECKING:
    import httpx

_TIMEOUT_S = 300.0  # a server that starts or is busy may take minutes for an answer
_SHOWN = 200  # characters of a server's complaint


class OpenAiBackend:
    """Answers of the model that a server calls `model`; to be used in a `with` statement.

    `url` is the API's root (`http://host:8000/v1`). `key` is sent as bearer token and shown nowhere.
    """

    def __init__(
        self, url: str, model: str, renderer: Renderer, *, max_new_tokens: int, key: str | None = None
    ) -> None:
        self.url, self.model, self.renderer, self.max_new_tokens = api_root(url), model, renderer, max_new_tokens
        self._client = _make_client(self.url, key)
        self._with_logprobs = True

    def __enter__(self) -> "OpenAiBackend":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def served(self) -> list[str] | None:
        """The names of the models that the server says it has; None if it does not say."""
        answer = self._send("GET", "models")
        if answer.status_code != 200:
            return None
        try:
            return [str(model["id"]) for model in answer.json()["data"]]
        except (ValueError, KeyError, TypeError):
            return None

    def generate(self, requests: Sequence[tuple[str, Prompt]]) -> Iterator[Generation]:
        """Answers in the order of the requests. `logprob` is None where the server gives no log-probabilities.

        Raises JobError for a server that cannot be reached, refuses a request, or answers with something else.
        """
        for example_id, prompt in requests:
            messages = self.renderer.messages(prompt)
            body: dict[str, Any] = {"model": self.model, "temperature": 0, "max_tokens": self.max_new_tokens}
            if messages is None:
                reply = self._ask("completions", body | {"prompt": self.renderer.text(prompt)}, {"logprobs": 1})
            else:
                reply = self._ask("chat/completions", body | {"messages": messages}, {"logprobs": True})
            yield self._read(example_id, reply)

    def _ask(self, path: str, body: dict[str, Any], logprobs: dict[str, Any]) -> dict[str, Any]:
        answer = self._send("POST", path, body | logprobs if self._with_logprobs else body)
        if answer.status_code in (400, 422) and self._with_logprobs:  # a server may refuse to give log-probabilities
            self._with_logprobs = False
            answer = self._send("POST", path, body)
        if answer.status_code != 200:
            raise self._refused(answer, path)
        try:
            reply = answer.json()
        except ValueError:
            reply = None
        if not isinstance(reply, dict) or not reply.get("choices"):
            raise JobError(f"{self.url}/{path}: the answer is not one of the OpenAI API: {answer.text[:_SHOWN]}")
        return reply

    def _send(self, method: str, path: str, body: dict[str, Any] | None = None) -> "httpx.Response":
        import httpx

        try:
            return self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise JobError(
                f"{self.url}: the server cannot be reached: {error or type(error).__name__}\n"
                "  try: start it, and give the address with its /v1"
            ) from None

    def _refused(self, answer: "httpx.Response", path: str) -> JobError:
        problem = {401: "the server asks for a key", 403: "the server refuses the key", 404: "no such address or model"}
        told = " ".join(answer.text.split())[:_SHOWN]
        hint = "\n  try: --key-env VARIABLE" if answer.status_code in (401, 403) else ""
        what = problem.get(answer.status_code, "the server refuses the request")
        return JobError(f"{self.url}/{path}: {what} (HTTP {answer.status_code}): {told}{hint}")

    def _read(self, example_id: str, reply: dict[str, Any]) -> Generation:
        choice, usage = reply["choices"][0], reply.get("usage") or {}
        text = choice["message"].get("content") if "message" in choice else choice.get("text")
        return Generation(
            example_id=example_id,
            text=(text or "").strip(),
            prompt_tokens=usage.get("prompt_tokens"),
            completion_tokens=usage.get("completion_tokens"),
            logprob=_logprob(choice.get("logprobs")),
            finish_reason=choice.get("finish_reason"),
        )


def api_root(url: str) -> str:
    """The address of an API, which names no user. Raises InputError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError("not the address of a server", where=url, expected="such as http://localhost:8000/v1")
    if parts.username or parts.password:
        raise InputError(
            "the address holds a name or a password, which would be kept in files",
            where=parts.hostname,
            expected="an address alone; a key belongs in an environment variable that --key-env names",
        )
    return url.rstrip("/")


def read_key(variable: str | None) -> str | None:
    """The key in an environment variable; None where none is named. Raises InputError."""
    if variable is None:
        return None
    if not (key := os.environ.get(variable)):
        raise InputError("the environment variable is not set", where=variable, expected="the server's key in it")
    return key


def _make_client(url: str, key: str | None) -> "httpx.Client":
    try:
        import httpx
    except ImportError:
        raise InputError(
            "talking to a server needs httpx, which is not installed", where=url, hint="pip install 'slm[bench]'"
        ) from None
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(base_url=f"{url}/", headers=headers, timeout=_TIMEOUT_S)


def _logprob(given: Any) -> float | None:
    """Log-probability of an answer, from what chat completions (`content`) or completions (`token_logprobs`) give."""
    if not isinstance(given, dict):
        return None
    tokens = given.get("content")
    values = given.get("token_logprobs") if tokens is None else [token.get("logprob") for token in tokens]
    if not values or any(value is None for value in values):
        return None
    return math.fsum(values)
