"""A server that speaks as much of the OpenAI API as is asked of it, around a model of this process."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from slm.generate.local import LocalBackend
from slm.records import Prompt
from slm.tasks import Rendered, Renderer


@dataclass
class Served:
    """A model behind an address. `logprobs` and `usage`: whether the server tells them; `key`: what it asks for.

    `drop_bos`: the fault of leaving out the token for the beginning of a text. `asked` are the bodies that came.
    """

    model: Any
    tokenizer: Any
    name: str = "tuned"
    logprobs: bool = True
    usage: bool = True
    key: str | None = None
    drop_bos: bool = False
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)

    def ids(self, body: dict[str, Any]) -> list[int]:
        """The prompt's tokens, made as servers make them: from messages by the template, from text with a BOS."""
        if "messages" in body:
            text = self.tokenizer.apply_chat_template(body["messages"], tokenize=False, add_generation_prompt=True)
            ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        else:
            ids = list(self.tokenizer(body["prompt"])["input_ids"])
        return ids[1:] if self.drop_bos else ids

    def answer(self, body: dict[str, Any]) -> dict[str, Any]:
        """One choice, in the form of the address that was asked."""
        ids = self.ids(body)
        renderer = _Ready(self.tokenizer, ids, chat="messages" in body)
        backend = LocalBackend(self.model, renderer, max_new_tokens=body["max_tokens"], batch_size=1)
        (made,) = backend.generate([("one", Prompt(context="", question="?"))])
        choice: dict[str, Any] = {"index": 0, "finish_reason": made.finish_reason}
        given = self.logprobs and body.get("logprobs")
        if "messages" in body:
            logprobs = {"content": [{"token": made.text, "logprob": made.logprob}]}
            choice |= {"message": {"role": "assistant", "content": made.text}, "logprobs": logprobs if given else None}
        else:
            choice |= {"text": made.text, "logprobs": {"token_logprobs": [made.logprob]} if given else None}
        usage = {"prompt_tokens": len(ids), "completion_tokens": made.completion_tokens}
        return {"model": self.name, "choices": [choice], "usage": usage if self.usage else None}


class _Ready:
    """A renderer for tokens that are there already."""

    def __init__(self, tokenizer: Any, ids: list[int], *, chat: bool) -> None:
        inner = Renderer(tokenizer, chat)
        self.ids, self.end_id, self.decode = ids, inner.end_id, inner.decode

    def render(self, _prompt: Prompt) -> Rendered:
        return Rendered((), tuple(self.ids))


@contextmanager
def serve(served: Served) -> Iterator[Served]:
    """Answers at `served.url` within the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply(200, {"data": [{"id": served.name}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            served.asked.append(body)
            if served.key and self.headers["Authorization"] != f"Bearer {served.key}":
                self._reply(401, {"error": "no key"})
            elif body["model"] != served.name:
                self._reply(404, {"error": "no such model"})
            else:
                self._reply(200, served.answer(body))

        def _reply(self, status: int, value: dict[str, Any]) -> None:
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
