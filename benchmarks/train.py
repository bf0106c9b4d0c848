"""Our training engine beside TRL's SFTTrainer and beside padded batches: the same steps, each system in its process.

python benchmarks/train.py --model smollm2-135m [--steps 30] [--examples-per-step 4] [--systems ours,trl] [--json]

Every system starts from the same model and the same adapter, takes the same examples in each optimizer step, and
trains with the same AdamW at a constant learning rate, the loss divided by the target tokens of the step. The steps
are those of `slm train`: our planner groups the examples of a database, puts small groups together and shuffles the
packs, so that databases change from step to step at random. TRL gets the examples of each pack as they are. By itself
it would draw examples over all databases, which would cost it more padding, not less; but how many examples of a
database a step has is ours: the more, the more is shared. `--examples-per-step` keeps only the first examples of each
pack, so that TRL's run stays short, and so understates what sharing saves; `all` keeps the packs whole.

Loading and the first step are not timed. No system evaluates or saves, and all have the same number of threads; TRL
logs each step. On a GPU peak memory is that of tensors, on a CPU of the whole process. With several rounds the systems
take turns, so that a noisy machine treats all alike, and each one's fastest round counts.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from training.job import Job, make_job, write_job
from training.report import WARM_UP, agreement, compared, figures, show
from training.with_trl import SETTINGS, why_not

from slm import provenance
from slm.errors import SlmError
from slm.files import write_json

OURS = {"ours": "slm, contexts shared", "padded": "slm, padded batches (train.packing=none)"}
SYSTEMS = OURS | {name: setting.about for name, setting in SETTINGS.items()}
DEFAULT = ["ours", "padded", "trl", "trl-single", "trl-packed"]
# What `slm.models.allocator` asks of glibc in our processes, as TRL's users could ask for it in the environment.
ALLOCATOR = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "2147483647",
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.mxfast=0",
}


def main() -> int:
    """Measure and print; returns the exit code."""
    options = _options()
    try:
        report = measure(options)
    except SlmError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    if options.out is not None:
        write_json(options.out, report)
    if options.json or not sys.stdout.isatty():
        print(json.dumps(report))
    else:
        show(report)
    return 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """The report; the log of each system's counted round is kept in the folder of logs."""
    code = provenance.code_state()  # of now: the files may change while this runs
    overrides = [f"model.dtype={options.dtype}", *options.overrides]
    if options.batch_tokens is not None:
        overrides.append(f"train.batch_tokens={options.batch_tokens}")
    job = make_job(
        options.model,
        overrides,
        data=options.data,
        device=options.device,
        steps=options.steps,
        examples_per_step=options.examples_per_step,
    )
    logs = options.logs or Path(__file__).parent / "results" / f"train-{Path(options.model).name}"
    records: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_job(job, folder)
        if failure := _run("start", folder, {}):
            raise SystemExit(f"the model cannot be prepared: {failure}")
        for _ in range(options.rounds):
            for system in options.systems:
                if system in left_out:
                    continue
                reason = None if system in OURS else why_not(system, options.device)
                more = ALLOCATOR if options.tune_allocator and system not in OURS else {}
                if reason := reason or _run(system, folder, more):
                    print(f"{system} is left out: {reason}", file=sys.stderr, flush=True)
                    left_out[system] = reason
                    continue
                record = figures(folder, system, SYSTEMS[system])
                if system not in records or record["seconds"] < records[system]["seconds"]:
                    records[system] = record
                    _keep_log(folder / f"{system}.jsonl", logs)
        if "ours" in records:
            for system, record in records.items():
                record |= agreement(folder, system)
        alone = json.loads((folder / "start.json").read_text())["peak_mb"]
    return _about(options, job, code) | {
        "model_only_mb": alone,
        "systems": compared(records),
        "left_out": left_out,
    }


def _run(system: str, folder: Path, variables: dict[str, str]) -> str | None:
    """Run a system to its end; returns the last line of what went wrong, if it did."""
    print(f"running {system} …", file=sys.stderr, flush=True)
    offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    environment = (
        os.environ | offline | variables | {"PYTHONPATH": path + os.pathsep + os.environ.get("PYTHONPATH", "")}
    )
    command = [sys.executable, "-m", "training.worker", system, str(folder)]
    done = subprocess.run(command, env=environment, stdout=sys.stderr, stderr=subprocess.PIPE, text=True)
    if done.returncode == 0:
        return None
    print(done.stderr, file=sys.stderr)
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}, with memory running out perhaps"


def _keep_log(file: Path, logs: Path) -> None:
    logs.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, logs / file.name)


def _about(options: argparse.Namespace, job: Job, code: dict[str, str | None]) -> dict[str, Any]:
    """What was measured, on what."""
    examples = [example for step in job.steps for example in step]
    return {
        "model": Path(options.model).name,
        "dtype": job.recipe.model.dtype,
        "device": _device_name(options.device),
        "data": options.data,
        "steps": len(job.steps),
        "timed_steps": len(job.steps) - WARM_UP,
        "examples": len(examples),
        "examples_by_step": [len(step) for step in job.steps],
        "databases_by_step": job.databases,
        "batch_tokens": job.recipe.train.batch_tokens,
        "packs_per_step": job.recipe.train.packs_per_step,
        "learning_rate": job.recipe.train.learning_rate,
        "lora": job.recipe.lora.model_dump(mode="json"),
        "overrides": options.overrides,
        "tuned_allocator_for_trl": options.tune_allocator,
        "rounds": options.rounds,
        "code": code,
        "versions": provenance.versions() | _trl_version(),
        "machine": provenance.machine(),
    }


def _device_name(device: str) -> str:
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else "cpu"


def _trl_version() -> dict[str, str]:
    from importlib import metadata

    found = {}
    for name in ("trl", "liger_kernel"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _options() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of the recipe, such as lora.rank=8")
    parser.add_argument("--model", default="smollm2-135m", help="smollm2-135m, gemma3-270m, or a model's folder")
    parser.add_argument("--data", default="spider:train", help="training examples (spider:train)")
    parser.add_argument("--steps", type=int, default=30, help="optimizer steps (30); the first is not timed")
    parser.add_argument("--examples-per-step", default="4", metavar="N", help="at most so many (4), or `all`")
    parser.add_argument("--batch-tokens", type=int, metavar="N", help="tokens of a pack (the recipe's)")
    parser.add_argument("--systems", default=",".join(DEFAULT), help=f"some of {', '.join(SYSTEMS)}, or `all`")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--rounds", type=int, default=1, help="so many times, and the fastest counts")
    parser.add_argument("--tune-allocator", action="store_true", help="TRL gets glibc's allocator as slm sets it, too")
    parser.add_argument("--logs", type=Path, metavar="FOLDER", help="for a line a step of each system")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the report as JSON")
    parser.add_argument("--json", action="store_true", help="JSON, as it is when piped")
    options = parser.parse_args()
    options.systems = list(SYSTEMS) if options.systems == "all" else options.systems.split(",")
    if unknown := [name for name in options.systems if name not in SYSTEMS]:
        parser.error(f"no such system: {', '.join(unknown)}; there are {', '.join(SYSTEMS)}")
    if options.steps <= WARM_UP:
        parser.error(f"--steps must be more than {WARM_UP}: the first is not timed")
    options.examples_per_step = None if options.examples_per_step == "all" else int(options.examples_per_step)
    return options


if __name__ == "__main__":
    sys.exit(main())
