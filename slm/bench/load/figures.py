"""From the lines of a load file to its figures. Pure functions; what was not measured is None."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from statistics import fmean, stdev

from pydantic import Field

from slm.bench.load.records import Cache, LoadFile, Outcome, Phase
from slm.bench.load.slo import Slo, quantile
from slm.bench.load.window import Window, find_window
from slm.records import Rate, Record

_SLICES = 10
_T = 2.262157  # two-sided 95 % quantile of Student's t with 9 degrees of freedom
_TELLING = 5 * _SLICES  # answers from which on an interval is given


class Quantiles(Record):
    """Of `count` values."""

    p50: float
    p90: float
    p95: float
    p99: float
    mean: float
    count: int


class Latency(Record):
    """Seconds, of answers to requests that were scheduled in the steady window.

    `ttft` (to the first piece of text) and `total` count from the scheduled time, `server_ttft` from when the request
    was really sent. `tpot`: time per output token after the first. `itl`: between two pieces of text, which may hold
    several tokens. `queue`: from the scheduled time until the first attempt was sent.
    """

    ttft_s: Quantiles | None
    server_ttft_s: Quantiles | None
    tpot_s: Quantiles | None
    itl_s: Quantiles | None
    total_s: Quantiles | None
    queue_s: Quantiles | None


class Throughput(Record):
    """Of what was answered within the steady window; `goodput` of it was within every limit of the objective.

    The bounds are those of a 95 % interval by batch means.
    """

    answers_per_s: float | None
    answers_per_s_low: float | None
    answers_per_s_high: float | None
    output_tokens_per_s: float | None
    goodput_per_s: float | None


class Repeats(Record):
    """Noise at temperature 0: of the `questions` answered more than once, how many got different texts or verdicts."""

    questions: int
    other_text: int
    other_verdict: int | None


class Figures(Record):
    """What one load showed.

    `requests` were planned: `ok` + `failed` + `missing` (not sent, or cut off with the benchmark). `retries`: failed
    attempts before the last one, by what failed. Tokens are means of an answer, `tokens_from` says who counted them.
    `accuracy` and `by_reason`, why answers are right or not, are of questions, each by its first request.
    """

    name: str
    cache: Cache
    load: str
    rate: float | None
    concurrency: int | None
    requests: int
    ok: int
    failed: int
    missing: int
    empty: int
    errors: dict[str, int]
    retries: dict[str, int]
    retried_requests: int
    windows: tuple[Window, ...]
    window_s: float
    steady: bool | None
    latency: Latency
    throughput: Throughput
    slo_met: bool | None
    prompt_tokens: float | None
    cached_tokens: float | None
    completion_tokens: float | None
    tokens_from: tuple[str, ...]
    accuracy: Rate | None = None
    by_reason: dict[str, int] = Field(default_factory=dict)
    repeats: Repeats | None = None


def all_figures(load: LoadFile, slo: Slo | None = None) -> list[Figures]:
    """Figures of each measured load, in the order in which they were started."""
    names = dict.fromkeys(phase.name for phase in load.phases if phase.measured)
    return [figures_of(load, name, slo) for name in names]


def figures_of(load: LoadFile, name: str, slo: Slo | None = None) -> Figures:
    """Figures of the phases of one name, which are one load, begun and perhaps continued."""
    phases = [phase for phase in load.phases if phase.name == name]
    outcomes = outcomes_of(load, phases)
    windows = [
        window
        for _, group in groupby(sorted(outcomes, key=lambda each: each.phase), key=lambda each: each.phase)
        if (window := find_window(list(group)))
    ]
    steady = [outcome for outcome in outcomes if any(_scheduled_in(outcome, window) for window in windows)]
    ended = [outcome for outcome in outcomes if any(_ended_in(outcome, window) for window in windows)]
    seconds = sum(window.end_s - window.start_s for window in windows)
    first = phases[0]
    answered = [outcome for outcome in outcomes if outcome.error is None]
    return Figures(
        name=name,
        cache=first.cache,
        load=first.load,
        rate=first.rate,
        concurrency=first.concurrency,
        requests=first.requests,
        ok=len(answered),
        failed=len(outcomes) - len(answered),
        missing=first.requests - len(outcomes),
        empty=sum(not outcome.text for outcome in answered),
        errors=_counts(outcome.error for outcome in outcomes if outcome.error),
        retries=_counts(error for outcome in outcomes for error in outcome.retried),
        retried_requests=sum(bool(outcome.retried) for outcome in outcomes),
        windows=tuple(windows),
        window_s=seconds,
        steady=_all([window.steady for window in windows]),
        latency=_latency([outcome for outcome in steady if outcome.error is None]),
        throughput=_throughput([outcome for outcome in ended if outcome.error is None], windows, seconds, slo),
        slo_met=slo.met(steady) if slo else None,
        prompt_tokens=_mean(outcome.prompt_tokens for outcome in answered),
        cached_tokens=_mean(outcome.cached_tokens for outcome in answered),
        completion_tokens=_mean(outcome.completion_tokens for outcome in answered),
        tokens_from=tuple(sorted({outcome.tokens_from for outcome in answered if outcome.tokens_from})),
    )


def outcomes_of(load: LoadFile, phases: Iterable[Phase]) -> list[Outcome]:
    """The requests of these phases."""
    numbers = {phase.number for phase in phases}
    return [outcome for outcome in load.outcomes if outcome.phase in numbers]


def first_answers(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """Each question's first request."""
    first: dict[str, Outcome] = {}
    for outcome in sorted(outcomes, key=lambda each: (each.phase, each.scheduled_s)):
        first.setdefault(outcome.example_id, outcome)
    return list(first.values())


