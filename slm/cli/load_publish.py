"""The result of a benchmark under load, for the leaderboard: accuracy and latency of the same requests."""

from pathlib import Path

from slm.bench.load import LoadFile, LoadReport, best_load, first_answers, outcomes_of
from slm.cli.load_report import TIMEOUT_S
from slm.cli.subjects import Subject, card_of, choose_subject, exported, identity_of, publish_result, tuned
from slm.data import Dataset
from slm.evaluate import evaluate
from slm.models import list_models
from slm.recipe import file_safe
from slm.records import Generation, Load
from slm.tasks import TextToSql
from slm.train.runs import find_run


def find_served(name: str, runs: Path) -> Subject:
    """The run, exported form or untuned model that a server serves. Raises DataError or InputError."""
    if name in (entry.name for entry in list_models()):
        return choose_subject(run=None, model=name, runs=runs, accept_license=False)
    if (Path(name) / "form.json").is_file():
        return exported(Path(name), runs)
    return tuned(find_run(name, runs))


def publish_load(
    load: LoadFile,
    report: LoadReport,
    dataset: Dataset,
    *,
    server: str,
    served: Subject | None,
    name: str,
    results: Path,
) -> Path:
    """Publish the load of the report that counts, each question by its first request; returns the file.

    `server`: what computed the answers, in words; `served`: whose answers they are, where that is known.
    """
    figures = best_load(report)
    phases = [phase for phase in load.phases if phase.name == figures.name]
    answers = {
        outcome.example_id: Generation(
            example_id=outcome.example_id,
            text="" if outcome.error else outcome.text,
            prompt_tokens=outcome.prompt_tokens,
            cached_tokens=outcome.cached_tokens,
            completion_tokens=outcome.completion_tokens,
            finish_reason=outcome.finish_reason,
            error=outcome.error,
        )
        for outcome in first_answers(outcomes_of(load, phases))
    }
    who, origin = identity_of(served) if served else ({"model": load.plan.model}, {})
    total = figures.latency.total_s
    result, _ = evaluate(
        dataset,
        answers,
        TextToSql(dataset.contexts, double_quoted_text=dataset.double_quoted_text),
        run=file_safe(name),
        card=card_of(dataset, Path(report.file), TIMEOUT_S, 0) | origin | {"load": figures.model_dump(mode="json")},
        timeout_s=TIMEOUT_S,
        **who | {"constrained": "constrain" in load.plan.settings, "candidates": 1},
    )
    under = Load(
        server=server,
        load=figures.load,
        cache=figures.cache,
        p50_s=total.p50 if total else None,
        p95_s=total.p95 if total else None,
        answers_per_s=figures.throughput.answers_per_s,
    )
    return publish_result(result.model_copy(update={"load": under}), results, name=name)
