"""`slm train`: from a recipe to trained weights with their card. Work already done is not done again."""

import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slm import provenance
from slm.data import Dataset, load_dataset, load_mixture, refuse_leaks
from slm.data.holdout import describe_hold_out, hold_out
from slm.errors import DataError, InputError
from slm.files import digest, sha256_file, write_json, write_text
from slm.models import find_model, model_fingerprint, pull_model
from slm.recipe import Recipe, RunFolder, recipe_hash, to_yaml, training_hash
from slm.records import Example
from slm.tasks import Renderer, TextToSql, prompts_digest
from slm.train.summary import read_json, summarise

if TYPE_CHECKING:
    from slm.train.encode import Encoded


def run_folder(recipe: Recipe, dataset: Dataset, runs: Path) -> RunFolder:
    """The folder of this recipe on this data, prompts and model: another one as soon as any of them changes."""
    model = model_fingerprint(find_model(recipe.model.name))
    prompts = prompts_digest(TextToSql(dataset.contexts), dataset.available)
    identity = digest([training_hash(recipe), dataset.fingerprint, prompts, model])
    return RunFolder(runs / f"{recipe.name}-{identity[:8]}")


def training_data(recipe: Recipe) -> Dataset:
    """The data set that the recipe trains on."""
    data = recipe.data
    return load_mixture(data.sources, databases=data.databases, limit=data.limit, seed=data.seed)


def check_for_leaks(recipe: Recipe, dataset: Dataset, *, quiet: bool = False) -> None:
    """Raises DataError if questions that the recipe is scored on are in its training data; says what was looked at."""
    suite = recipe.evaluate
    try:
        test = load_dataset(suite.suite, databases=suite.databases)
    except DataError as error:
        told = f"test questions are not looked for in {dataset.name}: {str(error).splitlines()[0]}"
    else:
        found = refuse_leaks(dataset, test)
        told = f"none of {found.questions} questions of {test.name} is in {dataset.name}"
        told += f"; of their queries {found.queries} are" if found.queries else ""
    if not quiet:
        print(told, file=sys.stderr)


def read_card(run: RunFolder) -> dict[str, Any] | None:
    """The card of a finished training; None while there is none. Raises DataError for a damaged one."""
    return read_json(run.card) if run.card.is_file() else None


def require_finished(run: RunFolder) -> None:
    """Raises InputError for a folder that is not a training which has ended."""
    if not run.card.is_file():
        raise InputError(
            "not a finished training run",
            where=str(run.path),
            expected="a folder with card.json",
            hint="slm train RECIPE",
        )


def weights_hash(run: RunFolder) -> str | None:
    """Hex sha256 of what a run trained, its adapter or its whole model; None where there is neither."""
    if run.model.is_dir():
        return digest([sha256_file(path) for path in sorted(run.model.glob("*.safetensors"))])
    adapter = run.adapter / "adapter_model.safetensors"
    return sha256_file(adapter) if adapter.is_file() else None


def train(recipe: Recipe, runs: Path, *, plan: bool = True) -> RunFolder:
    """Train the recipe's model into its folder below `runs`, or return at once if that was done before.

    Runs alike alone and in every process of `accelerate launch`. Killed, it continues from its newest checkpoint.
    With `plan` it plans its memory first, and raises RecipeError where there is not enough.
    """
    from slm.train.processes import make_accelerator
    from slm.train.trackers import start_trackers, stop_trackers, tracker_names

    provenance.code_state()  # of now: the files may change while the job runs
    trackers = tracker_names(recipe)
    pull_model(recipe.model.name)
    dataset = training_data(recipe)
    run = run_folder(recipe, dataset, runs)
    accelerator = make_accelerator(log_with=trackers or None, project_dir=run.path / "trackers")
    if read_card(run) is None:
        check_for_leaks(recipe, dataset, quiet=not accelerator.is_main_process)
        if accelerator.is_main_process:
            write_text(run.recipe, to_yaml(recipe))
        accelerator.wait_for_everyone()
        start_trackers(accelerator, recipe, run)
        _train_into(run, recipe, dataset, accelerator, plan)
    stop_trackers(accelerator)
    return run


@dataclass(frozen=True)
class JobData:
    """What is trained on and what is measured on, as examples and as token ids."""

    examples: tuple[Example, ...]
    held_out: tuple[Example, ...]
    task: TextToSql
    renderer: Renderer

    def encoded(self) -> "tuple[list[Encoded], list[Encoded]]":
        """(training, held out)."""
        from slm.train.encode import encode

        held_out = encode(self.held_out, self.task, self.renderer) if self.held_out else []
        return encode(self.examples, self.task, self.renderer), held_out


def prepare_data(recipe: Recipe, dataset: Dataset, folder: Path, *, quiet: bool) -> JobData:
    """The examples of a run, and how they become token ids by the tokenizer in `folder`."""
    from slm.models.load import load_tokenizer

    examples: tuple[Example, ...] = dataset.available
    held_out: tuple[Example, ...] = ()
    if recipe.watch.every is not None:
        examples, held_out = hold_out(dataset, recipe.watch.examples, recipe.data.seed)
        if not quiet:
            print(describe_hold_out(dataset, examples, held_out), file=sys.stderr)
    return JobData(
        examples,
        held_out,
        TextToSql(dataset.contexts, double_quoted_text=dataset.double_quoted_text),
        Renderer(load_tokenizer(folder), chat=recipe.task.template),
    )


