"""The nouns that pass between rooms. Every one of them is a line or a file that a person can open.

Units stand in the names: `_s` seconds, `_ms` milliseconds, `_usd` dollars, `_tokens` tokens. Missing is `None`, not 0.
"""

from typing import Any, Self

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

    `candidates` are the answers that `text` was chosen from, if several, the greedy one first; tokens and seconds are
    then theirs together, and `logprob` that of `text`. `total_s` is wall time attributed to this answer: each step's
    time is divided among its questions by the tokens computed for them.
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
    candidates: tuple[str, ...] = ()


class Readings(Record):
    """Whether public scripts would call the same answer right: BIRD's EX, and Spider's test-suite script."""

    bird: bool
    test_suite: bool


class Verdict(Record):
    """The judgement of one answer.

    `correct` is `None` where nothing can be said: the database is not there, the gold fails, or both results are empty
    and no further instance has rows. `level` is how much stands behind it: `wrong`, `equal_on_shipped_data`,
    `equal_on_N_instances` or `proved`. `reason` is `correct`, `gold_ambiguous` (right, but the gold's LIMIT cuts a tie)
    or a snake_case kind of failure, `detail` is for people. `fragile`: only data that break a constraint which the
    shipped rows suggest, but the schema does not declare, tell the answer from the gold. `witness` is the smallest data
    that was found to tell them apart: rows by table, and both results. `shipped` is what `correct` would be on the
    shipped database alone.
    """

    example_id: str
    correct: bool | None
    level: str | None = None
    reason: str
    detail: str | None = None
    readings: Readings | None = None
    shipped: bool | None = None
    fragile: bool = False
    witness: dict[str, Any] | None = None
    gold_ms: float | None = None
    prediction_ms: float | None = None


class Rate(Record):
    """A proportion with its 95 % Wilson interval. `value` and the bounds are `None` when `total` is 0."""

    right: int
    total: int
    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, right: int, total: int) -> Self:
        """`right` of `total` (Wilson 1927)."""
        if total == 0:
            return cls(right=0, total=0, value=None, low=None, high=None)
        from scipy.stats import binomtest  # takes most of a second to import

        interval = binomtest(right, total).proportion_ci(0.95, method="wilson")
        return cls(right=right, total=total, value=right / total, low=float(interval.low), high=float(interval.high))


class Load(Record):
    """How a result's answers came from a server under load; seconds count from when a request was due.

    `server`: what computed them, in words. `answers_per_s`: of the steady window.
    """

    server: str
    load: str
    cache: str
    p50_s: float | None
    p95_s: float | None
    answers_per_s: float | None


class Cost(Record):
    """USD for 1,000 right answers, with its bounds where they are known, and in words what is paid for."""

    usd_per_1000_correct: float
    low: float | None
    high: float | None
    paid: str


class Result(Record):
    """One evaluation: the figures, and everything needed to trace them.

    `constrained`: whether the model's answers were kept within SQL and the schema while they were made. `candidates`:
    how many answers to a question there were at most; more than the greedy one where that gave no rows.

    `accuracy` is over all that could be judged; `undetermined` of them (two empty results) count as not right. With
    further `instances`, `accuracy` is what holds on them too, `accuracy_shipped` and `undetermined_shipped` what the
    shipped data alone would say, and `fragile` of the right answers are told apart by data that break an undeclared
    constraint. `readings`: what BIRD's EX and Spider's test-suite script would call right. Of an exported form there is
    `form`, its name, its size on the disk, and the time from the start of a process to its first answer on a CPU. Of
    answers from a server there is the `load` they came under, and where it was reckoned, the `cost`.
    """

    run: str
    suite: str
    model: str
    tuned: bool | None = None
    parameters: int | None = None
    constrained: bool = False
    candidates: int = 1
    examples: int
    unavailable: int
    questions_fingerprint: str
    accuracy: Rate
    undetermined: int = 0
    instances: int = 0
    accuracy_shipped: Rate | None = None
    undetermined_shipped: int = 0
    fragile: int = 0
    readings: dict[str, Rate] = Field(default_factory=dict)
    by_level: dict[str, int] = Field(default_factory=dict)
    by_reason: dict[str, int]
    by_tag: dict[str, dict[str, Rate]]
    prompt_tokens_per_question: float | None = None
    completion_tokens_per_question: float | None = None
    seconds_per_question: float | None = None
    form: str | None = None
    size_bytes: int | None = None
    cold_start_s: float | None = None
    load: Load | None = None
    cost: Cost | None = None
    card: dict[str, Any]
