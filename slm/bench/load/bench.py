"""Runs a benchmark phase by phase into its load file; started again, it goes on where the file ends."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from slm.bench.load.api import Call, Prompted, make_call, read_answer
from slm.bench.load.calls import Asked, as_messages, make_calls, one_a_context
from slm.bench.load.client import Client, Clock, run_stamped
from slm.bench.load.figures import figures_of
from slm.bench.load.loadfile import read_load
from slm.bench.load.records import Cache, LoadFile, Outcome, Phase, Plan
from slm.bench.load.retry import Retry
from slm.bench.load.run import Exchange, Recorder, ask, run_phase
from slm.bench.load.shapes import Shape, closed, open_loop
from slm.bench.load.slo import Slo
from slm.bench.load.sweep import find_rate
from slm.errors import InputError, JobError
from slm.files import JsonLinesWriter
from slm.progress import Meter
from slm.records import Prompt

_FILLING = 4  # requests at a time that fill a prefix cache
_HINTS = {
    "http_401": "name the environment variable that holds the server's key: --key-env VARIABLE",
    "http_403": "name the environment variable that holds the server's key: --key-env VARIABLE",
    "http_404": "give the address with its /v1, and the model's name as the server has it",
    "refused": "start the server, and give the address with its /v1",
}


@dataclass(frozen=True)
class Target:
    """A server, what it calls the model, and how it is asked. `say` makes what is sent of a prompt.

    `grammar`: what the answer to a prompt must be, for a server that takes it as vLLM does.
    """

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    max_tokens: int = 128
    timeout_s: float = 300.0
    say: Callable[[Prompt], Prompted] = as_messages
    count: Callable[[str], int] | None = None
    grammar: Callable[[Prompt], str] | None = None


@dataclass(frozen=True)
class Sweep:
    """Look for the highest rate from `low` to `high` that keeps `slo`."""

    low: float
    high: float
    slo: Slo
    burstiness: float = 1.0
    seed: int = 0

    @property
    def label(self) -> str:
        """As of a shape."""
        return f"{self.low:g} to {self.high:g} a second, burstiness {self.burstiness:g}"


class Bench:
    """One benchmark and its file. Raises InputError for a file of another one."""

    def __init__(self, plan: Plan, target: Target, asked: Sequence[Asked], out: Path, retry: Retry) -> None:
        self._target, self._asked, self._out, self._retry = target, asked, out, retry
        self._usage: bool | None = None
        self._filled = False
        if out.is_file() and b"\n" in out.read_bytes():  # else nothing was written, or only a part of a line
            self._load = read_load(out)
            if self._load.plan != plan:
                hint = "choose another file with --out, or remove this one"
                raise InputError("the file is of another benchmark", where=str(out), hint=hint)
        else:
            self._load = LoadFile(plan=plan)
            with JsonLinesWriter(out) as writer:
                writer.append(plan)

    def run(self, load: Shape | Sweep, requests: int, caches: Sequence[Cache]) -> LoadFile:
        """Everything that is missing, then all that the file holds."""
        for cache in caches:
            if isinstance(load, Sweep):
                find_rate(partial(self._keeps, load, requests, cache), load.low, load.high)
            else:
                self._phase(f"{cache}, {load.label}", cache, load, self._asked, requests)
        return self._load

    def _keeps(self, sweep: Sweep, requests: int, cache: Cache, rate: float) -> bool:
        shape = open_loop(rate, requests, burstiness=sweep.burstiness, seed=sweep.seed)
        name = f"{cache}, {shape.label}"
        self._phase(name, cache, shape, self._asked, requests)
        return figures_of(self._load, name, sweep.slo).slo_met is True

    def _phase(
        self, name: str, cache: Cache, shape: Shape, asked: Sequence[Asked], requests: int, *, measured: bool = True
    ) -> None:
        """Ask what of a phase the file does not have."""
        done = {outcome.id for outcome in self._load.outcomes}
        left = [place for place in range(requests) if f"{name}/{place}" not in done]
        if not left:
            return
        if measured and cache == "warm" and not self._filled:
            self._filled = True
            contexts = one_a_context(self._asked)
            fill = f"fill {len(self._load.phases)}"  # never continued: by then the server may have forgotten
            self._phase(fill, cache, closed(_FILLING), contexts, len(contexts), measured=False)
        calls = self._calls(name, asked, requests, cache)
        phase = Phase(
            number=len(self._load.phases),
            name=name,
            cache=cache,
            load=shape.label,
            rate=shape.rate,
            concurrency=shape.concurrency,
            requests=requests,
            measured=measured,
            started=datetime.now(UTC).isoformat(timespec="milliseconds"),
            clock_ns=time.perf_counter_ns(),
        )
        outcomes: list[Outcome] = []
        with (
            JsonLinesWriter(self._out) as writer,
            Meter(name, requests, unit="requests", done=requests - len(left), bar=False) as meter,
        ):
            writer.append(phase)
            recorder = Recorder(writer, phase, meter, key=self._target.key, count=self._target.count)
            outcomes = recorder.outcomes

            async def send(clock: Clock) -> None:
                client = self._client(clock)
                await run_phase(client, [(n, calls[n]) for n in left], shape, self._retry, recorder)
                client.close()

            run_stamped(send)
        self._load = self._load.model_copy(
            update={"phases": (*self._load.phases, phase), "outcomes": (*self._load.outcomes, *outcomes)}
        )

    def _calls(self, name: str, asked: Sequence[Asked], requests: int, cache: Cache) -> list[Call]:
        if self._usage is None:
            self._usage = self._probe()
        target = self._target
        return make_calls(
            name,
            asked,
            requests,
            cache,
            say=target.say,
            model=target.model,
            max_tokens=target.max_tokens,
            usage=self._usage,
            grammar=target.grammar,
        )

    def _probe(self) -> bool:
        """Ask for one token before anything is measured; whether the server counts tokens. Raises JobError."""
        target = self._target
        example_id, prompt = self._asked[0]
        said = target.say(Prompt(context=f"[probe]\n{prompt.context}", question=prompt.question))  # warms no cache
        usage = True
        exchange = run_stamped(
            partial(self._ask_once, make_call("", example_id, said, model=target.model, max_tokens=1))
        )
        if exchange.reply.status in (400, 422):  # it may not know `stream_options`
            usage = False
            call = make_call("", example_id, said, model=target.model, max_tokens=1, usage=False)
            exchange = run_stamped(partial(self._ask_once, call))
        self._check(exchange)
        return usage

    async def _ask_once(self, call: Call, clock: Clock) -> Exchange:
        client = self._client(clock)
        try:
            return await ask(client, call, self._retry)
        finally:
            client.close()

    def _check(self, exchange: Exchange) -> None:
        answer = read_answer(exchange.reply)
        if answer.error is None:
            return
        told = (answer.detail or "").replace(self._target.key or "\0", "[key]")
        hint = f"\n  try: {_HINTS[answer.error]}" if answer.error in _HINTS else ""
        raise JobError(
            f"{self._target.url}/{exchange.call.path}: the server gives no answer ({answer.error}): {told}{hint}"
        )

    def _client(self, clock: Clock) -> Client:
        target = self._target
        return Client(target.url, key=target.key, timeout_s=target.timeout_s, clock=clock)
