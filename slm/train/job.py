"""`slm train`: from a recipe to an adapter with its card. Work already done is not done again."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from slm import provenance
from slm.data import Dataset, load_dataset
from slm.errors import JobError
from slm.files import digest, sha256_file, write_json, write_text
from slm.models import find_model, model_fingerprint, pull_model
from slm.recipe import Recipe, RunFolder, recipe_hash, to_yaml, training_hash
from slm.records import Example
from slm.tasks import Renderer, TextToSql, prompts_digest


def run_folder(recipe: Recipe, dataset: Dataset, runs: Path) -> RunFolder:
    """The folder of this recipe on this data, prompts and model: another one as soon as any of them changes."""
    model = model_fingerprint(find_model(recipe.model.name))
    prompts = prompts_digest(TextToSql(dataset.contexts), dataset.available)
    identity = digest([training_hash(recipe), dataset.fingerprint, prompts, model])
    return RunFolder(runs / f"{recipe.name}-{identity[:8]}")


def training_data(recipe: Recipe) -> Dataset:
    """The data set that the recipe trains on."""
    data = recipe.data
    return load_dataset(data.train, databases=data.databases, limit=data.limit, seed=data.seed)


def read_card(run: RunFolder) -> dict[str, Any] | None:
    """The card of a finished training; None while there is none."""
    if not run.card.is_file():
        return None
    card: dict[str, Any] = json.loads(run.card.read_text())
    return card


def train(recipe: Recipe, runs: Path) -> RunFolder:
    """Train the recipe's adapter into its folder below `runs`, or return at once if that was done before.

    Runs alike alone and in every process of `accelerate launch`. Killed, it continues from its newest checkpoint.
    """
    provenance.code_state()  # of now: the files may change while the job runs
    accelerator = _accelerator()
    pull_model(recipe.model.name)
    dataset = training_data(recipe)
    run = run_folder(recipe, dataset, runs)
    if read_card(run) is None:
        if accelerator.is_main_process:
            write_text(run.recipe, to_yaml(recipe))
        accelerator.wait_for_everyone()
        _train_into(run, recipe, dataset, accelerator)
    accelerator.end_training()
    return run


def _accelerator() -> Any:
    """The processes of this job. Raises JobError where a launcher started several that do not know of one another."""
    import torch
    from accelerate import Accelerator

    # Without `cpu`, Accelerate on a machine without a GPU lets each of several processes believe that it is alone.
    accelerator = Accelerator(cpu=not torch.cuda.is_available())
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != accelerator.num_processes:
        raise JobError(
            f"{started} processes were started, but this one sees {accelerator.num_processes}\n"
            "  try: accelerate launch with one of configs/accelerate/*.yaml"
        )
    return accelerator


def _train_into(run: RunFolder, recipe: Recipe, dataset: Dataset, accelerator: Any) -> None:
    from accelerate.utils import set_seed

    from slm.models.load import count_parameters, load_model, load_tokenizer
    from slm.models.lora import add_lora, save_adapter
    from slm.models.shared_attention import use_shared_attention
    from slm.train.encode import encode
    from slm.train.loop import Loop, plan_steps

    started = datetime.now(UTC)
    folder = pull_model(recipe.model.name)
    examples = dataset.available
    renderer = Renderer(load_tokenizer(folder), chat=recipe.task.template)
    set_seed(recipe.train.seed)
    base = load_model(folder, dtype=recipe.model.dtype, quantize=recipe.model.quantize)
    use_shared_attention(base)
    config = base.config
    encoded = encode(examples, TextToSql(dataset.contexts), renderer, longest=config.max_position_embeddings)
    steps = plan_steps(encoded, recipe.train)
    model = add_lora(base, recipe.lora)
    loop = Loop(model, config, recipe.train, checkpoints=run.checkpoints, metrics=run.metrics, accelerator=accelerator)
    totals = loop.run(steps)
    if accelerator.is_main_process:
        save_adapter(accelerator.unwrap_model(loop.model), run.adapter)
        trainable, everything = count_parameters(model)
        write_json(
            run.card,
            _card(recipe, run, dataset, examples, (everything - trainable, trainable), started, asdict(totals)),
        )
    accelerator.wait_for_everyone()


def _card(
    recipe: Recipe,
    run: RunFolder,
    dataset: Dataset,
    examples: Sequence[Example],
    parameters: tuple[int, int],
    started: datetime,
    totals: dict[str, Any],
) -> dict[str, Any]:
    """What the adapter was made of; its presence says that the training is complete."""
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
        "parameters": parameters[0],
        "trainable_parameters": parameters[1],
        "data": dataset.fingerprint,
        "data_name": dataset.name,
        "examples": len(examples),
        "unavailable_examples": len(dataset.examples) - len(examples),
        "adapter": sha256_file(run.adapter / "adapter_model.safetensors"),
        "started": started.isoformat(timespec="seconds"),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "totals": totals,
    }
