"""Answers in, figures out: execution accuracy with its interval, by reason and by tag, and what an answer took."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from slm.data import Dataset
from slm.errors import DataError
from slm.progress import Meter
from slm.records import Example, Generation, Rate, Result, Verdict
from slm.tasks import Task

# Reasons that say nothing of the answer: it counts as neither right nor wrong.
UNAVAILABLE = {"database_unavailable", "gold_failed"}


def evaluate(
    dataset: Dataset,
    answers: Mapping[str, Generation],
    task: Task,
    *,
    run: str,
    model: str,
    tuned: bool | None = None,
    parameters: int | None = None,
    constrained: bool = False,
    candidates: int = 1,
    card: Mapping[str, Any],
    timeout_s: float = 30.0,
    instances: int = 0,
) -> tuple[Result, list[Verdict]]:
    """Grade `answers` (by example id); one verdict for each example of the data set, in its order.

    An example without an answer is wrong (`no_answer`). What cannot be judged (no database, a gold that fails) counts
    as unavailable, neither right nor wrong; two empty results as not right. `timeout_s` is what one query may take;
    right answers are tried on so many further `instances` of their database.
    Raises DataError if an answer is to no question of the data set.
    """
    _check_ids(dataset, answers)
    texts = [(example, answers[example.id].text if example.id in answers else "") for example in dataset.examples]
    verdicts = []
    with Meter(f"judge {dataset.name}", len(texts), unit="answers") as meter:
        for verdict in task.grade(texts, timeout_s=timeout_s, instances=instances):
            verdicts.append(_name_missing(verdict, answers.get(verdict.example_id)))
            meter.advance()
    judged = [verdict for verdict in verdicts if verdict.reason not in UNAVAILABLE]
    given = [answers[example.id] for example in dataset.examples if example.id in answers]
    result = Result(
        run=run,
        suite=dataset.name,
        model=model,
        tuned=tuned,
        parameters=parameters,
        constrained=constrained,
        candidates=candidates,
        examples=len(verdicts),
        unavailable=len(verdicts) - len(judged),
        questions_fingerprint=dataset.fingerprint,
        accuracy=accuracy(judged),
        undetermined=sum(verdict.correct is None for verdict in judged),
        instances=instances,
        accuracy_shipped=_rate(bool(verdict.shipped) for verdict in judged) if instances else None,
        undetermined_shipped=sum(verdict.shipped is None for verdict in judged) if instances else 0,
        fragile=sum(verdict.fragile for verdict in judged),
        readings=_readings(judged),
        by_level=dict(Counter(verdict.level for verdict in judged if verdict.level).most_common()),
        by_reason=dict(Counter(verdict.reason for verdict in verdicts).most_common()),
        by_tag=dict(_by_tag(dataset.examples, judged, dataset.report_by)),
        prompt_tokens_per_question=_mean(each.prompt_tokens for each in given),
        completion_tokens_per_question=_mean(each.completion_tokens for each in given),
        seconds_per_question=_mean(each.total_s for each in given),
        card=dict(card),
    )
    return result, verdicts


def accuracy(judged: Sequence[Verdict]) -> Rate:
    """The share that is right, with its 95 % Wilson score interval."""
    return _rate(bool(verdict.correct) for verdict in judged)


def _rate(outcomes: Iterable[bool]) -> Rate:
    counted = list(outcomes)
    return Rate.of(sum(counted), len(counted))


def _readings(judged: Sequence[Verdict]) -> dict[str, Rate]:
    if not any(verdict.readings for verdict in judged):
        return {}
    return {
        name: _rate(bool(verdict.readings and getattr(verdict.readings, name)) for verdict in judged)
        for name in ("bird", "test_suite")
    }


def _check_ids(dataset: Dataset, answers: Mapping[str, Generation]) -> None:
    unknown = sorted(answers.keys() - {example.id for example in dataset.examples})
    if unknown:
        raise DataError(
            f"{len(unknown)} answers are to questions that {dataset.name} does not have: {', '.join(unknown[:5])}",
            where=dataset.name,
            expected=f"ids such as {', '.join(example.id for example in dataset.examples[:3])}",
            hint="evaluate them on the data set, with the limit, that they were made for",
        )


def _name_missing(verdict: Verdict, answer: Generation | None) -> Verdict:
    """No SQL in an answer is one thing, no answer at all another."""
    if verdict.reason != "no_sql" or (answer is not None and answer.error is None):
        return verdict
    detail = "the question was not answered" if answer is None else answer.error
    return verdict.model_copy(update={"reason": "no_answer", "detail": detail})


def _by_tag(
    examples: Sequence[Example], judged: Sequence[Verdict], tags: Iterable[str]
) -> Iterator[tuple[str, dict[str, Rate]]]:
    by_id = {example.id: example for example in examples}
    for tag in tags:
        groups: defaultdict[str, list[Verdict]] = defaultdict(list)
        for verdict in judged:
            if value := by_id[verdict.example_id].tags.get(tag):
                groups[value].append(verdict)
        if groups:
            yield tag, {value: accuracy(groups[value]) for value in sorted(groups)}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
