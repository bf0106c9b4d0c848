"""An answer as the OpenAI API gives it: whole, or in pieces, from the tokens as they come."""

import time
import uuid
from typing import TYPE_CHECKING, Any

from slm.serve.asked import Asked
from slm.tasks import Renderer

if TYPE_CHECKING:
    from slm.generate.local import Token

_INCOMPLETE = "\ufffd"  # what a decoder writes for a character whose last bytes have not come


class Reply:
    """One answer, to chat completions or to completions."""

    def __init__(self, asked: Asked, name: str, renderer: Renderer) -> None:
        self.asked, self.name, self.renderer = asked, name, renderer
        self.tokens: list[Token] = []
        self.text = ""
        self._told = 0  # tokens whose log-probabilities were given
        kind = "chatcmpl" if asked.chat else "cmpl"
        self._head = {"id": f"{kind}-{uuid.uuid4().hex}", "created": int(time.time()), "model": name}

    @property
    def finish_reason(self) -> str | None:
        """`stop` or `length` once the answer is complete."""
        return self.tokens[-1].finish_reason if self.tokens else None

    @property
    def usage(self) -> dict[str, Any]:
        """Tokens of prompt and answer; the token that ends it counts."""
        prompt, completion = len(self.asked.prompt.ids), len(self.tokens)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        }

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompt that were not computed for it."""
        return self.tokens[0].cached_tokens if self.tokens else 0

    def take(self, token: "Token") -> str:
        """One token more; returns the text that is certain now: what comes later only adds to it."""
        self.tokens.append(token)
        ids = [each.id for each in self.tokens]
        text = self.renderer.decode(ids[:-1] if token.finish_reason == "stop" else ids)
        if token.finish_reason is None and (text.endswith(_INCOMPLETE) or not text.startswith(self.text)):
            return ""
        new, self.text = text[len(self.text) :], text
        return new

    def whole(self) -> dict[str, Any]:
        """The complete answer."""
        content: dict[str, Any] = {"text": self.text}
        if self.asked.chat:
            content = {"message": {"role": "assistant", "content": self.text}}
        kind = "chat.completion" if self.asked.chat else "text_completion"
        return {**self._head, "object": kind, "choices": [self._choice(content)], "usage": self.usage}

    def first_chunk(self) -> dict[str, Any] | None:
        """What opens a stream, where anything does."""
        opening = {"delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
        return self._chunk([{"index": 0, **opening}]) if self.asked.chat else None

    def chunk(self, text: str) -> dict[str, Any] | None:
        """The next piece of a stream; None where there is nothing to tell."""
        if not (text or self.asked.logprobs or self.finish_reason):
            return None
        content = {"delta": {"content": text} if text else {}} if self.asked.chat else {"text": text}
        return self._chunk([self._choice(content)])

    def usage_chunk(self) -> dict[str, Any]:
        """The last piece of a stream that was asked to tell the tokens."""
        return {**self._chunk([]), "usage": self.usage}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self.asked.chat else "text_completion"
        return {**self._head, "object": kind, "choices": choices}

    def _choice(self, content: dict[str, Any]) -> dict[str, Any]:
        logprobs = self._logprobs() if self.asked.logprobs else None
        return {"index": 0, **content, "logprobs": logprobs, "finish_reason": self.finish_reason}

    def _logprobs(self) -> dict[str, Any]:
        """Of the tokens that came since they were told last."""
        new, self._told = self.tokens[self._told :], len(self.tokens)
        words = [str(self.renderer.tokenizer.decode([token.id])) for token in new]
        values = [token.logprob for token in new]
        if not self.asked.chat:
            tops = [{word: value} for word, value in zip(words, values, strict=True)]
            return {"tokens": words, "token_logprobs": values, "top_logprobs": tops}
        content = [
            {"token": word, "logprob": value, "bytes": list(word.encode()), "top_logprobs": []}
            for word, value in zip(words, values, strict=True)
        ]
        return {"content": content}
