"""`slm sample`: training examples that a run writes itself, kept where executing them gives what the gold gives."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slm.cli.evaluating import Constrain, Databases, Limit, Suite
from slm.cli.output import Json, emit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slm.data import Dataset
    from slm.records import Example, Generation


def sample(
    suite: Suite,
    run: Annotated[Path, typer.Option("--run", help="The run folder whose model answers.")],
    out: Annotated[Path, typer.Option(help="The file of examples to write; it can be trained on.")],
    answers: Annotated[int, typer.Option(min=1, max=64, help="Answers drawn to each question.")] = 4,
    instances: Annotated[
        int, typer.Option(min=0, help="Keep only what is right on so many further instances of its database, too.")
    ] = 16,
    constrain: Constrain = None,
    databases: Databases = None,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Draw answers to training questions and keep the right ones that are no gold, as further examples to train on.

    Killed, the same command continues.
    Example: slm sample roastery:train --run runs/quickstart-1a2b3c4d --out runs/roastery-sampled.jsonl
    """
    from slm.cli.subjects import choose_subject
    from slm.cli.subjects import sample as draw
    from slm.data import load_dataset
    from slm.files import write_text
    from slm.recipe import load_recipe
    from slm.train.job import check_for_leaks

    recipe = load_recipe(run / "recipe.yaml")
    dataset = load_dataset(suite, databases=databases, limit=limit)
    check_for_leaks(recipe, dataset)
    subject = choose_subject(run=run, model=None, runs=run.parent, accept_license=False, constrain=constrain)
    drawn = draw(subject, dataset, answers)
    right, found = _right(dataset, drawn, instances)
    lines = [line for example, queries in found for line in _lines(example, queries, dataset, out)]
    write_text(out, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    row = {"questions": len(drawn), "answers": len(drawn) * answers, "right": right}
    emit([row | {"questions_with_new": len(found), "new": len(lines), "file": str(out)}], as_json=as_json)


def _right(
    dataset: Dataset, drawn: dict[str, Generation], instances: int
) -> tuple[int, list[tuple[Example, list[str]]]]:
    """How many answers are right, and for each example the right queries that are not its gold, in canonical form."""
    from slm.progress import Meter
    from slm.sql import canonical, extract_sql, read_schema
    from slm.tasks import TextToSql

    schemas = {name: read_schema(path) for name, path in dataset.contexts.items()}
    examples = dataset.available
    asked = [(example, text) for example in examples for text in drawn[example.id].candidates]
    task = TextToSql(dataset.contexts, double_quoted_text=dataset.double_quoted_text)
    right, written = 0, {example.id: dict[str, None]() for example in examples}
    with Meter(f"judge {dataset.name}", len(asked), unit="answers") as meter:
        for (example, text), verdict in zip(asked, task.grade(asked, timeout_s=5.0, instances=instances), strict=True):
            meter.advance()
            if verdict.correct:
                right += 1
                written[example.id][canonical(extract_sql(text), schemas[example.context_id])] = None
    found = []
    for example in examples:
        golds = {canonical(gold, schemas[example.context_id]) for gold in example.targets}
        if new := [query for query in written[example.id] if query not in golds]:
            found.append((example, new))
    return right, found


def _lines(example: Example, queries: Iterable[str], dataset: Dataset, out: Path) -> Iterable[dict[str, Any]]:
    """Lines of a data file as users write them; databases are named by their path from there."""
    path = os.path.relpath(dataset.contexts[example.context_id], out.parent)
    for number, query in enumerate(queries, 1):
        line = {"id": f"{example.id}-drawn-{number}", "question": example.question, "sql": query, "db": path}
        yield line | ({"hint": example.hint} if example.hint else {})
