"""A server with the streaming OpenAI API whose answers come at known times and fail in known ways; it keeps the truth.

python benchmarks/loading/server.py [--port 0] [--tokens 16] [--first-ms 20] [--gap-ms 5] [--log FILE] …

Prints its address. With `--log` each answer leaves a line: when its request was there, and when each piece of it was
written, in nanoseconds of the machine's monotonic clock; `epoch_ns` more are those since 1970. An answer ends in
` #NUMBER`, its id in `-NUMBER`, which is that of its line.
`--faults` are taken in turn by the requests; see `_FAULTS`. A context that came before counts as cached.
"""

import argparse
import asyncio
import gc
import json
import os
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_NS = 1_000_000_000


@dataclass
class State:
    """The options, and what has happened so far. `begun_ns` is when the first request came."""

    options: argparse.Namespace
    faults: list[str]
    answers: dict[str, str]
    key: str | None
    log: TextIO | None
    begun_ns: int | None = None
    number: int = 0
    contexts: set[str] = field(default_factory=set)


class Exchange:
    """One request and the connection that its answer goes to."""

    def __init__(self, state: State, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self.state, self.body, self.writer = state, body, writer
        self.number, self.received_ns = state.number, time.perf_counter_ns()
        self.written_ns: list[int] = []
        self.chat = "messages" in body
        said = body["messages"] if self.chat else [{"content": body["prompt"]}]
        # Some clients send a message's content as parts, and none has to say how long an answer may be.
        self.context, self.asked = (
            each if isinstance(each, str) else json.dumps(each) for each in (said[0]["content"], said[-1]["content"])
        )
        self.limit = body.get("max_tokens") or state.options.tokens
        self.cached = self.context in state.contexts
        state.contexts.add(self.context)

    def plain(self, status: str, text: str, *headers: str) -> None:
        """An answer that is no stream."""
        more = "".join(f"{header}\r\n" for header in headers)
        self.writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\n{more}\r\n{text}".encode())

    def event(self, data: str) -> None:
        """One event, as one chunk."""
        line = f"data: {data}\n\n".encode()
        self.writer.write(b"%x\r\n%b\r\n" % (len(line), line))

    def piece(self, text: str, finish: str | None = None) -> None:
        """A piece of the answer."""
        part = {"delta": {"content": text}} if self.chat else {"text": text}
        choice = {"index": 0, **part, "logprobs": None, "finish_reason": finish}
        head = {"id": f"chatcmpl-{self.number}", "object": "chat.completion.chunk", "created": 1767225600}
        self.event(json.dumps(head | {"model": self.body["model"], "choices": [choice]}))

    def end(self, tokens: int) -> None:
        """The count of tokens, and the end of the stream."""
        if (self.body.get("stream_options") or {}).get("include_usage"):
            prompt = (len(self.context) + len(self.asked)) // 4
            cached = {"cached_tokens": len(self.context) // 4 if self.cached else 0}
            usage = {"prompt_tokens": prompt, "completion_tokens": tokens, "prompt_tokens_details": cached}
            self.event(json.dumps({"choices": [], "usage": usage}))
        self.event("[DONE]")
        self.writer.write(b"0\r\n\r\n")

    def pieces(self) -> list[str]:
        """The answer: the known one to its question, else so many words."""
        number = f" #{self.number}"
        known = next((sql for question, sql in self.state.answers.items() if question in self.asked), None)
        if known is not None:
            return [known, ";"]
        count = min(self.state.options.tokens, self.limit)
        return [*(f" word{index}" for index in range(count - 1)), number]

    async def stream(self, stop_after: int | None = None) -> None:
        """Piece after piece, each when it is due; nothing at all while the server stalls."""
        options, pieces = self.state.options, self.pieces()
        self.writer.write(_OK)
        due_ns = self.received_ns + round(options.first_ms * 1e6)
        for index, text in enumerate(pieces if stop_after is None else pieces[:stop_after]):
            await self._until(due_ns)
            self.written_ns.append(time.perf_counter_ns())
            self.piece(text, "stop" if index == len(pieces) - 1 else None)
            due_ns += round(options.gap_ms * 1e6)
        if stop_after is None:
            self.end(len(pieces))

    async def _until(self, due_ns: int) -> None:
        options = self.state.options
        if options.together and options.gap_ms:  # all streams write in the same step, as a batch of a model does
            step = round(options.gap_ms * 1e6)
            due_ns = -(-due_ns // step) * step
        stall_ns = (self.state.begun_ns or self.received_ns) + round(options.stall_at_s * _NS)
        if stall_ns <= max(due_ns, time.perf_counter_ns()) < stall_ns + round(options.stall_s * _NS):
            due_ns = stall_ns + round(options.stall_s * _NS)
        if (left := due_ns - time.perf_counter_ns()) > 0:
            await asyncio.sleep(left / _NS)


async def _reset(exchange: Exchange) -> None:
    await exchange.stream(stop_after=2)
    await asyncio.sleep(0.01)
    exchange.writer.transport.abort()


async def _truncated(exchange: Exchange) -> None:
    await exchange.stream(stop_after=2)
    exchange.writer.write(b"0\r\n\r\n")


async def _malformed(exchange: Exchange) -> None:
    exchange.writer.write(_OK)
    exchange.event('{"choices": [{"delta": {"content": ')
    exchange.end(1)


async def _bad_chunk(exchange: Exchange) -> None:
    exchange.writer.write(_OK + b"five\r\nhello\r\n")


async def _empty(exchange: Exchange) -> None:
    exchange.writer.write(_OK + b"0\r\n\r\n")


async def _silent(_exchange: Exchange) -> None:
    await asyncio.sleep(3600)


async def _server_error(exchange: Exchange) -> None:
    exchange.writer.write(_OK)
    exchange.event('{"error": {"message": "out of memory"}}')
    exchange.end(0)


async def _whole(exchange: Exchange) -> None:
    message = {"message": {"role": "assistant", "content": "all at once"}, "finish_reason": "stop"}
    exchange.plain("200 OK", json.dumps({"choices": [message]}), "Content-Type: application/json")


async def _busy(exchange: Exchange) -> None:
    exchange.plain("429 Too Many Requests", "slow down", f"Retry-After: {exchange.state.options.retry_after_s}")


async def _failing(exchange: Exchange) -> None:
    exchange.plain("500 Internal Server Error", "oops")


async def _refused(exchange: Exchange) -> None:
    exchange.plain("400 Bad Request", "no such option")


_FAULTS: dict[str, Callable[[Exchange], Awaitable[None]]] = {
    "ok": Exchange.stream,
    "429": _busy,
    "500": _failing,
    "400": _refused,
    "reset": _reset,
    "truncated": _truncated,
    "malformed": _malformed,
    "bad-chunk": _bad_chunk,
    "empty": _empty,
    "silent": _silent,
    "server-error": _server_error,
    "whole": _whole,
}


async def _serve(state: State, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:] if line)
            if head[0].startswith("get "):  # whether it is there, and which models it has
                text = json.dumps({"object": "list", "data": [{"id": "model", "object": "model"}]})
                writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
                continue
            exchange = Exchange(state, json.loads(await reader.readexactly(int(headers["content-length"]))), writer)
            if state.key and headers.get("authorization") != f"bearer {state.key.lower()}":
                # As some servers do, it says which key it got.
                exchange.plain("401 Unauthorized", f"wrong key: {headers.get('authorization')}")
                continue
            if state.options.no_usage and "stream_options" in exchange.body:
                exchange.plain("400 Bad Request", "stream_options is not known")
                continue
            # One token is asked for by a client that looks whether the server is there.
            fault = "ok" if exchange.limit == 1 else state.faults[state.number % len(state.faults)]
            if exchange.limit != 1:
                state.number += 1
                state.begun_ns = state.begun_ns or exchange.received_ns
            await _FAULTS[fault](exchange)
            if fault == "bad-chunk":
                return
            if state.log:
                record = {"number": exchange.number, "fault": fault, "received_ns": exchange.received_ns}
                record |= {"written_ns": exchange.written_ns, "epoch_ns": time.time_ns() - time.perf_counter_ns()}
                state.log.write(json.dumps(record) + "\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the client has gone
    finally:
        writer.close()


async def main() -> None:
    """Serve until the process is ended."""
    options = _options()
    gc.disable()  # its pauses would be in the truth, but also between the truth and the client
    log = options.log.open("w", buffering=1) if options.log else None
    rows = [json.loads(line) for line in options.answers.read_text().splitlines()] if options.answers else []
    key = os.environ[options.key_env] if options.key_env else None
    answers = {row["question"]: row["sql"] for row in rows}
    state = State(options, options.faults.split(","), answers, key, log)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if options.certificate else None
    if tls:
        tls.load_cert_chain(options.certificate)
    server = await asyncio.start_server(
        lambda *both: _serve(state, *both), "127.0.0.1", options.port, backlog=1024, ssl=tls
    )
    port = server.sockets[0].getsockname()[1]
    print(f"{'https' if tls else 'http'}://127.0.0.1:{port}/v1", flush=True)
    await server.serve_forever()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tokens", type=int, default=16, help="of an answer")
    parser.add_argument("--first-ms", type=float, default=20, help="until the first token")
    parser.add_argument("--gap-ms", type=float, default=5, help="from a token to the next")
    parser.add_argument("--together", action="store_true", help="all streams write at the same moments")
    parser.add_argument(
        "--stall-at-s", type=float, default=0, help="after the first request the server stops writing …"
    )
    parser.add_argument("--stall-s", type=float, default=0, help="… for so long")
    parser.add_argument("--faults", default="ok", help=", ".join(_FAULTS))
    parser.add_argument("--retry-after-s", type=float, default=0.1)
    parser.add_argument("--no-usage", action="store_true", help="refuse stream_options")
    parser.add_argument("--key-env", help="environment variable with the key that is asked for")
    parser.add_argument("--answers", type=Path, help="JSON Lines of question and sql, which are the answers")
    parser.add_argument("--certificate", type=Path, help="with its key in one file: serve with TLS")
    parser.add_argument("--log", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main())
