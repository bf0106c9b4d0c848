"""The server of the local engine: uvicorn in the main thread, the model in a thread of its own."""

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette

from slm.generate.local import Engine, LocalBackend
from slm.serve.app import Api
from slm.serve.asked import Limits

_GRACE_S = 5  # for answers that are on their way when the server is stopped


def serve_local(
    backend: LocalBackend, limits: Limits, listening: socket.socket, *, key: str | None, ready: Callable[[], None]
) -> None:
    """Answer requests with the backend's model until SIGINT or SIGTERM; `ready` is called when it does."""
    engine = Engine(backend.model, backend.renderer.end_id, batch_size=backend.batch_size)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        with engine:
            ready()
            yield

    app = Api(engine, backend.renderer, limits, key=key).app(lifespan)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=_GRACE_S
    )
    uvicorn.Server(config).run(sockets=[listening])
