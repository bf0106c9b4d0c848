"""The grammar of constrained decoding in vLLM beside the local backend: the same run, questions and grammar.

python benchmarks/vllm_grammar.py RUN [--suite spider:dev] [--requests 50] [--out FILE]

`slm serve --engine vllm` serves the run, and `slm bench --constrain` sends each question with the grammar of its
schema, which vLLM's guidance backend keeps to. The local backend answers with that grammar alone, and with what it does
beside it: it follows which table has which column. Printed are how many texts are the same, each that is not, and how
many of each are right. Needs SLM_VLLM_PYTHON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving import START_S, start
from slm import provenance
from slm.bench.load import first_answers, outcomes_of, read_load
from slm.cli.subjects import tuned
from slm.data import Dataset, load_dataset
from slm.evaluate import evaluate
from slm.files import write_json
from slm.generate.constrain.chooser import SqlChooser, SqlConstraint
from slm.generate.local import load_local
from slm.models import pull_model
from slm.recipe import RunFolder
from slm.records import Generation
from slm.tasks import TextToSql

OPTIONS = "--max-model-len 2048 --enforce-eager --structured-outputs-config.backend guidance"


class GrammarAlone(SqlConstraint):
    """As a server constrains: by the grammar, without following tables and aliases."""

    def chooser(self, context: str) -> SqlChooser:
        """One to which every text is viable."""
        chooser = super().chooser(context)
        chooser._viable = lambda *_, **__: True
        return chooser


def main() -> int:
    """Measure and print; returns the exit code."""
    options = _options()
    dataset = load_dataset(options.suite, limit=options.requests)
    kinds: dict[str, type[SqlConstraint]] = {"grammar": GrammarAlone, "full": SqlConstraint}
    local = {name: _local(options.run, dataset, kind) for name, kind in kinds.items()}
    served = _served(options)
    report: dict[str, Any] = {"run": options.run.name, "suite": options.suite, "code": provenance.code_state()}
    report |= {"questions": len(served), "right": {"vllm": _right(dataset, served)}}
    for name, answers in local.items():
        same = [key for key in served if answers[key].text.strip() == served[key].text.strip()]
        report["right"][f"local, {name}"] = _right(dataset, answers)
        report[f"same as local, {name}"] = len(same)
    report["others"] = [
        {"id": key, "vllm": answer.text, "local": local["grammar"][key].text}
        for key, answer in served.items()
        if answer.text.strip() != local["grammar"][key].text.strip()
    ]
    if options.out is not None:
        write_json(options.out, report)
    print(json.dumps(report, indent=2 if sys.stdout.isatty() else None))
    return 0


def _local(run: Path, dataset: Dataset, kind: type[SqlConstraint]) -> dict[str, Generation]:
    subject = tuned(RunFolder(run))
    backend = load_local(
        pull_model(subject.model.name), subject.model, subject.task, subject.generate, adapter=subject.adapter
    )
    task, renderer = TextToSql(dataset.contexts), backend.renderer
    backend.constraint = kind(renderer.tokenizer, renderer.end_id, task.schemas(dataset.available))
    requests = [(example.id, task.prompt(example)) for example in dataset.available]
    return {answer.example_id: answer for answer in backend.generate(requests)}


def _served(options: argparse.Namespace) -> dict[str, Generation]:
    most = str(tuned(RunFolder(options.run)).generate.max_new_tokens)
    with tempfile.TemporaryDirectory() as name, start("vllm", str(options.run), Path(name), OPTIONS) as (url, model):
        load = Path(name) / "load.jsonl"
        command = [sys.executable, "-m", "slm.cli", "bench", options.suite, "--url", url, "--model", model]
        command += ["--constrain", "--of", str(options.run), "--requests", str(options.requests), "--concurrency", "8"]
        command += ["--max-tokens", most, "--out", str(load), "--json"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=4 * START_S)
        found = read_load(load)
    asked = [phase for phase in found.phases if phase.measured]
    return {
        one.example_id: Generation(example_id=one.example_id, text=one.text)
        for one in first_answers(outcomes_of(found, asked))
    }


def _right(dataset: Dataset, answers: Mapping[str, Generation]) -> int:
    task = TextToSql(dataset.contexts, double_quoted_text=dataset.double_quoted_text)
    return evaluate(dataset, answers, task, run="", model="", card={})[0].accuracy.right


def _options() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--suite", default="spider:dev")
    parser.add_argument("--requests", type=int, default=50)
    parser.add_argument("--out", type=Path, metavar="FILE", help="the report as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
