"""The OpenAI API over the local engine: chat completions, completions, models, health and metrics."""

import asyncio
import hmac
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from slm.errors import JobError
from slm.serve.asked import Asked, Limits, read_request
from slm.serve.metrics import Metrics
from slm.serve.prompts import Prompts
from slm.serve.refused import Refused, error_body
from slm.serve.replies import Reply
from slm.tasks import Renderer

if TYPE_CHECKING:
    from slm.generate.local import Engine, Token

T = TypeVar("T")
_MOST_BYTES = 2**21  # of a request; a prompt that fills the largest context has less
_GONE = 499  # the status of a request whose client went away, which nobody receives


class Api:
    """What answers requests; `app` makes the ASGI application of it."""

    def __init__(self, engine: "Engine", renderer: Renderer, limits: Limits, *, key: str | None) -> None:
        self.engine, self.renderer, self.limits = engine, renderer, limits
        self.metrics = Metrics()
        self._prompts = Prompts(renderer, engine.longest)
        self._key = key
        self._created = int(time.time())

    def app(self, lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]] | None = None) -> Starlette:
        """The application. `lifespan` is entered before its first request."""
        routes = [
            Route("/health", self._health),
            Route("/metrics", self._guarded(self._metrics)),
            Route("/v1/models", self._guarded(self._models)),
            Route("/v1/models/{name:path}", self._guarded(self._model)),
            Route("/v1/chat/completions", self._guarded(self._chat), methods=["POST"]),
            Route("/v1/completions", self._guarded(self._text), methods=["POST"]),
        ]
        handlers: dict[Any, Any] = {HTTPException: _http_error, Exception: _unexpected}
        return Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)

    def _guarded(self, handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """`handler`, for those who have the key."""

        async def guarded(request: Request) -> Response:
            given = request.headers.get("authorization", "").removeprefix("Bearer ")
            if self._key is None or hmac.compare_digest(given.encode(), self._key.encode()):
                return await handler(request)
            refused = Refused(401, "the key is missing or wrong: Authorization: Bearer KEY", code="invalid_api_key")
            return _refusal(refused)

        return guarded

    async def _health(self, _request: Request) -> Response:
        alive = self.engine.alive
        return JSONResponse({"status": "ok" if alive else "failed"}, 200 if alive else 503)

    async def _metrics(self, _request: Request) -> Response:
        text = self.metrics.text(running=self.engine.running, waiting=self.engine.waiting)
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")

    async def _models(self, _request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._described()]})

    async def _model(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name == self.limits.name:
            return JSONResponse(self._described())
        return _refusal(Refused(404, f"there is no model {name!r}", code="model_not_found"))

    def _described(self) -> dict[str, Any]:
        known = {"id": self.limits.name, "object": "model", "created": self._created, "owned_by": "slm"}
        return {**known, "max_model_len": self.engine.longest}

    async def _chat(self, request: Request) -> Response:
        return await self._answer(request, "chat/completions")

    async def _text(self, request: Request) -> Response:
        return await self._answer(request, "completions")

    async def _answer(self, request: Request, endpoint: str) -> Response:
        came = time.monotonic()
        try:
            body = await _read_body(request)
            chat = endpoint == "chat/completions"
            asked = read_request(body, chat=chat, prompts=self._prompts, limits=self.limits)
            reply = Reply(asked, self.limits.name, self.renderer)
            pieces = self._pieces(asked, reply, endpoint, came)
            if asked.stream:
                first = await _unless_gone(request, anext(pieces))
                return _Stream(first, pieces, reply)
            await _unless_gone(request, _exhaust(pieces))
            return JSONResponse(reply.whole())
        except Refused as refused:
            response = _refusal(refused)
        except ClientDisconnect:
            return Response(status_code=_GONE)
        except JobError as error:
            # The engine took it and failed, which `_pieces` has counted, or takes no more.
            return JSONResponse(error_body(503, str(error)), 503, headers={"Retry-After": "1"})
        self.metrics.requests[endpoint, response.status_code] += 1
        return response

    async def _pieces(self, asked: Asked, reply: Reply, endpoint: str, came: float) -> AsyncGenerator[str]:
        """The text of an answer as it grows; its end, however it comes, is counted and frees the slot."""
        status = 500
        try:
            async with aclosing(_tokens(self.engine, asked)) as tokens:
                async for token in tokens:
                    if not reply.tokens:
                        self.metrics.ttft_s.observe(time.monotonic() - came)
                    text = reply.take(token)
                    status = 200 if token.finish_reason else status
                    yield text
        except JobError:
            status = 503
            raise
        except (asyncio.CancelledError, GeneratorExit):
            status = status if reply.finish_reason else _GONE
            raise
        finally:
            self.metrics.requests[endpoint, status] += 1
            if reply.tokens:
                self.metrics.prompt_tokens += len(asked.prompt.ids)
                self.metrics.cached_tokens += reply.cached_tokens
                self.metrics.completion_tokens += len(reply.tokens)
                self.metrics.total_s.observe(time.monotonic() - came)


class _Stream(StreamingResponse):
    """Server-sent events of an answer whose first piece has come."""

    def __init__(self, first: str, pieces: AsyncGenerator[str], reply: Reply) -> None:
        super().__init__(self._events(first, pieces, reply), media_type="text/event-stream")
        self.headers["Cache-Control"] = "no-cache"
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._pieces.aclose()

    async def _events(self, first: str, pieces: AsyncGenerator[str], reply: Reply) -> AsyncIterator[str]:
        if (opening := reply.first_chunk()) is not None:
            yield _event(opening)
        try:
            if (chunk := reply.chunk(first)) is not None:
                yield _event(chunk)
            async for text in pieces:
                if (chunk := reply.chunk(text)) is not None:
                    yield _event(chunk)
            if reply.asked.include_usage:
                yield _event(reply.usage_chunk())
        except JobError as error:
            yield _event(error_body(503, str(error)))
            return
        yield "data: [DONE]\n\n"


async def _tokens(engine: "Engine", asked: Asked) -> "AsyncGenerator[Token]":
    """An answer's tokens as they come. Raises JobError. Whatever ends it, the engine does not work on it any longer."""
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[Token | JobError] = asyncio.Queue()

    def emit(event: "Token | JobError") -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(events.put_nowait, event)

    question = engine.submit(asked.prompt, asked.max_new_tokens, emit)
    try:
        while True:
            event = await events.get()
            if isinstance(event, JobError):
                raise event
            yield event
            if event.finish_reason is not None:
                return
    finally:
        engine.cancel(question)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives; it is cancelled if the client goes away before. Raises ClientDisconnect."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _exhaust(pieces: AsyncIterator[str]) -> None:
    async for _ in pieces:
        pass


async def _read_body(request: Request) -> bytes:
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > _MOST_BYTES:
            raise Refused(413, f"the request has more than {_MOST_BYTES} bytes")
    return bytes(content)


def _event(value: dict[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def _refusal(refused: Refused) -> JSONResponse:
    return JSONResponse(refused.body, refused.status)


async def _http_error(_request: Request, error: HTTPException) -> Response:
    return JSONResponse(error_body(error.status_code, error.detail), error.status_code, headers=error.headers)


async def _unexpected(_request: Request, _error: Exception) -> Response:
    return JSONResponse(error_body(500, "the server failed; its own output says why"), 500)
