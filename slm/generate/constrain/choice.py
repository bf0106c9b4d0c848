"""What decides which tokens an answer may be made of, as the local backend sees it."""

from collections.abc import Sequence
from typing import Protocol


class Chooser(Protocol):
    """Chooses the tokens of one answer, one after the other."""

    def accept(self, token: int) -> bool:
        """Take this token if it may be next."""
        ...

    def allowed(self) -> bytes:
        """One bit a token, the lowest first: those of which `choose` may be offered."""
        ...

    def choose(self, ranked: Sequence[int]) -> int:
        """Take the first of these allowed tokens that may be next, the very first if none may; end if there is none."""
        ...

    def whole(self) -> int:
        """How many of the tokens so far make the longest beginning that is an answer by itself; 0: none does."""
        ...


class Constraint(Protocol):
    """Knows what answers about a context may be."""

    def chooser(self, context: str) -> Chooser:
        """For one new answer to a prompt with this context."""
        ...
