"""Trains a job with TRL's SFTTrainer: in its default setting, and in those that may be faster on the device.

TRL gets prompt and completion as token ids, with loss on the completion alone, and its own collator lays them out. Its
Trainer takes a number of batches a step that never changes; here a step has as many as its examples need, so what it
sees as one batch is a step, and `training_step` goes through its batches. Their loss is divided by the target tokens of
the whole step, as the Trainer does when it accumulates gradients by itself.
"""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from slm.models.lora import add_lora
from slm.train.encode import Encoded
from training.job import Job, load_start
from training.record import Recorder

INSTALL = "pip install trl==1.16.0"
_LONGEST_ROW = 1024  # TRL's default `max_length`


@dataclass(frozen=True)
class Setting:
    """`examples`: how many examples make one forward pass; 0: all that TRL packs in a row, None: the whole step."""

    about: str
    examples: int | None = 8  # TRL's default `per_device_train_batch_size`
    checkpointing: bool = False
    padding_free: bool = False
    liger: bool = False


SETTINGS = {
    "trl": Setting("TRL as it comes: padded batches of 8, activations computed again", checkpointing=True),
    "trl-padded": Setting("TRL, padded batches of 8"),
    "trl-single": Setting("TRL, one example at a time: nothing is padded", examples=1),
    "trl-packed": Setting("TRL, best-fit packing in rows of 1,024", examples=0, padding_free=True),
    "trl-padding-free": Setting("TRL, the step as one row without padding", examples=None, padding_free=True),
    "trl-liger": Setting("TRL, packing, Liger's kernels", examples=0, padding_free=True, liger=True),
}


def why_not(name: str, device: str) -> str | None:
    """Why a setting does not run here; None if it does."""
    if missing := [package for package in ("trl", "datasets") if find_spec(package) is None]:
        return f"no {' and no '.join(missing)}: {INSTALL}"
    if SETTINGS[name].liger and device != "cuda":
        return "Liger's kernels are written in Triton and need a GPU"
    if SETTINGS[name].liger and find_spec("liger_kernel") is None:
        return "no liger_kernel: pip install liger-kernel"
    return None


def train(job: Job, folder: Path, recorder: Recorder, name: str) -> None:
    """Every step of the job with one of SETTINGS."""
    setting = SETTINGS[name]
    trainer = _trainer(job, folder, setting)
    batches = [_batches(trainer.data_collator, examples, setting) for examples in job.steps]
    steps = [{"batches": each, "labels": _all_labels(each)} for each in batches]
    loader: Any = DataLoader(steps, batch_size=None)  # type: ignore[arg-type]  # a list is a data set
    trainer.get_train_dataloader = lambda: loader
    one_batch = trainer.training_step
    losses: list[float] = []

    def training_step(model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        loss = sum(one_batch(model, batch, num_items_in_batch) for batch in inputs["batches"])
        recorder.gradient(model)
        losses.append(float(loss))
        return loss

    def end_step() -> None:
        number = len(losses) - 1
        computed = sum(batch["input_ids"].numel() for batch in batches[number])
        recorder.end_step(job.steps[number], losses[number], computed)

    trainer.training_step = training_step
    trainer.add_callback(_on_step_end(end_step))
    recorder.begin()
    trainer.train()


def _trainer(job: Job, folder: Path, setting: Setting) -> Any:
    import transformers
    from datasets import Dataset

    trl = importlib.import_module("trl")
    recipe, settings = job.recipe, job.recipe.train
    auto: Any = transformers.AutoModelForCausalLM
    base = auto.from_pretrained(str(job.model), dtype=getattr(torch, recipe.model.dtype), local_files_only=True)
    model = add_lora(base, recipe.lora)
    load_start(model, folder)
    arguments = trl.SFTConfig(
        output_dir=str(folder / "trl"),
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=settings.clip_norm,
        num_train_epochs=1,
        seed=settings.seed,
        bf16=recipe.model.dtype == "bfloat16",
        use_cpu=job.device == "cpu",
        gradient_checkpointing=setting.checkpointing,
        padding_free=setting.padding_free,
        use_liger_kernel=setting.liger,
        max_length=None,  # nothing is cut off
        dataset_kwargs={"skip_prepare_dataset": True},
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(str(job.model), local_files_only=True)
    rows = Dataset.from_list([_row(example) for step in job.steps for example in step])
    return trl.SFTTrainer(model=model, args=arguments, train_dataset=rows, processing_class=tokenizer)


def _row(example: Encoded) -> dict[str, list[int]]:
    """An example as SFTTrainer prepares one: the prompt carries no loss."""
    prompt = example.context_ids + example.question_ids
    return {
        "input_ids": [*prompt, *example.target_ids],
        "labels": [-100] * len(prompt) + list(example.target_ids),
    }


def _batches(collate: Any, examples: Sequence[Encoded], setting: Setting) -> list[dict[str, Any]]:
    """The forward passes of a step, similar lengths together, as `train_sampling_strategy="group_by_length"` has it."""
    rows: list[dict[str, Any]] = sorted((_row(example) for example in examples), key=lambda row: len(row["input_ids"]))
    size = setting.examples or (1 if setting.examples == 0 else len(rows))
    if setting.examples == 0:
        from datasets import Dataset

        longest = max(_LONGEST_ROW, *(len(row["input_ids"]) for row in rows))
        rows = list(importlib.import_module("trl").pack_dataset(Dataset.from_list(rows), longest, "bfd"))
    return [collate(rows[start : start + size]) for start in range(0, len(rows), size)]


def _all_labels(batches: Sequence[dict[str, Any]]) -> torch.Tensor:
    """The labels of a step in one row [1, tokens]: where the Trainer counts target tokens."""
    return torch.cat([batch["labels"].flatten() for batch in batches])[None]


def _on_step_end(job: Any) -> Any:
    """A Trainer callback that calls `job` after every optimizer step."""
    from transformers import TrainerCallback

    class AfterStep(TrainerCallback):
        """Calls `job`."""

        def on_step_end(self, *_: Any, **__: Any) -> None:
            """After optimizer and scheduler, before logging."""
            job()

    return AfterStep()
