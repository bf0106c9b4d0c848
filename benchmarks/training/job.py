"""What every system is given: the same model, recipe, first adapter and examples of each optimizer step, as files."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from slm.errors import RecipeError
from slm.files import write_json, write_text
from slm.models import pull_model
from slm.recipe import Recipe, load_recipe, to_yaml
from slm.tasks import Renderer, TextToSql
from slm.train.encode import Encoded
from slm.train.job import training_data

# The recipe whose settings a model is trained with; another model takes those of the first.
RECIPES = {"smollm2-135m": "smollm2-135m-spider", "gemma3-270m": "gemma3-270m-spider"}


@dataclass(frozen=True)
class Job:
    """A job's folder holds these, and later `start.safetensors`, the adapter's first values.

    `steps`: the examples of each optimizer step. `databases`: how many databases they ask about, in each step.
    """

    recipe: Recipe
    model: Path
    device: str
    steps: list[list[Encoded]]
    databases: list[int]


def make_job(
    model: str, overrides: Sequence[str], *, data: str, device: str, steps: int, examples_per_step: int | None
) -> Job:
    """Plan `steps` optimizer steps as `slm train` would, of at most `examples_per_step` examples each."""

    from slm.models.load import load_tokenizer
    from slm.train.encode import encode
    from slm.train.pack import plan_packs

    fixed = [f"model.name={model}", f"data.train={data}", "train.schedule=constant", "train.warmup=0"]
    recipe = load_recipe(RECIPES.get(model, RECIPES["smollm2-135m"]), [*fixed, "data.limit=null", *overrides])
    settings = recipe.train
    _comparable(recipe)
    folder = pull_model(model)
    dataset = training_data(recipe)
    renderer = Renderer(load_tokenizer(folder), chat=recipe.task.template)
    encoded = encode(dataset.available, TextToSql(dataset.contexts), renderer)
    packs = plan_packs(encoded, batch_tokens=settings.batch_tokens, seed=settings.seed, epoch=0, packing="shared")
    size = settings.packs_per_step
    most = None if examples_per_step is None else max(1, examples_per_step // size)
    planned = [
        [example for pack in packs[start : start + size] for example in list(pack.examples)[:most]]
        for start in range(0, len(packs), size)
    ]
    if len(planned) < steps:
        raise RecipeError(f"{data} makes {len(planned)} steps", where="--steps", expected=f"at most {len(planned)}")
    context_of = {example.id: example.context_id for example in dataset.examples}
    databases = [len({context_of[example.example_id] for example in step}) for step in planned[:steps]]
    return Job(recipe, folder, device, planned[:steps], databases)


def _comparable(recipe: Recipe) -> None:
    """Raises RecipeError for what the systems cannot do alike: draw the same noise, or decay the same weights."""
    train, lora = recipe.train, recipe.lora
    problems = {
        "train.method": train.method != "lora",
        "train.optimizer": train.optimizer != "adamw",
        "train.weight_decay": train.weight_decay != 0,
        "train.neftune": train.neftune != 0,
        "model.quantize": recipe.model.quantize != "none",
        "lora.dropout": lora.dropout != 0,
        "lora.plus_ratio": lora.plus_ratio != 1,
        "lora.init": lora.init != "default",
    }
    if wrong := [key for key, differs in problems.items() if differs]:
        raise RecipeError("the comparison needs the default value", where=", ".join(wrong))


def write_job(job: Job, folder: Path) -> None:
    """Write the job for its workers to read."""
    write_text(folder / "recipe.yaml", to_yaml(job.recipe))
    steps = [[asdict(example) for example in step] for step in job.steps]
    write_json(
        folder / "job.json",
        {"model": str(job.model), "device": job.device, "steps": steps, "databases": job.databases},
    )


def read_job(folder: Path) -> Job:
    """The job that `write_job` wrote."""
    raw = json.loads((folder / "job.json").read_text())
    steps = [[_encoded(example) for example in step] for step in raw["steps"]]
    return Job(load_recipe(str(folder / "recipe.yaml"), []), Path(raw["model"]), raw["device"], steps, raw["databases"])


def _encoded(raw: dict[str, Any]) -> Encoded:
    values: Any = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
    return Encoded(**values)


def load_start(model: Any, folder: Path) -> None:
    """Give a PEFT model the adapter's first values. Raises ValueError if it has other parameters than these."""
    start = load_file(folder / "start.safetensors")
    trainable = {name: value for name, value in model.named_parameters() if value.requires_grad}
    if different := sorted(start.keys() ^ trainable.keys()):
        raise ValueError(f"the systems would train different parameters: only one of them has {different[0]}")
    for name, value in trainable.items():
        value.data.copy_(start[name])
