"""The API of `slm serve` behind a real socket, around a model of this process."""

import socket
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn

from slm.generate.local import Engine, LocalBackend
from slm.serve.app import Api
from slm.serve.asked import Limits
from slm.tasks import Renderer

NAME = "tuned"


@dataclass
class Serving:
    """A server and its engine."""

    url: str
    engine: Engine
    client: httpx.Client

    def chat(self, text: str, **more: Any) -> httpx.Response:
        messages = [{"role": "user", "content": text}]
        return self.client.post("/v1/chat/completions", json={"model": NAME, "messages": messages, **more})


@contextmanager
def serving(
    backend: LocalBackend, *, end_id: int | None = None, renderer: Renderer | None = None, key: str | None = None,
    batch_size: int = 4, most_new_tokens: int = 1500,
) -> Iterator[Serving]:  # fmt: skip
    """The API of a backend's model on a free port; `end_id` -1: no answer ends by itself."""
    renderer = renderer or backend.renderer
    engine = Engine(backend.model, renderer.end_id if end_id is None else end_id, batch_size=batch_size)

    @asynccontextmanager
    async def lifespan(_app):
        with engine:
            yield

    app = Api(engine, renderer, Limits(NAME, 40, most_new_tokens), key=key).app(lifespan)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            with httpx.Client(base_url=url, timeout=60) as client:
                yield Serving(url, engine, client)
        finally:
            server.should_exit = True
            thread.join()
