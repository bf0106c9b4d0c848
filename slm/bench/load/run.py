"""Sends a phase's requests by its shape and hands every one of them, once, to the file."""

import asyncio
import gc
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import pairwise

from slm.bench.load.api import Call, quick_error, read_answer
from slm.bench.load.client import Client, Reply
from slm.bench.load.records import Outcome, Phase
from slm.bench.load.retry import Retry
from slm.bench.load.shapes import Shape
from slm.files import JsonLinesWriter
from slm.progress import Meter

_SOME = 64  # lines that are written at once
_NS = 1e9


@dataclass(frozen=True)
class Exchange:
    """A call with the reply of its last attempt, and why those before failed. Times are those of `Reply`."""

    call: Call
    reply: Reply
    scheduled_ns: int
    first_sent_ns: int
    retried: tuple[str, ...]


class Recorder:
    """Makes lines of exchanges and appends them to the file, a little at a time, so that no stream has to wait.

    `key` is taken out of everything that a server says. `count` counts tokens where the server does not.
    """

    def __init__(
        self,
        writer: JsonLinesWriter,
        phase: Phase,
        meter: Meter,
        *,
        key: str | None = None,
        count: Callable[[str], int] | None = None,
    ) -> None:
        self._writer, self._phase, self._meter, self._key, self._count = writer, phase, meter, key, count
        self.outcomes: list[Outcome] = []

    @asynccontextmanager
    async def recording(self) -> AsyncIterator[Callable[[Exchange], None]]:
        """Takes exchanges within the block; at its end, however it ends, all of them are in the file."""
        waiting: deque[Exchange] = deque()
        more, over = asyncio.Event(), False

        def take(exchange: Exchange) -> None:
            if task.done():
                task.result()  # the disk is full: nothing more is asked
            waiting.append(exchange)
            more.set()

        async def write() -> None:
            while waiting or not over:
                await more.wait()
                more.clear()
                while waiting:
                    await self._write_some(waiting)

        task = asyncio.create_task(write())
        try:
            yield take
        finally:
            over = True
            more.set()
            await task

    async def _write_some(self, waiting: deque[Exchange]) -> None:
        lines: list[str] = []
        while waiting and len(lines) < _SOME:
            outcome = self._outcome(waiting.popleft())
            self.outcomes.append(outcome)
            lines.append(outcome.model_dump_json())
            await asyncio.sleep(0)  # whatever has come meanwhile goes first
        await asyncio.to_thread(self._writer.append_lines, lines)  # the disk may take its time
        self._meter.advance(len(lines))

    def _outcome(self, exchange: Exchange) -> Outcome:
        reply, answer, start_ns = exchange.reply, read_answer(exchange.reply), self._phase.clock_ns
        stamps = (reply.sent_ns, *answer.token_ns)
        since = [round((at - start_ns) / _NS, 6) for at in (exchange.scheduled_ns, exchange.first_sent_ns, *stamps)]
        tokens, by = answer.completion_tokens, "server"
        if tokens is None and self._count is not None and answer.error is None:
            tokens, by = self._count(answer.text), "tokenizer"
        scrub = self._scrub
        return Outcome.model_validate(
            {
                "id": exchange.call.id,
                "phase": self._phase.number,
                "example_id": exchange.call.example_id,
                "scheduled_s": since[0],
                "first_sent_s": since[1],
                "sent_s": since[2],
                "first_token_s": since[3] if answer.token_ns else None,
                "last_token_s": since[-1] if answer.token_ns else None,
                "ended_s": round((reply.ended_ns - start_ns) / _NS, 6),
                "chunks_us": [(later - at) // 1000 for at, later in pairwise(stamps)],
                "retried": exchange.retried,
                "status": reply.status or None,
                "error": answer.error,
                "detail": scrub(answer.detail) if answer.detail else None,
                "text": scrub(answer.text),
                "finish_reason": answer.finish_reason,
                "prompt_tokens": answer.prompt_tokens,
                "cached_tokens": answer.cached_tokens,
                "completion_tokens": tokens,
                "tokens_from": None if tokens is None else by,
            }
        )

    def _scrub(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text


async def ask(client: Client, call: Call, retry: Retry, scheduled_ns: int | None = None) -> Exchange:
    """Send a call until it is answered, or until it is not to be tried again."""
    retried: list[str] = []
    first_sent_ns = 0
    while True:
        reply = await client.post(call.path, call.body)
        first_sent_ns = first_sent_ns or reply.sent_ns
        error = quick_error(reply)
        wait_s = None if error is None else retry.wait_s(error, len(retried) + 1, reply.headers)
        if error is None or wait_s is None:
            scheduled = first_sent_ns if scheduled_ns is None else scheduled_ns
            return Exchange(call, reply, scheduled, first_sent_ns, tuple(retried))
        retried.append(error)
        await asyncio.sleep(wait_s)


async def run_phase(
    client: Client, calls: Sequence[tuple[int, Call]], shape: Shape, retry: Retry, recorder: Recorder
) -> None:
    """Send the calls, each with its place in the phase; all are in the file when this returns.

    A shape's times are those of places: of a phase that is continued the first call that is left comes at once.
    """
    with _without_collector():
        start_ns = time.perf_counter_ns()
        async with recorder.recording() as take:
            if shape.times_s is None:
                await _closed(client, iter(calls), shape.concurrency or 1, retry, take)
            else:
                await _open(client, calls, shape.times_s, retry, take, start_ns)


async def _closed(
    client: Client,
    calls: Iterator[tuple[int, Call]],
    concurrency: int,
    retry: Retry,
    take: Callable[[Exchange], None],
) -> None:
    async def work() -> None:
        for _, call in calls:  # shared: each takes the next
            take(await ask(client, call, retry, time.perf_counter_ns()))

    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work())


async def _open(
    client: Client,
    calls: Sequence[tuple[int, Call]],
    times_s: Sequence[float],
    retry: Retry,
    take: Callable[[Exchange], None],
    start_ns: int,
) -> None:
    async def one(call: Call, scheduled_ns: int) -> None:
        take(await ask(client, call, retry, scheduled_ns))

    first_s = min((times_s[place] for place, _ in calls), default=0.0)
    async with asyncio.TaskGroup() as group:
        for place, call in calls:
            due_ns = start_ns + round((times_s[place] - first_s) * _NS)
            if (early_ns := due_ns - time.perf_counter_ns()) > 0:
                await asyncio.sleep(early_ns / _NS)
            group.create_task(one(call, due_ns))


@contextmanager
def _without_collector() -> Iterator[None]:
    """The garbage collector's pauses would look like the server's."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
