"""From what a request asks to token ids, made as any server makes them, with a guess at what other requests share.

The guess decides only what is kept for the next request: a prompt has the same tokens and the same answer without it.
"""

from collections.abc import Sequence
from typing import Any

from jinja2 import TemplateError

from slm.serve.refused import Refused
from slm.tasks import Rendered, Renderer, common_length

Message = dict[str, str]
# In the place of what users ask: where a template's text first has it, the shared part of a prompt ends.
_MARK = "\x02"


class Prompts:
    """Prompts for one model. To be used in one thread only."""

    def __init__(self, renderer: Renderer, longest: int) -> None:
        """`longest`: tokens that a prompt and its answer may have together."""
        self.renderer, self.longest = renderer, longest

    def of_messages(self, messages: Sequence[Message]) -> Rendered:
        """A conversation by the chat template. Raises Refused."""
        if not self.renderer.chat:
            raise Refused(400, "this model is asked without a chat template: use /v1/completions", param="messages")
        text = self._apply(messages)
        shared = common_length(text, self._apply(_without_question(messages)))
        return self._split(text, text[:shared], special=False)

    def of_text(self, text: str) -> Rendered:
        """A text; what stands before its last blank line is its context. Raises Refused."""
        return self._split(text, _context(text), special=True)

    def _apply(self, messages: Sequence[Message]) -> str:
        apply = self.renderer.tokenizer.apply_chat_template
        try:
            return str(apply(list(messages), tokenize=False, add_generation_prompt=True))
        except TemplateError as error:
            raise Refused(400, f"the model's chat template refuses the messages: {error}", param="messages") from None

    def _split(self, text: str, shared: str, *, special: bool) -> Rendered:
        """`special`: whether the tokenizer writes its own special tokens; a chat template has written them."""
        ids, before = (self._ids(each, special=special) for each in (text, shared))
        if not ids:
            raise Refused(400, "the prompt is empty", param="prompt")
        if len(ids) >= self.longest:
            problem = f"the prompt has {len(ids)} tokens, and the model takes {self.longest} with the answer"
            raise Refused(400, problem, code="context_length_exceeded")
        split = common_length(ids, before)
        return Rendered(tuple(ids[:split]), tuple(ids[split:]))

    def _ids(self, text: str, *, special: bool) -> list[int]:
        found: Any = self.renderer.tokenizer(text, add_special_tokens=special)["input_ids"]
        return list(found)


def _without_question(messages: Sequence[Message]) -> list[Message]:
    """The messages up to the first question, which is a mark.

    The context is the system message, or stands in the message of the question where that is longer.
    """
    first = next((number for number, one in enumerate(messages) if one["role"] != "system"), len(messages) - 1)
    told, question = messages[:first], messages[first]
    short = len(question["content"]) <= sum(len(message["content"]) for message in told)
    context = "" if short else _context(question["content"])
    return [*told, {**question, "content": context + _MARK}]


def _context(text: str) -> str:
    """Everything up to the last blank line, which it includes."""
    return text[: text.rstrip().rfind("\n\n") + 2] if "\n\n" in text.strip() else ""
