"""What `slm plan` predicts beside what trainings take, on this machine's CPU; and its predictions for GPUs.

python benchmarks/plan.py [--steps 4] [--data spider:train] [--only smollm2-135m/packed] [--out FILE] [--json]

Each training is a process of its own, started as a user starts it: `slm train` with a shipped recipe and the overrides
of a variant. It predicts its memory before its first step, and `slm plan --history` then has both figures. What a run
takes is the most of its resident set from the first step on. GPUs are only predicted: none is needed, and no weights.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from slm import provenance
from slm.files import write_json
from slm.recipe import load_recipe
from slm.train.plan.hardware import find_device
from slm.train.plan.packs import planned_data
from slm.train.plan.plan import make_plan

MODELS = {"smollm2-135m": "smollm2-135m-spider", "gemma3-270m": "gemma3-270m-spider"}
VARIANTS: dict[str, list[str]] = {
    "packed": [],
    "padded": ["train.packing=none"],
    "recompute": ["train.recompute=true"],
    "bfloat16": ["model.dtype=bfloat16"],
    "nf4": ["model.quantize=nf4"],
}
TRAININGS = [
    ("smollm2-135m", ["packed", "padded", "recompute", "bfloat16"]),
    ("gemma3-270m", ["packed", "padded", "bfloat16", "nf4"]),
]
GPUS = ["t4", "l4", "a100-80", "h200"]
# Recipes of models that need a GPU, and what differs from them.
ON_GPU: dict[str, tuple[str, list[str]]] = {
    "Phi-3-mini, QLoRA": ("phi3-mini-spider-qlora", []),
    "Gemma 2 2B, LoRA": ("gemma2-2b-spider-qlora", ["model.quantize=none"]),
}


def main() -> int:
    """Run everything and print; returns 1 where a prediction is off by more than `--within`."""
    options = _options()
    code = provenance.code_state()  # of now: the files may change while this runs
    names = [f"{model}/{variant}" for model, variants in TRAININGS for variant in variants]
    chosen = [] if options.gpus else [name for name in names if options.only is None or name in options.only]
    report: dict[str, Any] = {
        "cpu": [],
        "gpus": [] if options.only else predict_gpus(),
        "steps": options.steps,
        "data": options.data,
        "batch_tokens": options.batch_tokens,
        "code": code,
        "versions": provenance.versions(),
        "machine": provenance.machine(),
    }
    rows: list[dict[str, Any]] = report["cpu"]
    for name in chosen:
        model, variant = name.split("/")
        rows.append(measure(model, variant, options))
        if options.out is not None:  # after each, as all of them take their time
            write_json(options.out, report)
    if options.json or not sys.stdout.isatty():
        print(json.dumps(report))
    else:
        show(report)
    return int(any(abs(row["error"]) > options.within for row in rows))


def measure(model: str, variant: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train `model` for a few steps as `variant` says: predicted, measured, and how far they are apart."""
    print(f"{model}, {variant} …", file=sys.stderr, flush=True)
    overrides = [
        f"data.train={options.data}",
        "data.limit=60",
        f"train.max_steps={options.steps}",
        f"train.batch_tokens={options.batch_tokens}",
        *VARIANTS[variant],
    ]
    with tempfile.TemporaryDirectory() as folder:
        slm = [sys.executable, "-m", "slm.cli"]
        environment = os.environ | {"HF_HUB_OFFLINE": "1"}
        train = [*slm, "train", MODELS[model], *overrides, "--runs", folder]
        subprocess.run(train, env=environment, stdout=subprocess.DEVNULL, stderr=sys.stderr, check=True)
        listed = subprocess.run([*slm, "plan", "--history", "--runs", folder], stdout=subprocess.PIPE, check=True)
        (row,) = json.loads(listed.stdout)
        (saved,) = Path(folder).glob("*/plan.json")
        plan = json.loads(saved.read_text())
    print(json.dumps(row), file=sys.stderr, flush=True)
    return {
        "model": model,
        "variant": variant,
        "predicted_mb": row["predicted_mb"],
        "measured_mb": row["measured_mb"],
        "error": row["error"],
        "planning_s": plan["planning_s"],
        "parts_mb": {name: round(size / 1e6, 1) for name, size in plan["parts"].items()},
    }


def predict_gpus() -> list[dict[str, Any]]:
    """A row for each recipe and GPU: what it would take, and the overrides that make it fit."""
    rows = []
    for name, (shipped, overrides) in ON_GPU.items():
        recipe = load_recipe(shipped, overrides)
        data = planned_data(recipe)
        for gpu in GPUS:
            print(f"{name}, {gpu} …", file=sys.stderr, flush=True)
            made = make_plan(recipe, find_device(gpu), data=data, mfu=0.35)
            cost = made.cost
            rows.append(
                {
                    "recipe": name,
                    "gpu": gpu,
                    "total_gb": round(made.total / 1e9, 1),
                    "limit_gb": round(made.memory_limit / 1e9, 1),
                    "fits": made.fits,
                    "overrides": " ".join(made.overrides) if made.overrides else None,
                    "then_gb": made.changed_total and round(made.changed_total / 1e9, 1),
                    "hours": cost and cost.seconds and round(cost.seconds / 3600, 2),
                    "usd": cost and cost.usd and round(cost.usd, 2),
                    "planning_s": made.planning_s,
                    "parts_gb": {part: round(size / 1e9, 2) for part, size in made.memory.model_dump().items()},
                }
            )
    return rows


def show(report: dict[str, Any]) -> None:
    """The report as two tables."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    cpu = Table("model", "variant", "predicted MB", "measured MB", "error", "planned in", box=box.SIMPLE_HEAD)
    for row in report["cpu"]:
        figures = [f"{row[key]:,.0f}" for key in ("predicted_mb", "measured_mb")]
        cpu.add_row(
            row["model"], row["variant"], *figures, f"{100 * row['error']:+.1f} %", f"{row['planning_s']:.1f} s"
        )
    console.print(cpu)
    if report["gpus"]:
        gpus = Table("recipe", "GPU", "needs GB", "has GB", "overrides", "then GB", "hours", "USD", box=box.SIMPLE_HEAD)
        for row in report["gpus"]:
            keys = ("total_gb", "limit_gb", "overrides", "then_gb", "hours", "usd")
            gpus.add_row(row["recipe"], row["gpu"], *("–" if row[key] is None else str(row[key]) for key in keys))
        console.print(gpus)


def _options() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=4, help="optimizer steps of each training (4)")
    parser.add_argument("--data", default="spider:train", help="training examples (spider:train)")
    parser.add_argument("--batch-tokens", type=int, default=1024, help="tokens of a pack (1024)")
    parser.add_argument("--only", action="append", metavar="MODEL/VARIANT", help="only this one, on the CPU")
    parser.add_argument("--gpus", action="store_true", help="only the predictions for GPUs")
    parser.add_argument("--within", type=float, default=0.1, help="largest error that is good (0.1)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the report as JSON")
    parser.add_argument("--json", action="store_true", help="JSON, as it is when piped")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
