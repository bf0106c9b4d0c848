"""How a prompt becomes token ids: the one place, used by training and generation, with or without a chat template."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from slm.errors import ModelError
from slm.records import Prompt

_MARK = "\x02question\x02"


@dataclass(frozen=True)
class Rendered:
    """Token ids of a prompt. `context_ids` are the same for every question about one context."""

    context_ids: tuple[int, ...]
    question_ids: tuple[int, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        """The whole prompt."""
        return self.context_ids + self.question_ids


class Renderer:
    """Renders prompts for one tokenizer.

    A prompt is always tokenized whole, exactly as a server would do with the same text, and split afterwards where the
    tokens of all questions part. With a chat template the context is the system message (or opens the user message,
    where the template knows no system role); without one the layout is `context`, `Question: …`, `SQL:`.
    """

    def __init__(self, tokenizer: Any, chat: bool | None = None) -> None:
        """`tokenizer` is a transformers tokenizer; `chat` None means: with the chat template if there is one."""
        if chat and not tokenizer.chat_template:
            raise ModelError(
                "the recipe says `task.chat: true`, but the model's tokenizer has no chat template",
                where=str(tokenizer.name_or_path),
                hint="set task.chat=auto, or use the instruction-tuned variant of the model",
            )
        self.tokenizer = tokenizer
        self.chat = bool(tokenizer.chat_template) if chat is None else chat
        self.end_id = self._find_end_id()
        self._layout = lru_cache(maxsize=256)(self._find_layout)

    def text(self, prompt: Prompt) -> str:
        """The prompt as one text, with the special tokens that a chat template writes."""
        before, after, _ = self._layout(prompt.context)
        return before + prompt.question.strip() + after

    def render(self, prompt: Prompt) -> Rendered:
        """Token ids of a prompt, split into the shared context and the question."""
        shared = self._layout(prompt.context)[2]
        ids = self._tokenize(self.text(prompt))
        split = common_length(shared, ids)
        return Rendered(tuple(ids[:split]), tuple(ids[split:]))

    def messages(self, prompt: Prompt) -> list[dict[str, str]] | None:
        """What a server is sent that applies the chat template itself; None without a template: it is sent `text`."""
        if not self.chat:
            return None
        turns, _ = self._turns(prompt.context)
        return [turn | {"content": turn["content"].replace(_MARK, prompt.question.strip())} for turn in turns]

    def target_ids(self, target: str) -> tuple[int, ...]:
        """Token ids of a target, closed by the token that ends the model's turn."""
        return (*self.tokenizer(target, add_special_tokens=False)["input_ids"], self.end_id)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of generated ids, without special tokens."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()

    def _tokenize(self, text: str) -> list[int]:
        # A chat template writes its special tokens itself; plain text gets the tokenizer's own (a BOS, if it has one).
        return list(self.tokenizer(text, add_special_tokens=not self.chat)["input_ids"])

    def _find_layout(self, context: str) -> tuple[str, str, tuple[int, ...]]:
        """Text before the question, text after it, and the ids that all questions about the context begin with."""
        before, after = self._template(context)
        first, second = (self._tokenize(before + question + after) for question in ("How many?", "7 or 8?"))
        return before, after, tuple(first[: common_length(first, second)])

    def _template(self, context: str) -> tuple[str, str]:
        if not self.chat:
            return f"{context}\n\nQuestion: ", "\nSQL:\n"
        _, text = self._turns(context)
        if text is None or text.count(_MARK) != 1:
            raise ModelError(
                "the chat template does not show the user's message once",
                where=str(self.tokenizer.name_or_path),
                hint="set task.chat=false to prompt without the template",
            )
        before, after = text.split(_MARK)
        return before, after

    def _turns(self, context: str) -> tuple[list[dict[str, str]], str | None]:
        """The messages of a prompt, with a mark for the question, and the template's text of them."""
        apart = [{"role": "system", "content": context}, {"role": "user", "content": _MARK}]
        text = self._apply(apart)
        if text is not None and context.strip() in text:
            return apart, text
        joined = [{"role": "user", "content": f"{context}\n\n{_MARK}"}]
        return joined, self._apply(joined)

    def _apply(self, messages: list[dict[str, str]], *, reply_next: bool = True) -> str | None:
        """The template's text; None where the template refuses the messages (some know no system role)."""
        from jinja2 import TemplateError

        try:
            return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=reply_next))
        except TemplateError:
            return None

    def _find_end_id(self) -> int:
        """The token after the assistant's message: `<|im_end|>`, `<end_of_turn>`, … or EOS without a template."""
        end: int | None = self.tokenizer.eos_token_id
        if self.chat:
            turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
            text = self._apply(turns, reply_next=False)
            if text is not None and _MARK in text:
                following = self.tokenizer(text.split(_MARK)[1].lstrip(), add_special_tokens=False)["input_ids"]
                if following and following[0] in self.tokenizer.added_tokens_decoder:
                    end = following[0]
        if end is None:
            raise ModelError(
                "the tokenizer has no end-of-sequence token, so an answer could never end",
                where=str(self.tokenizer.name_or_path),
            )
        return end


def common_length(first: Sequence[object], second: Sequence[object]) -> int:
    """How many items two sequences begin with alike."""
    for index, (left, right) in enumerate(zip(first, second, strict=False)):
        if left != right:
            return index
    return min(len(first), len(second))
