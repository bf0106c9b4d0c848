"""`slm cascade`: the small model first, the large one when it is unsure, reckoned from recorded answers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slm.cli.evaluating import Suite
from slm.cli.output import Json, emit, rate_text
from slm.cli.training import Runs
from slm.errors import InputError

if TYPE_CHECKING:
    from slm.bench.cascade import Answered, Cascade, Point
    from slm.recipe import RunFolder
    from slm.records import Generation, Result, Verdict

Small = Annotated[str, typer.Argument(metavar="SMALL", help="Folder or name of the run that answers first.")]
Large = Annotated[str, typer.Argument(metavar="LARGE", help="Folder or name of the run that answers the rest.")]
Usd = Annotated[float | None, typer.Option(min=0, help="USD for 1,000 of its answers, as slm cost says.")]
Within = Annotated[
    float, typer.Option(min=0, max=1, help="Accuracy that may be lost against the better model, as a share.")
]
_ROWS = 11  # of the sweep that a terminal shows


def cascade(
    small: Small,
    large: Large,
    suite: Suite,
    small_usd: Usd = None,
    large_usd: Usd = None,
    within: Within = 0.01,
    runs: Runs = Path("runs"),
    as_json: Json = False,
) -> None:
    """Reckon a cascade of two runs from their recorded answers: which questions to send on, and what that is worth.

    Counted are the questions of the suite on which both were scored (slm eval).
    Example: slm cascade quickstart-1a2b3c4d gpt-4 roastery:test --large-usd 50
    """
    from slm.bench.cascade import Prices
    from slm.bench.cascade import cascade as reckon

    first, second = (_folder(name, runs) for name in (small, large))
    results = [_result(run, suite) for run in (first, second)]
    if results[0].instances != results[1].instances:
        raise InputError("the two were not judged alike", where=suite, hint="slm eval both with the same --instances")
    answered = _answered((first, results[0]), (second, results[1]), suite)
    if left_out := max(each.accuracy.total for each in results) - len(answered):
        print(f"{len(answered)} questions were judged for both; {left_out} only for one of them", file=sys.stderr)
    found = reckon(answered, Prices(small_usd=small_usd, large_usd=large_usd), within=within)
    if as_json or not sys.stdout.isatty():
        emit([found.model_dump(mode="json")], as_json=True)
    else:
        _show(found, [each.run for each in results])


def _folder(name: str, runs: Path) -> RunFolder:
    from slm.recipe import RunFolder

    for path in (Path(name), runs / name):
        if path.is_dir():
            return RunFolder(path)
    raise InputError("no such run", where=name, expected=f"a run's folder, or its name in {runs}")


def _result(run: RunFolder, suite: str) -> Result:
    from slm.leaderboard import read_result

    path = run.result(suite)
    if not path.is_file():
        hint = f"slm eval {suite} --run {run.path}, or with --predictions FILE"
        raise InputError(f"not scored on {suite}", where=str(run.path), hint=hint)
    return read_result(path)


def _answered(small: tuple[RunFolder, Result], large: tuple[RunFolder, Result], suite: str) -> list[Answered]:
    """Every question that was judged for both."""
    from slm.bench.cascade import Answered

    answers, others = (_generations(run, result) for run, result in (small, large))
    judged, judged_too = (_verdicts(run, suite) for run, _ in (small, large))
    found = []
    for name in judged.keys() & judged_too.keys():
        one, other = answers.get(name), others.get(name)
        # Of several candidates all tokens are counted; that of the one which was given is about their mean.
        tokens = (one.completion_tokens or 0) / max(1, len(one.candidates)) if one else 0
        found.append(
            Answered(
                id=name,
                small_right=bool(judged[name].correct),
                large_right=bool(judged_too[name].correct),
                confidence=one.logprob / max(1, tokens) if one and one.logprob is not None else None,
                small_s=one.total_s if one else None,
                large_s=other.total_s if other else None,
            )
        )
    return sorted(found, key=lambda each: each.id)


def _generations(run: RunFolder, result: Result) -> dict[str, Generation]:
    """The answers that a result is about, found by their hash; none where they were read from another file."""
    from slm.files import sha256_file
    from slm.generate.predictions import read_predictions

    for file in sorted(run.predictions(result.suite).parent.glob("*.jsonl")):
        if sha256_file(file) == result.card.get("predictions"):
            return read_predictions(file)
    return {}


def _verdicts(run: RunFolder, suite: str) -> dict[str, Verdict]:
    from slm.evaluate import UNAVAILABLE
    from slm.files import read_records
    from slm.records import Verdict

    read = read_records(run.verdicts(suite), Verdict)
    return {verdict.example_id: verdict for verdict in read if verdict.reason not in UNAVAILABLE}


def _show(found: Cascade, names: list[str]) -> None:
    rows = [{"": f"{names[0]} alone", **_row(found.points[0])}]
    step = max(1, len(found.points) // (_ROWS - 1))
    shown = [point for place, point in enumerate(found.points) if place % step == 0 or point is found.points[-1]]
    rows += [{"": "", **_row(point)} for point in shown[1:]]
    rows.append({"": f"chosen: within {found.within:.1%} of the better", **_row(found.chosen)})
    rows.append(
        {
            "": "the same choice on held-out questions",
            "sent on": f"{found.held_out_sent:.0%}",
            "right": rate_text(found.held_out),
            "USD for 1,000": None,
            "p95": None,
            "log-probability below": None,
        }
    )
    emit(rows, as_json=False, title=f"{found.questions} questions; {names[1]} alone: {rate_text(found.large)}")


def _row(point: Point) -> dict[str, str | None]:
    return {
        "sent on": f"{point.sent:.0%}",
        "right": rate_text(point.accuracy),
        "USD for 1,000": None if point.usd_per_1000 is None else f"{point.usd_per_1000:,.4g}",
        "p95": None if point.p95_s is None else f"{point.p95_s:.2f} s",
        "log-probability below": "all" if point.threshold is None else f"{point.threshold:.3f}",
    }
