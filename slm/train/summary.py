"""What a run did, on one screen, from its files alone: steps, time, speed, losses, accuracy. Needs no torch."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from slm.errors import DataError
from slm.files import read_json_lines, read_records
from slm.recipe import RunFolder
from slm.records import Record
from slm.train.watch import Relation, WatchRow, best, relation

_SMOOTHED = 0.05  # share of the steps that one smoothed value is the mean of


class Summary(Record):
    """The figures of a run; None where the files do not say.

    `step` of `steps` are done; the run ended with the weights of `kept_step`. Losses are means per target token in
    nats, `first_loss` and `last_loss` over the first and last twentieth of the steps. Rates are over the time of the
    steps alone, `seconds` is the whole training's. `mfu`, `data_wait` and `transfer` are shares (0 to 1).
    `predicted_memory_mb` was planned before the first step. `measurements` of the held-out examples were made.
    """

    run: str
    recipe: str
    model: str
    state: str
    step: int
    steps: int | None
    kept_step: int | None
    seconds: float | None
    examples_per_s: float | None
    target_tokens_per_s: float | None
    tokens_per_s: float | None
    padded_tokens_per_s: float | None
    mfu: float | None
    data_wait: float | None
    transfer: float | None
    peak_memory_mb: float | None
    predicted_memory_mb: float | None
    first_loss: float | None
    last_loss: float | None
    measurements: int
    best_accuracy: float | None
    best_accuracy_step: int | None
    relation: Relation | None
    adapter: str | None


def summarise(run: RunFolder) -> Summary:
    """The summary of a run, finished or not. Raises DataError for a folder that is no run, or a damaged file."""
    recipe = read_recipe(run)
    card = read_json(run.card) if run.card.is_file() else None
    rows, watched = read_metrics(run), read_watch(run)
    totals: dict[str, Any] = card.get("totals", {}) if card else {}
    step = rows[-1]["step"] if rows else 0
    steps = (rows[-1].get("steps") if rows else None) or totals.get("steps")
    taken = sum(row["seconds"] for row in rows)
    examples = totals.get("examples") or (sum(row["examples"] for row in rows) if rows and "examples" in rows[0] else 0)
    losses = [row["loss"] for row in rows]
    top = best([row for row in watched if row.accuracy is not None], "accuracy")
    return Summary(
        run=run.path.name,
        recipe=str(recipe.get("name")),
        model=str(recipe.get("model", {}).get("name")),
        state="done" if card else f"at step {step} of {steps or '?'}" if rows else "not started",
        step=step,
        steps=steps,
        kept_step=totals.get("kept_step"),
        seconds=totals.get("seconds") or (round(taken, 3) if rows else None),
        examples_per_s=round(examples / taken, 3) if examples and taken else None,
        target_tokens_per_s=_rate(rows, "target_tokens_per_s"),
        tokens_per_s=_rate(rows, "tokens_per_s"),
        padded_tokens_per_s=_rate(rows, "padded_tokens_per_s"),
        mfu=_rate(rows, "mfu"),
        data_wait=_rate(rows, "data_wait"),
        transfer=_rate(rows, "transfer"),
        peak_memory_mb=max((row["peak_memory_mb"] for row in rows if row.get("peak_memory_mb")), default=None),
        predicted_memory_mb=_predicted_mb(run),
        first_loss=fmean(losses[: smoothing(step)]) if losses else None,
        last_loss=fmean(losses[-smoothing(step) :]) if losses else None,
        measurements=len(watched),
        best_accuracy=top.accuracy if top else None,
        best_accuracy_step=top.step if top else None,
        relation=relation(watched),
        adapter=card.get("adapter") if card else None,
    )


def read_json(path: Path) -> dict[str, Any]:
    """A JSON file with one object. Raises DataError."""
    try:
        value = json.loads(path.read_text())
    except ValueError as error:
        raise DataError(f"not readable as JSON: {error}", where=str(path)) from None
    if not isinstance(value, dict):
        raise DataError("not a JSON object", where=str(path))
    return value


def read_recipe(run: RunFolder) -> dict[str, Any]:
    """The resolved recipe as plain values, also one that an older slm wrote. Raises DataError."""
    if not run.recipe.is_file():
        raise DataError(
            "not a training run",
            where=str(run.path),
            expected="a folder with recipe.yaml",
            hint="slm runs --runs FOLDER",
        )
    try:
        values = yaml.safe_load(run.recipe.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"not readable as YAML: {error}", where=str(run.recipe)) from None
    if not isinstance(values, dict):
        raise DataError("not a recipe", where=str(run.recipe), expected="sections such as `model:` and `train:`")
    return values


def read_metrics(run: RunFolder) -> list[dict[str, Any]]:
    """A row a step; none before the first."""
    if not run.metrics.is_file():
        return []
    return [row for _, row in read_json_lines(run.metrics, torn_tail=True)]


def read_watch(run: RunFolder) -> list[WatchRow]:
    """The measurements on the held-out examples; none where there were none."""
    return list(read_records(run.watch, WatchRow, torn_tail=True)) if run.watch.is_file() else []


def smoothing(steps: int) -> int:
    """How many steps one smoothed value is the mean of."""
    return max(1, round(_SMOOTHED * steps))


def smoothed(values: Sequence[float]) -> list[float]:
    """The mean of each value and its neighbours, half of `smoothing` on either side, fewer at the ends."""
    half = smoothing(len(values)) // 2
    return [fmean(values[max(0, place - half) : place + half + 1]) for place in range(len(values))]


def describe(summary: Summary) -> list[tuple[str, str]]:
    """(figure, value with its unit) for people; what is not known is left out."""
    one = summary
    rates = [(one.target_tokens_per_s, "target"), (one.tokens_per_s, "real"), (one.padded_tokens_per_s, "padded")]
    rows = [
        ("run", one.run),
        ("model", one.model),
        ("state", one.state),
        ("steps", f"{one.step}" + (f" of {one.steps}" if one.steps and one.steps != one.step else "")),
        ("weights", f"of step {one.kept_step}" if one.kept_step not in (None, one.step) else None),
        ("time", None if one.seconds is None else duration(one.seconds)),
        ("examples/s", None if one.examples_per_s is None else f"{one.examples_per_s:.2f}"),
        ("tokens/s", ", ".join(f"{rate:,.0f} {name}" for rate, name in rates if rate is not None) or None),
        ("model FLOPs use", _percent(one.mfu, " of the measured peak")),
        ("waiting for data", _percent(one.data_wait, " of the time")),
        ("copying to device", _percent(one.transfer, " of the time")),
        ("peak memory", _memory(one)),
        ("loss", None if one.first_loss is None else f"{one.first_loss:.4f} → {one.last_loss:.4f} (smoothed)"),
        ("best accuracy", _percent(one.best_accuracy, f" at step {one.best_accuracy_step}, held-out")),
        ("loss and accuracy", _relation(one)),
        ("adapter", None if one.adapter is None else one.adapter[:12]),
    ]
    return [(name, value) for name, value in rows if value is not None]


def print_summary(summary: Summary) -> None:
    """The summary on stderr, a line a figure."""
    for name, value in describe(summary):
        print(f"{name:>18}  {value}", file=sys.stderr)


def duration(seconds: float) -> str:
    """`2 h 05 min`, `3 min 20 s`, `12 s`."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 60} min {whole % 60:02} s" if whole >= 60 else f"{whole} s"