def repeats_of(
    outcomes: Sequence[Outcome], verdicts: Mapping[tuple[str, str], bool | None] | None = None
) -> Repeats | None:
    """Noise among answers to the same question; `verdicts` says what is right, by example id and text."""
    texts: dict[str, list[str]] = {}
    for outcome in outcomes:
        if outcome.error is None:
            texts.setdefault(outcome.example_id, []).append(outcome.text)
    repeated = {example: answers for example, answers in texts.items() if len(answers) > 1}
    if not repeated:
        return None
    other = {example: set(answers) for example, answers in repeated.items() if len(set(answers)) > 1}
    differ = None
    if verdicts is not None:
        differ = sum(len({verdicts[example, text] for text in answers}) > 1 for example, answers in other.items())
    return Repeats(questions=len(repeated), other_text=len(other), other_verdict=differ)


def _scheduled_in(outcome: Outcome, window: Window) -> bool:
    return outcome.phase == window.phase and window.start_s <= outcome.scheduled_s <= window.end_s


def _ended_in(outcome: Outcome, window: Window) -> bool:
    return outcome.phase == window.phase and window.start_s < outcome.ended_s <= window.end_s


def _latency(outcomes: Sequence[Outcome]) -> Latency:
    return Latency(
        ttft_s=_quantiles(outcome.ttft_s for outcome in outcomes),
        server_ttft_s=_quantiles(
            None if outcome.first_token_s is None else outcome.first_token_s - outcome.sent_s for outcome in outcomes
        ),
        tpot_s=_quantiles(outcome.tpot_s for outcome in outcomes),
        itl_s=_quantiles(gap / 1e6 for outcome in outcomes for gap in outcome.chunks_us[1:]),
        total_s=_quantiles(outcome.total_s for outcome in outcomes),
        queue_s=_quantiles(outcome.first_sent_s - outcome.scheduled_s for outcome in outcomes),
    )


def _throughput(ended: Sequence[Outcome], windows: Sequence[Window], seconds: float, slo: Slo | None) -> Throughput:
    rate = len(ended) / seconds if seconds else None
    half = _half_width(ended, windows) if rate is not None else None
    tokens = [outcome.completion_tokens for outcome in ended]
    known = seconds and None not in tokens
    return Throughput(
        answers_per_s=rate,
        answers_per_s_low=None if rate is None or half is None else max(rate - half, 0.0),
        answers_per_s_high=None if rate is None or half is None else rate + half,
        output_tokens_per_s=sum(count or 0 for count in tokens) / seconds if known else None,
        goodput_per_s=sum(map(slo.good, ended)) / seconds if slo and seconds else None,
    )


def _half_width(ended: Sequence[Outcome], windows: Sequence[Window]) -> float | None:
    """Of the 95 % interval of the answers a second, from equal slices of the window (batch means); None if too few."""
    if len(ended) < _TELLING or len(windows) != 1:
        return None
    window = windows[0]
    length = (window.end_s - window.start_s) / _SLICES
    counts = Counter(min(int((outcome.ended_s - window.start_s) / length), _SLICES - 1) for outcome in ended)
    return float(_T * stdev(counts[index] / length for index in range(_SLICES)) / _SLICES**0.5)


def _quantiles(values: Iterable[float | None]) -> Quantiles | None:
    ordered = sorted(value for value in values if value is not None)
    if not ordered:
        return None
    shares = {f"p{percent}": quantile(ordered, percent / 100) for percent in (50, 90, 95, 99)}
    return Quantiles(**shares, mean=fmean(ordered), count=len(ordered))


def _all(values: Sequence[bool | None]) -> bool | None:
    """False if one is, else None if one is unknown."""
    return False if False in values else None if None in values or not values else True


def _counts(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _mean(values: Iterable[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
