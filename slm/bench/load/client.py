"""The client: requests over kept connections, each piece of an answer stamped before anything else is done with it.

Raw asyncio instead of an HTTP library: a stamp must not wait for other streams' parsing, and what the client takes of
the processor it takes from a server on the same machine. JSON is left for later.
"""

import asyncio
import select
import selectors
import socket
import ssl
import time
from array import array
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit

from slm.bench.load.wire import Events, Response, WireError
from slm.errors import InputError

Clock = Callable[[], int]
T = TypeVar("T")
_BUFFER = 65536
_LONGEST_BODY = 1 << 20  # of an answer that is no stream; more is not kept


@dataclass
class Reply:
    """What came of one attempt; times are nanoseconds of `time.perf_counter_ns`.

    `events` are the stream's, each with its stamp in `stamps_ns`; `body` is that of an answer that is no stream.
    `error` is why there is no whole answer: `refused`, `reset`, `timeout` or `malformed`.
    """

    sent_ns: int
    ended_ns: int = 0
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    events: list[bytes] = field(default_factory=list)
    stamps_ns: "array[int]" = field(default_factory=lambda: array("q"))
    body: bytes = b""
    error: str | None = None
    detail: str | None = None


class StampedSelector(selectors.DefaultSelector):
    """Waits for sockets, and remembers when it saw that they had something.

    Between that moment and a socket's turn the loop handles the other sockets: with 256 streams that send at once that
    takes milliseconds, which belong to the client and not to the server.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen_ns = time.perf_counter_ns()
        # Only epoll rounds its timeouts up to milliseconds, by which requests would be sent late.
        self._coarse = hasattr(selectors, "EpollSelector") and isinstance(self, selectors.EpollSelector)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As the class it is made of, with timeouts kept to the microsecond."""
        if self._coarse and timeout is not None and timeout > 0:
            select.select([self.fileno()], [], [], timeout)
            timeout = 0
        ready = super().select(timeout)
        self._seen_ns = time.perf_counter_ns()
        return ready

    def seen_ns(self) -> int:
        """When the sockets whose turn it is were seen to have something."""
        return self._seen_ns


def run_stamped(main: Callable[[Clock], Coroutine[Any, Any, T]]) -> T:
    """Run `main` in a loop of its own, with the clock that its `Client` is to stamp by."""
    _allow_many_sockets()
    selector = StampedSelector()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        return runner.run(main(selector.seen_ns))


def _allow_many_sockets() -> None:
    """As many open files as the system lets this process have: an open loop on a slow server needs many connections."""
    with suppress(ImportError, ValueError, OSError):
        import resource  # not on Windows

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _Connection(asyncio.BufferedProtocol):
    """One connection; carries one request at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._transport: asyncio.Transport | None = None
        self._reply = Reply(0)
        self._response, self._events = Response(), Events()
        self._finished: asyncio.Future[None] | None = None
        self.usable = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - a stream connection has no other
        self._transport, self.usable = transport, True

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        now = self._clock()
        if self._finished is None or self._finished.done():
            self.close()  # bytes that nobody asked for
            return
        reply = self._reply
        try:
            body = self._response.feed(bytes(self._view[:nbytes]))
        except WireError as error:
            self._fail("malformed", str(error))
            return
        if not reply.status:
            reply.status, reply.headers = self._response.status, self._response.headers
        if body:
            if "event-stream" in reply.headers.get("content-type", ""):
                for event in self._events.feed(body):
                    reply.events.append(event)
                    reply.stamps_ns.append(now)
            elif len(reply.body) < _LONGEST_BODY:
                reply.body += body
        if self._response.done:
            reply.ended_ns = now
            self._finished.set_result(None)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        if self._finished is None or self._finished.done():
            return
        try:
            if exc is not None:
                raise WireError(str(exc))
            self._response.end()
        except WireError as error:
            self._fail("reset", str(error))
        else:
            self._reply.ended_ns = self._clock()
            self._finished.set_result(None)

    async def ask(self, request: bytes, reply: Reply) -> None:
        """Send `request` and fill `reply`."""
        assert self._transport is not None  # noqa: S101 - made by create_connection
        self._reply, self._response, self._events = reply, Response(), Events()
        self._finished = asyncio.get_running_loop().create_future()
        reply.sent_ns = time.perf_counter_ns()
        self._transport.write(request)
        await self._finished
        self.usable = self.usable and reply.error is None and self._response.keeps_alive

    def close(self) -> None:
        """End the connection at once."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, kind: str, detail: str) -> None:
        self.usable = False
        self._reply.error, self._reply.detail = kind, detail
        if self._finished is not None and not self._finished.done():
            self._finished.set_result(None)


class Client:
    """Requests to one server, on as many connections as there are requests at a time; to be used in one loop.

    `key` is sent as bearer token and shown nowhere. Proxies are not used, and redirects not followed.
    """

    def __init__(
        self, url: str, *, key: str | None = None, timeout_s: float = 300.0, clock: Clock = time.perf_counter_ns
    ) -> None:
        parts = urlsplit(url)
        self._host, self._path, self._timeout_s, self._clock = parts.hostname or "", parts.path, timeout_s, clock
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._head = (
            f"Host: {parts.netloc}\r\nUser-Agent: slm\r\nAccept: text/event-stream, application/json\r\n"
            f"Content-Type: application/json\r\n{_authorization(key)}"
        )
        self._idle: list[_Connection] = []

    async def post(self, path: str, body: bytes) -> Reply:
        """One attempt; what went wrong is in the reply."""
        request = f"POST {self._path}/{path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n".encode()
        reply = Reply(time.perf_counter_ns())
        connection = None
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = self._take() or await self._connect()
                await connection.ask(request + body, reply)
        except TimeoutError:
            reply.error, reply.detail = "timeout", f"no whole answer within {self._timeout_s:g} s"
        except OSError as error:  # ssl.SSLError and socket.gaierror are such
            reply.error, reply.detail = "refused", str(error)
        finally:
            if connection is not None:
                if connection.usable and reply.error is None and reply.ended_ns:
                    self._idle.append(connection)
                else:
                    connection.close()
        reply.ended_ns = reply.ended_ns or time.perf_counter_ns()
        return reply

    def close(self) -> None:
        """End all connections that are not in use."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _take(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    async def _connect(self) -> _Connection:
        _, connection = await asyncio.get_running_loop().create_connection(
            lambda: _Connection(self._clock), self._host, self._port, ssl=self._tls, family=socket.AF_UNSPEC
        )
        return connection


def _authorization(key: str | None) -> str:
    if key is None:
        return ""
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InputError("the key cannot be sent", expected="letters, digits and signs in one word")
    return f"Authorization: Bearer {key}\r\n"
