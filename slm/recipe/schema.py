"""What a recipe can say. One class a section; the descriptions are what `docs/recipes.md` prints."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from slm.files import digest


def _yaml_number(value: Any) -> Any:
    """YAML 1.1 reads `1e-4` (no dot) as text; every reader of a recipe means a number."""
    if not isinstance(value, str):
        return value
    try:
        return float(value)
    except ValueError:
        return value


Number = Annotated[float, BeforeValidator(_yaml_number)]
Text = Annotated[str, Field(min_length=1)]
# Strict mode takes only tuples and Path objects, and YAML has only lists and text.
ModuleNames = Annotated[tuple[Text, ...], Field(strict=False, min_length=1)]
PathText = Annotated[Path, Field(strict=False)]


class Section(BaseModel):
    """Base of all sections: unknown keys, silent conversions, NaN and infinity are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class TaskSection(Section):
    """What the model is asked to do."""

    name: Literal["text-to-sql"] = Field(default="text-to-sql", description="The task.")
    chat: Literal["auto"] | bool = Field(
        default="auto",
        description="Whether prompts go through the tokenizer's chat template; `auto`: if it has one.",
    )

    @property
    def template(self) -> bool | None:
        """`chat` as the renderer takes it: None stands for `auto`."""
        return None if self.chat == "auto" else self.chat


class ModelSection(Section):
    """The model to start from."""

    name: Text = Field(description="A name from `slm models list`, a hub id (`org/name`) or a local folder.")
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="Number format of the weights while they are used; bfloat16 halves the memory."
    )
    quantize: Literal["none", "nf4"] = Field(
        default="none", description="`nf4` keeps the frozen weights in 4 bits (QLoRA): least memory, slower steps."
    )


class LoraSection(Section):
    """The low-rank adapter that is trained."""

    rank: int = Field(default=16, gt=0, description="Rank of the update: its capacity, and the size of the adapter.")
    alpha: Number = Field(default=32.0, gt=0, description="Scale: the update is multiplied by alpha / rank.")
    dropout: Number = Field(
        default=0.0, ge=0, lt=1, description="Share of the adapter's inputs dropped while training."
    )
    targets: Literal["all-linear", "attention"] | ModuleNames = Field(
        default="all-linear",
        description="Layers that get an adapter: every linear layer, the attention's, or a list of module names.",
    )


class DataSection(Section):
    """What it is trained on."""

    train: Text = Field(
        description="Training examples: `SUITE:SPLIT` (`slm suites list`), a JSON Lines file, or `FOLDER:SPLIT` "
        "of a folder in Spider's layout."
    )
    databases: PathText | None = Field(
        default=None, description="Folder of the databases, where it is not the data's own."
    )
    limit: int | None = Field(
        default=None, gt=0, description="Train on this many examples, drawn at random; null: all."
    )
    seed: int = Field(default=0, ge=0, description="Seed of that draw.")


class TrainSection(Section):
    """How it is trained."""

    epochs: Number = Field(default=1.0, gt=0, description="Passes over the training examples; 0.5 is half of one.")
    max_steps: int | None = Field(
        default=None, gt=0, description="Stop after this many optimizer steps; null: by epochs."
    )
    batch_tokens: int = Field(
        default=2048, gt=0, description="Tokens in one pack, that is in one forward pass: sets the memory a step needs."
    )
    packs_per_step: int = Field(
        default=1, gt=0, description="Packs whose gradients make one optimizer step, over all processes together."
    )
    learning_rate: Number = Field(default=2e-4, gt=0, le=1, description="Peak learning rate of AdamW.")
    warmup: Number = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="Share of the steps in which the learning rate rises; then it falls as a cosine.",
    )
    weight_decay: Number = Field(default=0.0, ge=0, le=1, description="AdamW's weight decay of the adapter.")
    clip_norm: Number = Field(default=1.0, gt=0, description="Gradients are scaled down to this norm.")
    checkpoint_every: int = Field(default=50, gt=0, description="Steps between checkpoints; a killed run loses fewer.")
    seed: int = Field(
        default=0, ge=0, description="Seed of the adapter's first values, dropout and the order of examples."
    )


class EvaluateSection(Section):
    """What it is scored on, before and after training."""

    suite: Text = Field(description="Test examples, named as `data.train` is. Never the training data.")
    databases: PathText | None = Field(
        default=None, description="Folder of the databases, where it is not the data's own."
    )
    limit: int | None = Field(
        default=None,
        gt=0,
        description="Score this many examples, always the same; null: all. Fewer widen the interval.",
    )
    timeout_s: Number = Field(default=30.0, gt=0, description="Seconds a query may run before it counts as failed.")


class GenerateSection(Section):
    """How answers are generated."""

    max_new_tokens: int = Field(default=128, gt=0, description="Longest answer, in tokens; a longer one is cut off.")
    batch_size: int = Field(default=16, gt=0, description="Questions decoded together: faster, for more memory.")


class Recipe(Section):
    """One experiment. `name` is the file's name unless the file says otherwise."""

    name: str = Field(pattern=r"^[^\s/\\.][^/\\\n]*$", description="Name of the experiment; by default the file's.")
    description: str = Field(default="", description="What the experiment is for.")
    task: TaskSection = TaskSection()
    model: ModelSection
    lora: LoraSection = LoraSection()
    data: DataSection
    train: TrainSection = TrainSection()
    evaluate: EvaluateSection
    generate: GenerateSection = GenerateSection()


def recipe_hash(recipe: Recipe) -> str:
    """Hex sha256 of every resolved value; the name and the description do not count."""
    return digest(recipe.model_dump(mode="json", exclude={"name", "description"}))


def training_hash(recipe: Recipe) -> str:
    """Hex sha256 of only what decides the trained weights, so that another evaluation does not train again."""
    sections = recipe.model_dump(mode="json", include={"task", "model", "lora", "data", "train"})
    del sections["train"]["checkpoint_every"]
    return digest(sections)