def _predicted_mb(run: RunFolder) -> float | None:
    planned = read_json(run.plan).get("predicted_bytes") if run.plan.is_file() else None
    return None if planned is None else round(planned / 1e6, 1)


def _memory(summary: Summary) -> str | None:
    if summary.peak_memory_mb is None:
        return None
    predicted = summary.predicted_memory_mb
    return f"{summary.peak_memory_mb:,.0f} MB" + ("" if predicted is None else f" ({predicted:,.0f} MB predicted)")


def _relation(summary: Summary) -> str | None:
    found = summary.relation
    if found is None:
        count = summary.measurements
        return f"too few points to say how they relate ({count})" if count else None
    rank = "one of them never changed" if found.spearman is None else f"Spearman {found.spearman:+.2f}"
    low, top = found.lowest_loss_step, found.best_accuracy_step
    where = f"both best at step {top}" if low == top else f"lowest loss at step {low}, best accuracy at step {top}"
    return f"{rank} over {found.measurements} measurements; {where}"


def _percent(share: float | None, more: str) -> str | None:
    return None if share is None else f"{100 * share:.1f} %{more}"


def _rate(rows: Sequence[dict[str, Any]], key: str) -> float | None:
    """The mean of a rate or share over the time of the steps that have it."""
    have = [(row["seconds"], row[key]) for row in rows if row.get(key) is not None]
    taken = sum(seconds for seconds, _ in have)
    return round(sum(seconds * value for seconds, value in have) / taken, 4) if taken else None
