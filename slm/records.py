"""The nouns that pass between rooms. Every one of them is a line or a file that a person can open.

Units stand in the names: `_s` seconds, `_ms` milliseconds, `_usd` dollars, `_tokens` tokens. Missing is `None`, not 0.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Record(BaseModel):
    """Immutable, and strict about unknown keys when it is read back from a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Prompt(Record):
    """What a model is asked: `context` is shared by many questions (instructions and schema), `question` is not."""

    context: str
    question: str


class Example(Record):
    """One question of a data set. `context_id` names what it is asked about: for text-to-SQL, a database."""

    id: str
    context_id: str
    question: str
    targets: tuple[str, ...] = ()
    hint: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)


class Generation(Record):
    """What a model answered to one example, and what that took.

    `total_s` is wall time attributed to this answer: in a batch, the batch's time divided among its answers.
    """

    example_id: str
    text: str
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    ttft_s: float | None = None
    total_s: float | None = None
    logprob: float | None = None
    finish_reason: str | None = None
    error: str | None = None


class Verdict(Record):
    """The judgement of one answer. `correct` is `None` where nothing could be judged (the database is not there).

    `reason` is `correct`, or a snake_case kind of failure; `detail` is for people.
    """

    example_id: str
    correct: bool | None
    reason: str
    detail: str | None = None
    gold_ms: float | None = None
    prediction_ms: float | None = None


class Rate(Record):
    """A proportion with its 95 % Wilson interval. `value` and the bounds are `None` when `total` is 0."""

    right: int
    total: int
    value: float | None
    low: float | None
    high: float | None


class Result(Record):
    """One evaluation: the figures, and everything needed to trace them."""

    run: str
    suite: str
    model: str
    tuned: bool | None = None
    parameters: int | None = None
    examples: int
    unavailable: int
    questions_fingerprint: str
    accuracy: Rate
    by_reason: dict[str, int]
    by_tag: dict[str, dict[str, Rate]]
    prompt_tokens_per_question: float | None = None
    completion_tokens_per_question: float | None = None
    seconds_per_question: float | None = None
    card: dict[str, Any]
