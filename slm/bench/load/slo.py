"""Objectives for the latency: `ttft_p95=300ms,total_p95=1s`."""

import re
from collections.abc import Sequence
from math import ceil, inf

from slm.bench.load.records import Outcome
from slm.errors import InputError
from slm.records import Record

_TERM = re.compile(r"(ttft|tpot|total)_p(\d{1,2}(?:\.\d+)?)=(\d+(?:\.\d+)?)(ms|s)")
_FORM = "such as ttft_p95=300ms,total_p95=1s; of ttft, tpot and total"


class Term(Record):
    """`percent` of the requests have a `measure` (ttft, tpot, total) of at most `limit_s`."""

    measure: str
    percent: float
    limit_s: float

    def value(self, outcome: Outcome) -> float:
        """What counts of one request: a failed one took for ever, and so did what nobody measured.

        The first token of an answer that was not streamed came with the last. An answer of one token has no time
        between tokens.
        """
        if outcome.error is not None:
            return inf
        value: float | None = getattr(outcome, f"{self.measure}_s")
        if value is None and self.measure == "ttft":
            return outcome.total_s
        return (inf if outcome.completion_tokens is None else 0.0) if value is None else value

    def __str__(self) -> str:
        return f"{self.measure}_p{self.percent:g}={self.limit_s * 1000:g}ms"


class Slo(Record):
    """All terms must hold."""

    terms: tuple[Term, ...]

    def met(self, outcomes: Sequence[Outcome]) -> bool | None:
        """Whether these requests keep the objective; None where there are none."""
        if not outcomes:
            return None
        return all(
            quantile(sorted(map(term.value, outcomes)), term.percent / 100) <= term.limit_s for term in self.terms
        )

    def good(self, outcome: Outcome) -> bool:
        """Whether one request is within every limit."""
        return all(term.value(outcome) <= term.limit_s for term in self.terms)

    def __str__(self) -> str:
        return ",".join(map(str, self.terms))


def parse_slo(text: str) -> Slo:
    """Raises InputError for anything else than terms with commas between them."""
    matches = [_TERM.fullmatch(part.strip()) for part in text.split(",")]
    terms = []
    for part, match in zip(text.split(","), matches, strict=True):
        if match is None or not 0 < float(match[2]) < 100:
            raise InputError("no objective", where=f"--slo {part.strip()}", expected=_FORM)
        seconds = float(match[3]) / (1000 if match[4] == "ms" else 1)
        terms.append(Term(measure=match[1], percent=float(match[2]), limit_s=seconds))
    return Slo(terms=tuple(terms))


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest of the values, in order, that so large a share of them does not exceed (nearest rank)."""
    return ordered[max(ceil(round(share * len(ordered), 9)) - 1, 0)]
