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
ModuleNames = Annotated[tuple[Text, ...], Field(strict=False, min_length=1, json_schema_extra={"of": "module names"})]
DataNames = Annotated[tuple[Text, ...], Field(strict=False, min_length=1, json_schema_extra={"of": "them"})]
PathText = Annotated[Path, Field(strict=False)]
Ranks = dict[Text, Annotated[int, Field(gt=0)]]
Scales = dict[Text, Annotated[float, Field(gt=0), BeforeValidator(_yaml_number)]]
Tracker = Literal["tensorboard", "mlflow", "wandb", "trackio"]
Trackers = Annotated[tuple[Tracker, ...], Field(strict=False)]


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
    quantize: Literal["none", "nf4", "int8"] = Field(
        default="none",
        description="`nf4` keeps the frozen weights in 4 bits, doubly quantized (QLoRA): least memory, slower steps; "
        "`int8` in 8 bits.",
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
    upper: Number = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of the decoder layers, counted from the last one, that get an adapter. No gradient goes "
        "below them: less memory, faster steps.",
    )
    ranks: Ranks = Field(
        default={},
        description="Other ranks by module name, such as `{down_proj: 32}`; the longest name that fits counts.",
    )
    alphas: Scales = Field(default={}, description="Other alphas by module name.")
    rslora: bool = Field(
        default=False, description="Scale by alpha / √rank instead (rsLoRA), which high ranks need to learn at all."
    )
    dora: bool = Field(
        default=False, description="Learn the magnitude of each weight row apart from its direction (DoRA); slower."
    )
    init: Literal["default", "pissa", "loftq"] = Field(
        default="default",
        description="First values: the identity, the weight's principal part (`pissa`), or what quantization lost "
        "(`loftq`, with `model.quantize: nf4`).",
    )
    plus_ratio: Number = Field(
        default=1.0, ge=1, description="Learning rate of the B matrices over that of the A matrices (LoRA+)."
    )


class DataSection(Section):
    """What it is trained on."""

    train: Text | DataNames = Field(
        description="Training examples: `SUITE:SPLIT` (`slm suites list`), a JSON Lines file, or `FOLDER:SPLIT` "
        "of a folder in Spider's layout; or several of them."
    )
    databases: PathText | None = Field(
        default=None, description="Folder of the databases, where it is not the data's own."
    )
    limit: int | None = Field(
        default=None, gt=0, description="Train on this many examples, drawn at random; null: all."
    )
    seed: int = Field(default=0, ge=0, description="Seed of that draw.")

    @property
    def sources(self) -> tuple[str, ...]:
        """The data sets of `train`, however many."""
        return (self.train,) if isinstance(self.train, str) else self.train


class TrainSection(Section):
    """How it is trained."""

    method: Literal["lora", "full"] = Field(
        default="lora", description="Train an adapter, or every weight of a small model, without any key of `lora`."
    )
    packing: Literal["shared", "none"] = Field(
        default="shared",
        description="Lay examples of one context out behind a single copy of it, or `none`: padded batches, slower.",
    )
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
    optimizer: Literal["adamw", "adamw-8bit", "paged-adamw", "paged-adamw-8bit", "lion", "rmsprop", "sgd"] = Field(
        default="adamw",
        description="8-bit ones keep their state small, paged ones in CPU memory when the GPU is full (bitsandbytes; "
        "also on a CPU).",
    )
    learning_rate: Number = Field(default=2e-4, gt=0, le=1, description="Peak learning rate.")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        default="cosine", description="How the learning rate falls after the warm-up: to zero, or not at all."
    )
    warmup: Number = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="Share of the steps in which the learning rate rises.",
    )
    weight_decay: Number = Field(
        default=0.0, ge=0, le=1, description="Decay of the matrices that are trained; never of biases and norms."
    )
    neftune: Number = Field(
        default=0.0, ge=0, description="Scale of the noise on embeddings while training (NEFTune); 5 is usual."
    )
    recompute: bool = Field(
        default=False,
        description="Compute activations again in the backward pass (activation checkpointing): less memory, slower.",
    )
    compile: bool = Field(default=False, description="Compile the layers with torch.compile; needs a C++ compiler.")
    clip_norm: Number = Field(default=1.0, gt=0, description="Gradients are scaled down to this norm.")
    checkpoint_every: int = Field(default=50, gt=0, description="Steps between checkpoints; a killed run loses fewer.")
    keep_checkpoints: int = Field(default=1, gt=0, description="How many of the newest checkpoints are kept.")
    trackers: Trackers = Field(
        default=(),
        description="Where the figures of every step also go: TensorBoard, MLflow, Weights & Biases, Trackio.",
    )
    seed: int = Field(
        default=0, ge=0, description="Seed of the adapter's first values, dropout and the order of examples."
    )


class WatchSection(Section):
    """The task's own metric while it trains, on examples that are held out of training."""

    every: int | None = Field(
        default=None, gt=0, description="Steps between measurements of the execution accuracy; null: never."
    )
    examples: int = Field(
        default=64,
        gt=0,
        description="How many training examples are held out for it: of whole databases where there are several.",
    )
    keep: Literal["accuracy", "loss", "last"] = Field(
        default="accuracy", description="Which weights the run ends with: the best by this, or the last."
    )
    patience: int | None = Field(
        default=None, gt=0, description="Stop after this many measurements without a better one; null: never."
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
    batch_size: int = Field(default=32, gt=0, description="Questions decoded together: faster, for more memory.")
    constrain: bool = Field(
        default=False,
        description="Let answers leave neither SQL nor the names of their database's schema; local generation only.",
    )
    candidates: int = Field(
        default=1,
        gt=0,
        le=64,
        description="Answers to a question at most. Where the greedy one does not run or gives no rows, others are "
        "drawn, and the one is given whose executed result most of them agree with; local generation only.",
    )


class Recipe(Section):
    """One experiment. `name` is the file's name unless the file says otherwise."""

    name: str = Field(pattern=r"^[^\s/\\.][^/\\\n]*$", description="Name of the experiment; by default the file's.")
    description: str = Field(default="", description="What the experiment is for.")
    task: TaskSection = TaskSection()
    model: ModelSection
    lora: LoraSection = LoraSection()
    data: DataSection
    train: TrainSection = TrainSection()
    watch: WatchSection = WatchSection()
    evaluate: EvaluateSection
    generate: GenerateSection = GenerateSection()


def recipe_hash(recipe: Recipe) -> str:
    """Hex sha256 of every resolved value; the name and the description do not count."""
    return digest(recipe.model_dump(mode="json", exclude={"name", "description"}))


def training_hash(recipe: Recipe) -> str:
    """Hex sha256 of only what decides the trained weights, so that another evaluation does not train again."""
    sections = recipe.model_dump(mode="json", include={"task", "model", "lora", "data", "train", "watch"})
    for key in ("checkpoint_every", "keep_checkpoints", "trackers"):
        del sections["train"][key]
    return digest(sections)
