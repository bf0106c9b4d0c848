"""What every generator of answers looks like from outside."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from slm.records import Generation, Prompt


class Backend(Protocol):
    """Answers prompts. Answers may come in another order than the requests; each request gets exactly one."""

    def generate(self, requests: Sequence[tuple[str, Prompt]]) -> Iterator[Generation]:
        """`requests` are (example id, prompt) pairs."""
        ...
