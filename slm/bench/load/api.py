"""The OpenAI API as it is streamed: what a request says, and what the events of its answer mean."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from slm.bench.load.client import Reply

Prompted = list[dict[str, str]] | str
_DONE = b"[DONE]"
_SHOWN = 200  # characters of a server's complaint


@dataclass(frozen=True)
class Call:
    """A request that is ready to be sent."""

    id: str
    example_id: str
    path: str
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What a reply says. `token_ns` has the stamp of each piece of text. `error` is a kind, None of a whole answer."""

    text: str = ""
    token_ns: tuple[int, ...] = ()
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    error: str | None = None
    detail: str | None = None


def make_call(
    call_id: str, example_id: str, prompted: Prompted, *, model: str, max_tokens: int, usage: bool = True,
    grammar: str | None = None,
) -> Call:  # fmt: skip
    """Greedy and streamed; messages go to chat completions, text goes to completions. `usage`: ask for token counts.

    `grammar`: of the answers, for a server that takes one as vLLM does.
    """
    body: dict[str, Any] = {"model": model, "temperature": 0, "max_tokens": max_tokens, "stream": True}
    if usage:
        body["stream_options"] = {"include_usage": True}
    if grammar is not None:
        body["structured_outputs"] = {"grammar": grammar}
    if isinstance(prompted, str):
        path, body["prompt"] = "completions", prompted
    else:
        path, body["messages"] = "chat/completions", prompted
    return Call(call_id, example_id, path, json.dumps(body, ensure_ascii=False).encode())


def quick_error(reply: Reply) -> str | None:
    """Why a reply is no answer, as far as that is told without reading a stream that ended as it should."""
    if reply.error or reply.status != 200:
        return reply.error or f"http_{reply.status}"
    return None if reply.events and reply.events[-1] == _DONE else read_answer(reply).error


def read_answer(reply: Reply) -> Answer:
    """Read the events, or the body of a server that does not stream.

    Kinds of errors: those of `Reply`, `http_STATUS`, `empty` (nothing came), `truncated` (no end came), `malformed`
    (not what the API says), `server_error` (an error in place of an answer). What came before the error is kept.
    """
    stamped = [(event, at) for event, at in zip(reply.events, reply.stamps_ns, strict=True) if event != _DONE]
    whole = not reply.events and bool(
        reply.body
    )  # one piece without a stamp: nobody knows when its first token was there
    if reply.error is None and reply.status != 200:
        told = " ".join(reply.body.decode(errors="replace").split())[:_SHOWN]
        return Answer(error=f"http_{reply.status}", detail=told or None)
    reading = _Reading(ended=_DONE in reply.events)
    try:
        if whole:
            reading.add(json.loads(reply.body), None)
        for said, (_, at) in zip(_values([event for event, _ in stamped]), stamped, strict=True):
            reading.add(said, at)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return reading.answer(reply.error or "malformed", reply.detail or f"{type(error).__name__}: {error}"[:_SHOWN])
    if reply.error:
        return reading.answer(reply.error, reply.detail)
    if reading.complaint is not None:
        return reading.answer("server_error", reading.complaint)
    if not reply.events and not whole:
        return reading.answer("empty", "the answer has no events")
    return reading.answer(*((None, None) if reading.ended else ("truncated", "the stream has no end")))


def _values(events: list[bytes]) -> Iterator[Any]:
    """What the events hold. Raises ValueError or RecursionError at the first that is not JSON."""
    try:
        values = json.loads(b"[" + b",".join(events) + b"]")  # at once, as other streams wait meanwhile
    except (ValueError, RecursionError):
        values = []
    if len(values) == len(events):
        yield from values
    else:
        yield from map(json.loads, events)


class _Reading:
    """Events, read one after the other."""

    def __init__(self, *, ended: bool) -> None:
        self.ended = ended
        self._texts: list[str] = []
        self._token_ns: list[int] = []
        self._usage: dict[str, Any] = {}
        self._finish: str | None = None
        self.complaint: str | None = None

    def add(self, said: Any, stamp: int | None) -> None:
        """One event, or with no stamp a body. Raises what reading anything else than the API's JSON raises."""
        if said.get("error"):
            self.complaint = json.dumps(said["error"], ensure_ascii=False)[:_SHOWN]
            return
        if isinstance(usage := said.get("usage"), dict):
            self._usage = usage
        if stamp is None and not said["choices"]:
            raise ValueError("an answer without choices")
        for choice in said.get("choices") or []:
            self._choice(choice, stamp)

    def _choice(self, choice: dict[str, Any], stamp: int | None) -> None:
        part = choice.get("delta") or choice.get("message") or {}
        text = part.get("content") or choice.get("text") or ""
        if not isinstance(text, str):
            raise TypeError("the text is none")
        # Text that a model thinks to itself is no answer, but its first token has come.
        if stamp is not None and (text or part.get("reasoning_content") or part.get("reasoning")):
            self._token_ns.append(stamp)
        self._texts.append(text)
        if reason := choice.get("finish_reason"):
            self._finish, self.ended = str(reason), True

    def answer(self, error: str | None, detail: str | None) -> Answer:
        """What was read, with what went wrong."""
        details = self._usage.get("prompt_tokens_details")
        return Answer(
            text=_writable("".join(self._texts).strip()),
            token_ns=tuple(self._token_ns),
            finish_reason=self._finish and _writable(self._finish),
            prompt_tokens=_count(self._usage.get("prompt_tokens")),
            cached_tokens=_count(details.get("cached_tokens")) if isinstance(details, dict) else None,
            completion_tokens=_count(self._usage.get("completion_tokens")),
            error=error,
            detail=detail and _writable(detail),
        )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _writable(text: str) -> str:
    """JSON may hold halves of characters, which no file can."""
    return text.encode(errors="replace").decode()
