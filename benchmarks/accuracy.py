"""What each step of decoding is worth on one tuned checkpoint: the same questions, each step switched on in turn.

python benchmarks/accuracy.py RUN [--suite spider:dev | --held-out] [--limit N] [--candidates 5] [--out FILE] [--json]

Steps: `free` is greedy decoding; `constrained` keeps it within SQL and the schema; `candidates` also draws up to N - 1
more answers where the greedy one gives no rows, and chooses by what they give; `free-candidates` does so without the
constraint (--steps names which to take). Printed are right answers with their interval, the difference to `free` with
its paired 95 % interval and p (McNemar's exact test), answers that SQLite does not execute, answers cut off, and what
an answer took. Errors by kind, by difficulty and by size of schema are in the JSON. Answers that the run has already
are not made again. Nothing is chosen by these questions: first comes what the run was trained on, and what was held out
of that. `--held-out` asks those instead, about databases of train that the run has not seen: decoding is tuned by them.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from slm import provenance
from slm.cli.subjects import Subject, choose_subject, score
from slm.data import Dataset, load_dataset
from slm.data.holdout import hold_out
from slm.evaluate import UNAVAILABLE, accuracy, mcnemar, paired_difference
from slm.files import read_records, write_json
from slm.generate import read_predictions
from slm.recipe import Recipe, load_recipe
from slm.records import Result, Verdict
from slm.sql import read_schema
from slm.train.job import training_data

# Reasons for which SQLite gives no result at all.
FAILS = {
    "no_sql", "no_answer", "syntax", "unknown_column", "unknown_table", "ambiguous_column", "runtime_error",
    "forbidden", "multi_statement", "timeout", "memory", "too_many_rows",
}  # fmt: skip
DECODING = {False: "free", True: "within the schema"}
_SIZES = {"up to 20": 20, "21 to 40": 40, "more than 40": 10**9}  # columns of a schema


def main() -> int:
    """Measure and print; returns the exit code."""
    options = _options()
    recipe = load_recipe(str(options.run / "recipe.yaml"))
    dataset = held_out(recipe) if options.held_out else load_dataset(options.suite, limit=options.limit)
    card = json.loads((options.run / "card.json").read_text())
    origin = {key: card[key] for key in ("run", "data_name", "examples", "held_out_examples", "parameters")}
    report: dict[str, Any] = {"trained": origin, "suite": dataset.name, "limit": options.limit}
    report |= {"code": provenance.code_state(), "machine": provenance.machine(), "steps": []}
    print(f"trained on {origin['examples']} examples of {origin['data_name']}, {origin['held_out_examples']} held out; "
          f"scored on {dataset.name}", file=sys.stderr)  # fmt: skip
    first: list[Verdict] = []
    for name, constrain, candidates in _steps(options.candidates, options.steps):
        subject, result, verdicts = scored(options.run, dataset, constrain=constrain, candidates=candidates)
        first = first or verdicts
        answers = read_predictions(subject.predictions(dataset))
        cut = sum(answers[one.example_id].finish_reason == "length" for one in verdicts)
        report["steps"].append(_row(name, result, verdicts, first, dataset, cut))
        if options.out is not None:
            write_json(options.out, report)
    if options.json or not sys.stdout.isatty():
        print(json.dumps(report))
    else:
        _show(report["steps"])
    return 0


def scored(
    run: Path, dataset: Dataset, *, constrain: bool, candidates: int | None = None
) -> tuple[Subject, Result, list[Verdict]]:
    """Who answers as the decoding says, its result, and its verdicts on the questions whose database is here."""
    subject = choose_subject(
        run=run, model=None, runs=run.parent, accept_license=False, constrain=constrain, candidates=candidates
    )
    result = score(subject, dataset, timeout_s=30.0)
    verdicts = read_records(subject.run.verdicts(dataset.name), Verdict)
    return subject, result, [one for one in verdicts if one.reason not in UNAVAILABLE]


def compared(result: Result, verdicts: list[Verdict], first: list[Verdict], base: str) -> dict[str, Any]:
    """How much is right, what that is against `first`, which is called `base`, and what SQLite did not execute."""
    difference = paired_difference(first, verdicts)
    return {
        "accuracy": result.accuracy.model_dump(),
        f"against_{base}": difference.model_dump() if verdicts is not first else None,
        "p": mcnemar(difference) if verdicts is not first else None,
        "not_executed": sum(one.reason in FAILS for one in verdicts),
    }


def both_ways(run: Path, dataset: Dataset, first: dict[bool, list[Verdict]], base: str) -> Iterator[dict[str, Any]]:
    """The figures of `compared`, free and within the schema; `first` keeps the verdicts of the run asked first."""
    for constrained in DECODING:
        _, result, verdicts = scored(run, dataset, constrain=constrained)
        figures = compared(result, verdicts, first.setdefault(constrained, verdicts), base)
        yield {"constrained": constrained} | figures


def told(row: dict[str, Any], base: str) -> str:
    """The figures of `compared` for a terminal."""
    rate, gain = row["accuracy"], row[f"against_{base}"]
    against = "" if gain is None else f", {100 * gain['value']:+.1f} points (p = {row['p']:.1g})"
    return f"{rate['right']} of {rate['total']} = {rate['value']:.1%}{against}; {row['not_executed']} not executed"


def held_out(recipe: Recipe) -> Dataset:
    """The questions that a recipe holds out of its training."""
    whole = training_data(recipe)
    _, examples = hold_out(whole, recipe.watch.examples, recipe.data.seed)
    return replace(whole, name=f"{whole.name}, held out", examples=examples)


def _steps(count: int, names: Sequence[str]) -> list[tuple[str, bool, int]]:
    steps = {
        "free": (False, 1),
        "constrained": (True, 1),
        "free-candidates": (False, count),
        "candidates": (True, count),
    }
    return [(name, *steps[name]) for name in names]


def _row(
    name: str, result: Result, verdicts: list[Verdict], first: list[Verdict], dataset: Dataset, cut: int
) -> dict[str, Any]:
    figures = compared(result, verdicts, first, "free")
    tokens, seconds = result.completion_tokens_per_question, result.seconds_per_question
    return {
        "step": name,
        **figures,
        "not_executed_share": figures["not_executed"] / len(verdicts),
        "cut_off": cut,
        "tokens_per_answer": tokens,
        "seconds_per_answer": seconds,
        "tokens_per_s": tokens / seconds if tokens and seconds else None,
        "by_reason": dict(Counter(one.reason for one in verdicts).most_common()),
        "by_difficulty": {key: rate.model_dump() for key, rate in result.by_tag.get("difficulty", {}).items()},
        "by_schema_columns": _by_size(verdicts, dataset),
    }


def _by_size(verdicts: Sequence[Verdict], dataset: Dataset) -> dict[str, Any]:
    columns = {
        name: sum(len(table.columns) for table in read_schema(path).tables) for name, path in dataset.contexts.items()
    }
    context = {example.id: example.context_id for example in dataset.examples}
    found, least = {}, 0
    for label, most in _SIZES.items():
        of_size = [one for one in verdicts if least < columns[context[one.example_id]] <= most]
        found[label] = accuracy(of_size).model_dump()
        least = most
    return found


def _show(steps: Sequence[dict[str, Any]]) -> None:
    for row in steps:
        print(f"{row['step']}: {told(row, 'free')}; {row['seconds_per_answer']:.2f} s an answer")


def _options() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--suite", default="spider:dev")
    parser.add_argument("--held-out", action="store_true", help="the run's held-out questions instead")
    parser.add_argument("--limit", type=int, help="only this many questions (all)")
    parser.add_argument("--candidates", type=int, default=5)
    parser.add_argument("--steps", default="free,constrained,candidates", help="of these and free-candidates")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the report as JSON")
    parser.add_argument("--json", action="store_true", help="JSON, as it is when piped")
    options = parser.parse_args()
    options.steps = options.steps.split(",")
    return options


if __name__ == "__main__":
    sys.exit(main())
