"""What a request to the OpenAI API asks for; everything that this server would not do is refused, never ignored."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slm.serve.prompts import Message, Prompts
from slm.serve.refused import Refused
from slm.tasks import Rendered

# Greedy answers are the same with them as without.
_NO_EFFECT = {"top_p", "top_k", "seed", "user", "metadata", "store", "service_tier"}
_NO_EFFECT |= {"safety_identifier", "prompt_cache_key", "parallel_tool_calls"}
# The only values of what this server does not do.
_ONLY: dict[str, tuple[Any, ...]] = {
    "temperature": (0,),
    "n": (1,),
    "best_of": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "stop": ([],),
    "logit_bias": ({},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "response_format": ({"type": "text"},),
    "echo": (False,),
    "suffix": ("",),
}
Count = Annotated[int, Field(gt=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    type: Annotated[str, Field(pattern="^text$")]
    text: str


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    role: str
    content: str | list[_Part]
    name: str | None = None

    @property
    def plain(self) -> Message:
        """As chat templates take it."""
        parts = self.content
        text = parts if isinstance(parts, str) else "".join(part.text for part in parts)
        return {"role": self.role, "content": text}


class _StreamOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    include_usage: bool = False


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    model: str
    max_tokens: Count | None = None
    stream: bool = False
    stream_options: _StreamOptions = _StreamOptions()


class _ChatBody(_Body):
    messages: Annotated[list[_Message], Field(min_length=1)]
    max_completion_tokens: Count | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Field(ge=0, le=0)] = 0


class _TextBody(_Body):
    prompt: str
    logprobs: Annotated[int, Field(ge=0, le=1)] | None = None


@dataclass(frozen=True)
class Asked:
    """A request that can be answered."""

    chat: bool
    prompt: Rendered
    max_new_tokens: int
    stream: bool
    include_usage: bool
    logprobs: bool


@dataclass(frozen=True)
class Limits:
    """What the served model is called, and how long an answer is: where a request does not say, and at most."""

    name: str
    max_new_tokens: int
    most_new_tokens: int


def read_request(content: bytes, *, chat: bool, prompts: Prompts, limits: Limits) -> Asked:
    """The request in a body sent to chat completions, or to completions. Raises Refused."""
    values = _json_object(content)
    _check_only(values)
    try:
        body = (_ChatBody if chat else _TextBody).model_validate(values)
    except ValidationError as error:
        raise _invalid(error) from None
    if body.model != limits.name:
        raise Refused(404, f"there is no model {body.model!r}; this is {limits.name!r}", code="model_not_found")
    asked_tokens = body.max_tokens
    if isinstance(body, _ChatBody):
        asked_tokens = body.max_completion_tokens or asked_tokens
        prompt = prompts.of_messages([message.plain for message in body.messages])
        logprobs = body.logprobs
    else:
        prompt, logprobs = prompts.of_text(body.prompt), body.logprobs is not None
    if asked_tokens is not None and asked_tokens > limits.most_new_tokens:
        problem = f"max_tokens is {asked_tokens}; this server gives answers of at most {limits.most_new_tokens}"
        raise Refused(400, problem, param="max_tokens")
    tokens = asked_tokens or limits.max_new_tokens
    return Asked(chat, prompt, tokens, body.stream, body.stream_options.include_usage, logprobs)


def _json_object(content: bytes) -> dict[str, Any]:
    """The fields of a request that say something: null and what has no effect is left out."""
    try:
        values = json.loads(content)
        json.dumps(values, ensure_ascii=False).encode()  # half a character, which JSON can write, is no text
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise Refused(400, "the body is not a JSON object")
    return {name: value for name, value in values.items() if value is not None and name not in _NO_EFFECT}


def _check_only(values: dict[str, Any]) -> None:
    """Take out the fields that ask for what is done in any case."""
    for name in _ONLY.keys() & values.keys():
        value = values.pop(name)
        if value not in _ONLY[name]:
            allowed = " or ".join(map(json.dumps, _ONLY[name]))
            why = "answers are greedy" if name == "temperature" else "nothing else is supported"
            raise Refused(400, f"{name} is {json.dumps(value)[:80]}; only {allowed} is possible: {why}", param=name)


def _invalid(error: ValidationError) -> Refused:
    first: Mapping[str, Any] = error.errors(include_input=False, include_url=False)[0]
    # A union's alternatives are part of the place; the first two say enough.
    where = ".".join(map(str, first["loc"][:3]))
    if first["type"] == "extra_forbidden":
        return Refused(400, f"{where}: no such field, or not supported", param=where)
    return Refused(400, f"{where}: {first['msg']}", param=where)
