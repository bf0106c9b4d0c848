"""The lines of a load file: the plan, the phases, and one line a request; together all that its figures are made of.

A phase that was cut short and continued has two `phase` lines of one name; times count from the start of each.
"""

from typing import Any, Literal

from pydantic import Field

from slm.records import Record

Cache = Literal["cold", "warm"]


class Plan(Record):
    """What a load file is about; the first line. A continued benchmark must have the same one.

    `prompts`: hex sha256 of what is asked, word for word. `settings`: all options that say what is sent, and when.
    """

    kind: Literal["plan"] = "plan"
    suite: str
    url: str
    model: str
    prompts: str
    settings: dict[str, Any]


class Phase(Record):
    """So many requests under one load. `measured`: false for requests that only fill the server's prefix cache.

    `clock_ns`: the start by the machine's monotonic clock, by which logs of a server beside it can be compared.
    """

    kind: Literal["phase"] = "phase"
    number: int
    name: str
    cache: Cache
    load: str
    rate: float | None = None
    concurrency: int | None = None
    requests: int
    measured: bool = True
    started: str
    clock_ns: int


class Outcome(Record):
    """One request and what became of it. Times are seconds since the phase started.

    `scheduled_s` is when it should have been sent, `first_sent_s` when it was, `sent_s` when its last attempt was.
    `chunks_us`: microseconds from `sent_s` to the first piece of text, then from each piece to the next. `retried`: why
    each attempt before the last one failed; `error`: why the last one did. `tokens_from`: who counted the completion's
    tokens, the server or a tokenizer; the server alone counts those of prompts.
    """

    kind: Literal["request"] = "request"
    id: str
    phase: int
    example_id: str
    scheduled_s: float
    first_sent_s: float
    sent_s: float
    first_token_s: float | None = None
    last_token_s: float | None = None
    ended_s: float
    chunks_us: tuple[int, ...] = ()
    retried: tuple[str, ...] = ()
    status: int | None = None
    error: str | None = None
    detail: str | None = None
    text: str = ""
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    tokens_from: Literal["server", "tokenizer"] | None = None

    @property
    def ttft_s(self) -> float | None:
        """From the scheduled time to the first piece of text."""
        return None if self.first_token_s is None else self.first_token_s - self.scheduled_s

    @property
    def total_s(self) -> float:
        """From the scheduled time to the end."""
        return self.ended_s - self.scheduled_s

    @property
    def tpot_s(self) -> float | None:
        """Time per output token after the first."""
        if self.first_token_s is None or self.last_token_s is None or (self.completion_tokens or 0) < 2:
            return None
        return (self.last_token_s - self.first_token_s) / ((self.completion_tokens or 0) - 1)


class LoadFile(Record):
    """A load file as it was read."""

    plan: Plan
    phases: tuple[Phase, ...] = ()
    outcomes: tuple[Outcome, ...] = Field(default=(), repr=False)