def _packable(recipe: Recipe, folder: Path, *, quiet: bool) -> Recipe:
    """The recipe, with padded batches if the model's attention is not known to take packs; and says so."""
    from slm.models.attention import can_pack
    from slm.models.load import load_config

    config = load_config(folder)
    if recipe.train.packing == "none" or can_pack(config):
        return recipe
    if not quiet:
        print(
            f"{recipe.model.name}: attention of {config.model_type!r} is not known to take packs; training on padded"
            " batches instead, which is slower",
            file=sys.stderr,
        )
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"packing": "none"})})


def _train_into(run: RunFolder, recipe: Recipe, dataset: Dataset, accelerator: Any, plan: bool) -> None:
    from accelerate.utils import set_seed

    from slm.models.allocator import keep_freed_memory, return_freed_memory
    from slm.models.load import count_parameters
    from slm.train.audit import audit, stop_or_show
    from slm.train.curves import draw_curves
    from slm.train.loop import Loop, plan_steps
    from slm.train.meters import Meters
    from slm.train.prepare import compute_dtype, prepare_model
    from slm.train.watch import Watch

    started = datetime.now(UTC)
    quiet = not accelerator.is_main_process
    folder = pull_model(recipe.model.name)
    recipe = _packable(recipe, folder, quiet=quiet)
    data = prepare_data(recipe, dataset, folder, quiet=quiet)
    # Before the model, which then takes the memory that encoding needed: 300 MB with a vocabulary of 262k.
    encoded, held_out = data.encoded()
    if plan:
        _plan(run, recipe, encoded, accelerator)
    keep_freed_memory()
    steps = plan_steps(encoded, recipe.train)
    set_seed(recipe.train.seed)
    model = prepare_model(folder, recipe, device=accelerator.device)
    config, dtype = model.config, compute_dtype(model, recipe)
    if accelerator.distributed_type != "FSDP":  # which cuts the model up before any GPU gets its part
        model.to(accelerator.device)
    findings = audit(
        data.examples, encoded, [pack for step in steps for pack in step],
        task=data.task, renderer=data.renderer, model=model, config=config, dtype=dtype, packing=recipe.train.packing,
    )  # fmt: skip
    stop_or_show(findings, quiet=quiet)
    return_freed_memory()  # what loading and the audit took for a moment would count as the training's
    meters = Meters(model, device=accelerator.device, dtype=dtype, processes=accelerator.num_processes)
    watch = None
    if held_out:
        watch = Watch(
            recipe, data.task, data.renderer, data.held_out, held_out, steps=len(steps), accelerator=accelerator
        )
    parameters = count_parameters(model)
    loop = Loop(
        model, config, recipe.train, checkpoints=run.checkpoints, metrics=run.metrics, accelerator=accelerator,
        lora=recipe.lora, meters=meters,
        watch=watch, watch_settings=recipe.watch if watch else None, watch_file=run.watch,
    )  # fmt: skip
    totals = loop.run(steps)
    weights = loop.trained_weights()
    if accelerator.is_main_process:
        _save(run, recipe, folder, accelerator.unwrap_model(loop.model), weights)
        card = _card(recipe, run, dataset, data, parameters, started, asdict(totals))
        write_json(run.card, card)
        draw_curves(run)
    accelerator.wait_for_everyone()


def _plan(run: RunFolder, recipe: Recipe, encoded: "list[Encoded]", accelerator: Any) -> None:
    """Plan the memory and keep the prediction. Every process does, so that all of them refuse what cannot fit."""
    from slm.train.plan.preflight import preflight
    from slm.train.plan.record import write_plan

    main = accelerator.is_main_process
    sharded = accelerator.distributed_type == "FSDP"
    predicted = preflight(recipe, encoded, processes=accelerator.num_processes, sharded=sharded, quiet=not main)
    if main:
        write_plan(run, predicted)


def _save(run: RunFolder, recipe: Recipe, base: Path, model: Any, weights: dict[str, Any]) -> None:
    """Write what was trained."""
    if recipe.train.method == "full":
        from slm.models.load import save_model

        save_model(model, run.model, base=base, state=weights)
    else:
        from slm.models.lora import save_adapter

        save_adapter(model, run.adapter, state=weights)


def _card(
    recipe: Recipe,
    run: RunFolder,
    dataset: Dataset,
    data: JobData,
    parameters: tuple[int, int],
    started: datetime,
    totals: dict[str, Any],
) -> dict[str, Any]:
    """What the weights were made of; its presence says that the training is complete. `parameters`: trained, all."""
    entry = find_model(recipe.model.name)
    return {
        "run": run.path.name,
        "recipe": recipe_hash(recipe),
        "training": training_hash(recipe),
        "code": provenance.code_state(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
        "model": model_fingerprint(entry),
        "model_name": entry.name,
        "licence": entry.licence,
        "method": recipe.train.method,
        "parameters": parameters[1] - parameters[0] if recipe.train.method == "lora" else parameters[1],
        "trainable_parameters": parameters[0],
        "data": dataset.fingerprint,
        "data_name": dataset.name,
        "examples": len(data.examples),
        "held_out_examples": len(data.held_out),
        "unavailable_examples": len(dataset.examples) - len(dataset.available),
        "adapter": weights_hash(run),
        "memory": _memory(run),
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "totals": totals,
    }


def _memory(run: RunFolder) -> dict[str, float | None]:
    """MB at most of one process: predicted before the first step, where it was planned, and measured."""
    summary = summarise(run)
    return {"predicted_mb": summary.predicted_memory_mb, "measured_mb": summary.peak_memory_mb}
