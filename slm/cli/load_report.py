"""What a load file says: its answers graded as `slm eval` grades them, its figures as a table or JSON."""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from slm.bench.load import (
    Figures,
    LoadFile,
    LoadReport,
    Outcome,
    Quantiles,
    Slo,
    all_figures,
    first_answers,
    highest_rates,
    outcomes_of,
    parse_slo,
    read_load,
    repeats_of,
)
from slm.cli.output import emit, rate_text
from slm.data import Dataset, load_dataset
from slm.errors import DataError
from slm.evaluate import UNAVAILABLE, accuracy
from slm.files import write_json
from slm.records import Verdict
from slm.tasks import TextToSql

TIMEOUT_S = 30.0  # of a query, as with `slm eval`
Verdicts = Mapping[tuple[str, str], Verdict]
Publish = Callable[[LoadFile, LoadReport, Dataset], Path]


def report_file(file: Path, slo: Slo | None, publish: Publish | None, *, as_json: bool) -> None:
    """Report what a load file holds, whole or not; without its questions the accuracy is missing."""
    load = read_load(file)
    settings = load.plan.settings
    folder = Path(settings["databases"]) if settings.get("databases") else None
    try:
        dataset = load_dataset(load.plan.suite, databases=folder, limit=settings.get("requests"))
    except DataError as error:
        print(f"warning: the answers are not graded: {error}", file=sys.stderr)
        dataset = None
    if slo is None and settings.get("slo"):
        slo = parse_slo(settings["slo"])
    finish(load, file, dataset, slo, publish, as_json=as_json)


def finish(
    load: LoadFile, file: Path, dataset: Dataset | None, slo: Slo | None, publish: Publish | None, *, as_json: bool
) -> None:
    """Grade and reckon; the report is kept beside the load file, published with `publish`, and shown."""
    verdicts = _grade(load, dataset) if dataset else None
    loads = [_with_accuracy(figures, load, verdicts) for figures in all_figures(load, slo)]
    highest = highest_rates(loads) if slo else []
    report = LoadReport(
        file=str(file), plan=load.plan, slo=str(slo) if slo else None, loads=tuple(loads), highest=tuple(highest)
    )
    write_json(file.with_suffix(".json"), report)
    if publish and dataset:
        print(f"published: {publish(load, report, dataset)}", file=sys.stderr)
    if as_json or not sys.stdout.isatty():
        emit([report.model_dump(mode="json")], as_json=True)
    else:
        _show(report)


def _grade(load: LoadFile, dataset: Dataset) -> Verdicts:
    """A verdict for each answer, and for no answer; the same answer to the same question is executed once."""
    examples = {example.id: example for example in dataset.available}
    keys = dict.fromkeys(_key(outcome) for outcome in load.outcomes if outcome.example_id in examples)
    task = TextToSql(dataset.contexts, double_quoted_text=dataset.double_quoted_text)
    pairs = [(examples[example_id], text) for example_id, text in keys]
    return dict(zip(keys, task.grade(pairs, timeout_s=TIMEOUT_S), strict=True))


def _key(outcome: Outcome) -> tuple[str, str]:
    return outcome.example_id, "" if outcome.error else outcome.text


def _with_accuracy(figures: Figures, load: LoadFile, verdicts: Verdicts | None) -> Figures:
    outcomes = outcomes_of(load, [phase for phase in load.phases if phase.name == figures.name])
    if verdicts is None:
        return figures.model_copy(update={"repeats": repeats_of(outcomes)})
    judged = _of_questions(outcomes, verdicts)
    graded = {
        "accuracy": accuracy([verdict for verdict in judged if verdict.reason not in UNAVAILABLE]),
        "by_reason": dict(Counter(verdict.reason for verdict in judged).most_common()),
        "repeats": repeats_of(outcomes, {key: verdict.correct for key, verdict in verdicts.items()}),
    }
    return figures.model_copy(update=graded)


def _of_questions(outcomes: Sequence[Outcome], verdicts: Verdicts) -> list[Verdict]:
    """The verdict on each question's first request; one that failed was not answered."""
    first = first_answers(outcomes)
    return [_named(verdicts[_key(outcome)], outcome) for outcome in first if _key(outcome) in verdicts]


def _named(verdict: Verdict, outcome: Outcome) -> Verdict:
    """No SQL in an answer is one thing, no answer at all another."""
    unanswered = outcome.error is not None and verdict.reason == "no_sql"
    return verdict.model_copy(update={"reason": "no_answer"}) if unanswered else verdict


def _show(report: LoadReport) -> None:
    columns = [_column(figures) for figures in report.loads]
    if columns:
        heads = [figures.name for figures in report.loads]
        rows = [
            {"": name, **{head: column[name] for head, column in zip(heads, columns, strict=True)}}
            for name in columns[0]
        ]
        emit(rows, as_json=False, title=f"{report.plan.suite}: {report.plan.model} at {report.plan.url}")
    for highest in report.highest:
        kept = "none that was tried" if highest.rate is None else f"{highest.rate:g} a second"
        print(f"highest rate that keeps {report.slo}, {highest.cache} cache: {kept}")
    print(f"{report.file} and {Path(report.file).with_suffix('.json')}")


def _column(figures: Figures) -> dict[str, str | None]:
    latency, flow = figures.latency, figures.throughput
    bounds = (flow.answers_per_s_low, flow.answers_per_s_high)
    between = "" if None in bounds else f" ({bounds[0]:.3g} – {bounds[1]:.3g})"
    repeats = figures.repeats
    return {
        "right": rate_text(figures.accuracy),
        "answered": f"{figures.ok} of {figures.requests}",
        "failed": ", ".join(f"{count} {kind}" for kind, count in figures.errors.items()) or "0",
        "missing": str(figures.missing),
        "tried again": ", ".join(f"{count} {kind}" for kind, count in figures.retries.items()) or "0",
        "steady window": _window(figures),
        "first token, ms: p50 p90 p95 p99": _ms(latency.ttft_s),
        "after it was sent": _ms(latency.server_ttft_s),
        "time per token": _ms(latency.tpot_s),
        "between pieces": _ms(latency.itl_s),
        "whole answer": _ms(latency.total_s),
        "waited to be sent": _ms(latency.queue_s),
        "answers/s": None if flow.answers_per_s is None else f"{flow.answers_per_s:.3g}{between}",
        "output tokens/s": _number(flow.output_tokens_per_s),
        "answers/s within the objective": _number(flow.goodput_per_s),
        "objective": None if figures.slo_met is None else "kept" if figures.slo_met else "missed",
        "tokens of a prompt": _number(figures.prompt_tokens),
        "of these cached": _number(figures.cached_tokens),
        "tokens of an answer": _number(figures.completion_tokens),
        "tokens counted by": " and ".join(figures.tokens_from) or None,
        "asked again, other text": None if repeats is None else f"{repeats.other_text} of {repeats.questions}",
    }


def _window(figures: Figures) -> str | None:
    if not figures.windows:
        return None
    state = {True: "", False: ", never steady", None: ", too few to tell"}[figures.steady]
    kept, warm_up = (sum(getattr(each, name) for each in figures.windows) for name in ("requests", "warm_up"))
    return f"{figures.window_s:.1f} s: {kept} requests after {warm_up}{state}"


def _ms(quantiles: Quantiles | None) -> str | None:
    if quantiles is None:
        return None
    return " ".join(f"{value * 1000:.4g}" for value in (quantiles.p50, quantiles.p90, quantiles.p95, quantiles.p99))


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"
