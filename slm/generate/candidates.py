"""More answers to a question whose greedy answer gives nothing, and the one of them that is given.

An answer that does not run, or gives no rows, is rarely right. Only then further ones are drawn, and those that run
vote with what they give when they are executed (self-consistency, Wang et al. 2022, arXiv:2203.11171, with results in
place of answers). The gold is never looked at.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from slm.records import Generation, Prompt
from slm.sql import Judge, Pair, extract_sql

# A query that takes longer is not given.
_LONGEST_S = 5.0
_ROWS, _EMPTY = {"correct", "gold_ambiguous"}, "both_empty"


class Sampler(Protocol):
    """A backend that draws."""

    def draw(self, requests: Sequence[tuple[str, Prompt]], numbers: Sequence[int]) -> Iterator[tuple[int, Generation]]:
        """The candidates of these numbers for each request, in any order; 0 is the greedy one."""
        ...


class Candidates:
    """A backend that asks a sampler for up to `most` answers to a question and gives one of them."""

    def __init__(
        self, sampler: Sampler, most: int, databases: Mapping[str, Path], *, double_quoted_text: bool = False
    ) -> None:
        """`databases` by example id; `double_quoted_text`: whether "x" may be a text where no column is called x."""
        self._sampler, self._most = sampler, most
        self._databases, self._double_quoted_text = databases, double_quoted_text

    def generate(self, requests: Sequence[tuple[str, Prompt]]) -> Iterator[Generation]:
        """One answer to each request. Where there are several candidates, it has their tokens and seconds together."""
        drawn: dict[str, dict[int, Generation]] = {}
        with Judge(timeout_s=_LONGEST_S, workers=1) as judge:
            for _, greedy in self._sampler.draw(requests, [0]):
                if self._gives_rows(judge, greedy):
                    yield greedy
                else:
                    drawn[greedy.example_id] = {0: greedy}
            again = [(name, prompt) for name, prompt in requests if name in drawn]
            for number, generation in self._sampler.draw(again, range(1, self._most)):
                of_question = drawn[generation.example_id]
                of_question[number] = generation
                if len(of_question) == self._most:
                    yield self._given(judge, [of_question[number] for number in range(self._most)])

    def _gives_rows(self, judge: Judge, answer: Generation) -> bool:
        query = extract_sql(answer.text)
        database = self._databases[answer.example_id]
        pair = Pair("", (query,), query, database, double_quoted_text=self._double_quoted_text)
        return bool(query) and next(judge.judge([pair])).reason in _ROWS

    def _given(self, judge: Judge, drawn: Sequence[Generation]) -> Generation:
        texts = [generation.text for generation in drawn]
        database = self._databases[drawn[0].example_id]
        chosen = agreed(judge, database, texts, double_quoted_text=self._double_quoted_text)
        return _together(drawn, chosen)


class Samples:
    """A backend that draws `count` answers to each question, none of them the greedy one, and gives them all."""

    def __init__(self, sampler: Sampler, count: int) -> None:
        self._sampler, self._count = sampler, count

    def generate(self, requests: Sequence[tuple[str, Prompt]]) -> Iterator[Generation]:
        """One `Generation` a request, with the answers in its `candidates`; its text is the first of them."""
        drawn: dict[str, list[Generation]] = {name: [] for name, _ in requests}
        for _, generation in self._sampler.draw(requests, range(1, self._count + 1)):
            drawn[generation.example_id].append(generation)
            if len(drawn[generation.example_id]) == self._count:
                yield _together(drawn.pop(generation.example_id), 0)


def _together(drawn: Sequence[Generation], chosen: int) -> Generation:
    """One of them, with the texts of all, and their tokens and seconds together."""
    total = {
        field: sum(getattr(generation, field) or 0 for generation in drawn)
        for field in ("prompt_tokens", "cached_tokens", "completion_tokens", "total_s")
    }
    texts = tuple(generation.text for generation in drawn)
    return drawn[chosen].model_copy(update=total | {"candidates": texts, "ttft_s": None})


def agreed(judge: Judge, database: Path, texts: Sequence[str], *, double_quoted_text: bool = False) -> int:
    """The index of the first of those with rows with which most agree, else of those without; 0 if none runs."""
    queries = [extract_sql(text) for text in texts]
    counts = Counter(queries)
    pairs = [
        Pair(f"{left} {right}", (one,), other, database, double_quoted_text=double_quoted_text)
        for left, one in enumerate(counts)
        for right, other in enumerate(counts)
        if left <= right and one
    ]
    votes, rows = Counter[str](), set[str]()
    for pair, verdict in zip(pairs, judge.judge(pairs), strict=True):
        (one,), other = pair.gold, pair.prediction
        # A query that does not run does not agree with itself either.
        if verdict.reason in _ROWS or verdict.reason == _EMPTY:
            votes[one] += counts[other]
            if one != other:
                votes[other] += counts[one]
            elif verdict.reason in _ROWS:
                rows.add(one)
    return max(range(len(queries)), key=lambda at: (queries[at] in rows, votes[queries[at]], -at))
