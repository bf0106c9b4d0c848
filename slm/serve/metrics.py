"""What a server has done, in the text format that Prometheus reads."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Histogram:
    """How often a value was at most each of `bounds`, and how often it was more."""

    def __init__(self, bounds: Sequence[float] = _SECONDS) -> None:
        self.bounds, self.sum = tuple(bounds), 0.0
        self._counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """One more value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def lines(self, name: str) -> Iterator[str]:
        """Its samples; each bucket counts those below it, too."""
        below = 0
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self._counts, strict=True):
            below += count
            yield f'{name}_bucket{{le="{bound}"}} {below}'
        yield f"{name}_sum {self.sum:.6f}"
        yield f"{name}_count {below}"


@dataclass
class Metrics:
    """Counts since the start. Requests are counted by (endpoint, HTTP status); 499: the client has gone away."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    ttft_s: Histogram = field(default_factory=Histogram)
    total_s: Histogram = field(default_factory=Histogram)

    def text(self, *, running: int, waiting: int) -> str:
        """Everything, with how many requests are being answered and how many wait."""
        lines = ["# HELP slm_requests_total Requests by endpoint and HTTP status.", "# TYPE slm_requests_total counter"]
        for (endpoint, status), count in sorted(self.requests.items()):
            lines.append(f'slm_requests_total{{endpoint="{endpoint}",status="{status}"}} {count}')
        single = [
            ("slm_prompt_tokens_total", "counter", "Tokens of prompts, cached ones included.", self.prompt_tokens),
            ("slm_cached_tokens_total", "counter", "Tokens of prompts that were not computed.", self.cached_tokens),
            ("slm_completion_tokens_total", "counter", "Tokens of answers.", self.completion_tokens),
            ("slm_requests_running", "gauge", "Requests that are being answered.", running),
            ("slm_requests_waiting", "gauge", "Requests that wait for a place.", waiting),
        ]
        for name, kind, told, value in single:
            lines += [f"# HELP {name} {told}", f"# TYPE {name} {kind}", f"{name} {value}"]
        for name, told, histogram in (
            ("slm_time_to_first_token_seconds", "From the request to the first token.", self.ttft_s),
            ("slm_request_seconds", "From the request to the end of the answer.", self.total_s),
        ):
            lines += [f"# HELP {name} {told}", f"# TYPE {name} histogram", *histogram.lines(name)]
        return "\n".join(lines) + "\n"
