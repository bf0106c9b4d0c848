"""Several answers to a question, and the one of them that is given: the one whose result most of them agree with.

Answers that do not run are dropped, and the others vote with what they give when they are executed (self-consistency,
Wang et al. 2022, arXiv:2203.11171, with results in place of answers). The gold is never looked at.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from slm.records import Generation, Prompt
from slm.sql import Judge, Pair, extract_sql

# A query that takes longer is not given.
_LONGEST_S = 5.0
_AGREE = {"correct", "gold_ambiguous", "both_empty"}


class Sampler(Protocol):
    """A backend that draws."""

    def draw(self, requests: Sequence[tuple[str, Prompt]], candidates: int) -> Iterator[tuple[int, Generation]]:
        """So many answers to each request, each with its number, in any order; 0 is the greedy one."""
        ...


class Agreement:
    """A backend that asks a sampler for `candidates` answers to each question and gives one of them."""

    def __init__(
        self, sampler: Sampler, candidates: int, databases: Mapping[str, Path], *, double_quoted_text: bool = False
    ) -> None:
        """`databases` by example id; `double_quoted_text`: whether "x" may be a text where no column is called x."""
        self._sampler, self._count = sampler, candidates
        self._databases, self._double_quoted_text = databases, double_quoted_text

    def generate(self, requests: Sequence[tuple[str, Prompt]]) -> Iterator[Generation]:
        """One answer to each request, with all its candidates; their tokens and seconds are added up."""
        drawn: dict[str, dict[int, Generation]] = {}
        with Judge(timeout_s=_LONGEST_S, workers=1) as judge:
            for number, generation in self._sampler.draw(requests, self._count):
                of_question = drawn.setdefault(generation.example_id, {})
                of_question[number] = generation
                if len(of_question) == self._count:
                    yield self._given(judge, [of_question[number] for number in range(self._count)])

    def _given(self, judge: Judge, drawn: Sequence[Generation]) -> Generation:
        texts = [generation.text for generation in drawn]
        database = self._databases[drawn[0].example_id]
        chosen = drawn[agreed(judge, database, texts, double_quoted_text=self._double_quoted_text)]
        total = {
            field: sum(getattr(generation, field) or 0 for generation in drawn)
            for field in ("prompt_tokens", "cached_tokens", "completion_tokens", "total_s")
        }
        return chosen.model_copy(update=total | {"candidates": tuple(texts), "ttft_s": None})


def agreed(judge: Judge, database: Path, texts: Sequence[str], *, double_quoted_text: bool = False) -> int:
    """The index of the first answer with which most agree; 0 if none of them runs."""
    queries = [extract_sql(text) for text in texts]
    counts = Counter(queries)
    pairs = [
        Pair(f"{left} {right}", (one,), other, database, double_quoted_text=double_quoted_text)
        for left, one in enumerate(counts)
        for right, other in enumerate(counts)
        if left <= right and one
    ]
    votes = Counter[str]()
    for pair, verdict in zip(pairs, judge.judge(pairs), strict=True):
        # A query that does not run does not agree with itself either.
        if verdict.reason in _AGREE:
            votes[pair.gold[0]] += counts[pair.prediction]
            if pair.gold[0] != pair.prediction:
                votes[pair.prediction] += counts[pair.gold[0]]
    return max(range(len(queries)), key=lambda index: (votes[queries[index]], -index))
