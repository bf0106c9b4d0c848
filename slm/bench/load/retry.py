"""Which failures are tried again, and after how long; no clock and no I/O in here."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_AGAIN = {"timeout", "reset", "refused", "truncated", "empty", "server_error", "http_408", "http_409", "http_429"}


@dataclass(frozen=True)
class Retry:
    """So many tries again, each after twice as long as the one before, drawn from 0 to that (full jitter)."""

    retries: int = 4
    first_s: float = 0.5
    longest_s: float = 30.0
    draw: random.Random = field(default_factory=random.Random, repr=False, compare=False)

    def wait_s(self, error: str, failed: int, headers: Mapping[str, str]) -> float | None:
        """Seconds until the next attempt after `failed` ones, at least what Retry-After asks for; None: give up.

        A server that asks for more than ten times the longest wait is not waited for.
        """
        if failed > self.retries or not (error in _AGAIN or error.startswith("http_5")):
            return None
        backoff = self.draw.uniform(0, min(self.longest_s, self.first_s * 2.0 ** min(failed - 1, 30)))
        asked = retry_after_s(headers.get("retry-after"), datetime.now(UTC))
        if asked is not None and asked > 10 * self.longest_s:
            return None
        return backoff if asked is None else asked + backoff


def retry_after_s(value: str | None, now: datetime) -> float | None:
    """The header's seconds, or those until its date; None where it says neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, TypeError):
            return None
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = (date - now).total_seconds()
    return max(seconds, 0.0) if seconds == seconds and seconds != float("inf") else None
