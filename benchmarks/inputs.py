"""What each part of what the model sees and learns from is worth: a recipe trained with it and without it.

python benchmarks/inputs.py RECIPE [KEY=VALUE ...] [--without canonical,values,keys] [--suite spider:dev] [--limit N]
    [--runs runs] [--out FILE] [--json]

Parts: `canonical` brings every gold into one spelling before it is learned; `values` are the cells of the database that
a question names; `keys` are the primary and foreign keys in the schema. Each training lacks one of them, in the
prompts that it learns from and in those that it answers; data, packs' size and seed stay, so that shorter prompts make
fewer steps of more examples. Each is scored on the same questions, free and within the schema. Printed are right
answers, the difference to the whole recipe with its paired 95 % interval and p (McNemar's exact test), answers that
SQLite does not execute, and tokens of the prompt. Trainings and answers that are there already are not made again.
"""

import argparse
import json
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

from accuracy import DECODING, both_ways, told

from slm import provenance
from slm.data import Dataset, load_dataset
from slm.files import write_json
from slm.models import pull_model
from slm.models.load import load_tokenizer
from slm.recipe import Recipe, load_recipe
from slm.records import Example, Verdict
from slm.sql import Schema, ValueIndex
from slm.sql.schema import schema_text
from slm.tasks import TextToSql, text_to_sql
from slm.train.job import train

PARTS = ("canonical", "values", "keys")


def main() -> int:
    """Measure and print; returns the exit code."""
    options = _options()
    recipe, dataset = load_recipe(options.recipe, options.overrides), load_dataset(options.suite, limit=options.limit)
    report: dict[str, Any] = {"recipe": options.recipe, "overrides": options.overrides, "suite": dataset.name}
    report |= {"limit": options.limit, "code": provenance.code_state(), "machine": provenance.machine(), "rows": []}
    first: dict[bool, list[Verdict]] = {}
    for part in (None, *options.without):
        with without(part) if part else nullcontext():
            run = train(recipe, options.runs / f"without-{part}" if part else options.runs).path
            tokens = _prompt_tokens(recipe, dataset)
            row = {"without": part, "prompt_tokens": tokens}
            report["rows"].extend(row | figures for figures in both_ways(run, dataset, first, "whole"))
        if options.out is not None:
            write_json(options.out, report)
    if options.json or not sys.stdout.isatty():
        print(json.dumps(report))
    else:
        _show(report["rows"])
    return 0


def without(part: str) -> AbstractContextManager[Any]:
    """While it lasts, the task leaves out one of PARTS."""
    if part == "canonical":
        return patch.object(TextToSql, "target", _as_written)
    if part == "values":
        return patch.object(ValueIndex, "hints", lambda *_: [])
    return patch.object(text_to_sql, "schema_text", lambda schema: schema_text(_keyless(schema)))


def _as_written(_: TextToSql, example: Example) -> str:
    return " ".join(example.targets[0].split())


def _keyless(schema: Schema) -> Schema:
    tables = tuple(replace(table, primary_key=()) for table in schema.tables)
    return replace(schema, tables=tables, foreign_keys=())


def _prompt_tokens(recipe: Recipe, dataset: Dataset) -> dict[str, float]:
    """Mean tokens of the part that all questions of a database share, and of the question's own."""
    tokenizer = load_tokenizer(pull_model(recipe.model.name))
    task = TextToSql(dataset.contexts)
    prompts = [task.prompt(example) for example in dataset.available]
    texts = {"context": [one.context for one in prompts], "question": [one.question for one in prompts]}
    counted = {key: tokenizer(found, add_special_tokens=False)["input_ids"] for key, found in texts.items()}
    return {key: round(sum(map(len, found)) / len(found), 1) for key, found in counted.items()}


def _show(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        name = f"without {row['without']}" if row["without"] else "whole"
        print(
            f"{name}, {DECODING[row['constrained']]}: {told(row, 'whole')}; tokens of a prompt {row['prompt_tokens']}"
        )


def _options() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="a recipe file, or the name of a shipped one")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--without", default=",".join(PARTS), help="the parts to leave out, one at a time")
    parser.add_argument("--suite", default="spider:dev")
    parser.add_argument("--limit", type=int, help="only this many questions (all)")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, metavar="FILE", help="the report as JSON")
    parser.add_argument("--json", action="store_true", help="JSON, as it is when piped")
    options = parser.parse_args()
    options.without = options.without.split(",")
    if unknown := set(options.without) - set(PARTS):
        parser.error(f"--without {', '.join(sorted(unknown))}: expected some of {', '.join(PARTS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
