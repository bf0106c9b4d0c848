"""Tokens that keep an answer a query on its database: the likeliest one that the grammar allows and the scope takes."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from llguidance.hf import from_tokenizer

from slm.errors import JobError
from slm.generate.constrain.grammar import sql_grammar
from slm.generate.constrain.scope import SchemaScope
from slm.sql import Schema

# A vocabulary of 262,144 tokens and a schema of many names need more than the default of a step.
_LIMITS = LLParserLimits(step_max_items=2_000_000, step_lexer_fuel=5_000_000)


class SqlConstraint:
    """Answers are queries on the database of their context; each is prepared when it is first asked."""

    def __init__(self, tokenizer: Any, end_id: int, schemas: Mapping[str, Schema]) -> None:
        """`tokenizer` is a transformers tokenizer, `end_id` its token that ends an answer, `schemas` go by context."""
        self._tokenizer = tokenizer
        self._end_id = end_id
        self._schemas = schemas
        self._prepared: dict[str, tuple[LLMatcher, SchemaScope]] = {}

    def chooser(self, context: str) -> "SqlChooser":
        """For one new answer to a prompt with this context."""
        if context not in self._prepared:
            schema = self._schemas[context]
            matcher = LLMatcher(self._tokens, LLMatcher.grammar_from_lark(sql_grammar(schema)), limits=_LIMITS)
            self._prepared[context] = matcher, SchemaScope(schema)
        matcher, scope = self._prepared[context]
        return SqlChooser(matcher.deep_copy(), scope.viable, self._tokens.decode_bytes, self._end_id)

    @cached_property
    def _tokens(self) -> LLTokenizer:
        return from_tokenizer(self._tokenizer, eos_token=self._end_id)


class SqlChooser:
    """One answer so far."""

    def __init__(
        self, matcher: LLMatcher, viable: Callable[..., bool], decode: Callable[[list[int]], bytes], end_id: int
    ) -> None:
        """`viable` is `SchemaScope.viable`, `decode` gives the bytes of tokens."""
        self._matcher = matcher
        self._viable = viable
        self._decode = decode
        self._end_id = end_id
        self._text = b""
        # (tokens, bytes) after which the grammar would have let the answer end.
        self._ends: list[tuple[int, int]] = []
        self._taken = 0
        # Once no token kept the scope, there is nothing left to keep.
        self._lost = False

    def accept(self, token: int) -> bool:
        """Take this token if it may be next."""
        ends = token == self._end_id
        allowed = self._matcher.is_accepting() if ends else self._matcher.validate_tokens([token]) == 1
        if not allowed or not self._keeps(token):
            return False
        self._take(token)
        return True

    def allowed(self) -> bytes:
        """One bit a token, the lowest first: those that the grammar allows. Raises JobError if they are too many."""
        bits = self._matcher.compute_bitmask()
        if self._matcher.is_error():
            raise JobError(f"the answer cannot be constrained further: {self._matcher.get_error().splitlines()[0]}")
        return bits

    def choose(self, ranked: Sequence[int]) -> int:
        """Take the first of these tokens, all allowed by the grammar, that keeps the scope; else the very first."""
        known: dict[bytes, bool] = {}
        token = next((token for token in ranked if self._begins_well(token, known)), None)
        if token is None:
            token, self._lost = (ranked[0] if ranked else self._end_id), True
        self._take(token)
        return token

    def whole(self) -> int:
        """How many of the tokens so far make the longest beginning that is a query by itself; 0: none does."""
        for tokens, size in reversed(self._ends):
            if self._viable(self._shown(self._text[:size]), finished=True):
                return tokens
        return 0

    def _begins_well(self, token: int, known: dict[bytes, bool]) -> bool:
        """As `_keeps`, but what begins as something that was refused is refused at once; `known` is of this step."""
        if token == self._end_id or self._lost:
            return self._keeps(token)
        piece = self._decode([token])
        for end in range(1, len(piece) + 1):
            start = piece[:end]
            if start not in known:
                known[start] = self._viable(self._shown(self._text + start), finished=False)
            if not known[start]:
                return False
        return True

    def _keeps(self, token: int) -> bool:
        if self._lost:
            return True
        if token == self._end_id:
            return self._viable(self._shown(self._text), finished=True)
        return self._viable(self._shown(self._text + self._decode([token])), finished=False)

    def _take(self, token: int) -> None:
        self._matcher.consume_token(token)
        self._taken += 1
        if token != self._end_id:
            self._text += self._decode([token])
            if self._matcher.is_accepting():
                self._ends.append((self._taken, len(self._text)))

    @staticmethod
    def _shown(text: bytes) -> str:
        """A character of which some bytes are still to come is left out."""
        return text.decode(errors="ignore")
