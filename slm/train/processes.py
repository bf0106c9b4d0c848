"""The processes of one training: how they find one another, and what each kind of sharing weights can and cannot do."""

import os
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator, FullyShardedDataParallelPlugin, PartialState
from accelerate.utils import DistributedType

from slm.errors import JobError, RecipeError
from slm.recipe import TrainSection
from slm.train.pack import Pack

_OF_TORCH = {"adamw", "rmsprop", "sgd"}


def make_accelerator(**options: Any) -> Accelerator:
    """The processes of this job, as `accelerate launch` started them; `options` are Accelerate's own.

    Raises JobError where a launcher started several that do not know of one another, RecipeError for FSDP 1.
    """
    on_cpu = not torch.cuda.is_available()
    # Without `cpu`, Accelerate on a machine without a GPU lets each of several processes believe that it is alone.
    accelerator = Accelerator(cpu=on_cpu, **options)
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != accelerator.num_processes:
        raise JobError(
            f"{started} processes were started, but this one sees {accelerator.num_processes}\n"
            "  try: accelerate launch with one of configs/accelerate/*.yaml"
        )
    if on_cpu and started > 1 and os.environ.get("ACCELERATE_USE_FSDP") == "true":
        # Accelerate shards only among GPUs and drops the request on the CPU; PyTorch does it there, too.
        accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin()
        accelerator.state.distributed_type = DistributedType.FSDP
        PartialState().distributed_type = DistributedType.FSDP  # Accelerate refreshes its state from here
    if accelerator.distributed_type == DistributedType.FSDP and not accelerator.is_fsdp2:
        raise RecipeError(
            "FSDP 1 is not supported", where="the accelerate file", expected="fsdp_config: {fsdp_version: 2}"
        )
    return accelerator


def check_setup(accelerator: Any, settings: TrainSection, steps: Sequence[Sequence[Pack]], *, keep: str) -> None:
    """Refuse what this kind of sharing cannot do; `keep` is `watch.keep` of a run that measures. Raises RecipeError."""
    kind = accelerator.distributed_type
    if kind in (DistributedType.FSDP, DistributedType.DEEPSPEED) and settings.optimizer not in _OF_TORCH:
        raise RecipeError(
            f"{settings.optimizer} cannot work on weights or state that {kind.value} cuts into shards",
            where="train.optimizer",
            expected=f"one of {', '.join(sorted(_OF_TORCH))}; or processes that each hold the model (ddp.yaml)",
        )
    most = max((len(step) for step in steps), default=0)
    if kind == DistributedType.DEEPSPEED and most > accelerator.num_processes:
        raise RecipeError(
            f"a step has {most} packs for {accelerator.num_processes} processes, and DeepSpeed takes one each",
            where="train.packs_per_step",
            expected=f"{accelerator.num_processes} or fewer; FSDP2 (fsdp2.yaml) accumulates any number",
        )
    if not can_checkpoint(accelerator) and keep != "last":
        raise RecipeError(
            "DeepSpeed keeps no checkpoints, so a run can only end with its last weights",
            where="watch.keep",
            expected="last",
        )


def prepare(accelerator: Any, model: Any, optimizer: Any, settings: TrainSection) -> tuple[Any, Any]:
    """`accelerator.prepare`, after telling DeepSpeed what it wants to know and a recipe says."""
    if accelerator.distributed_type == DistributedType.DEEPSPEED:
        config = accelerator.state.deepspeed_plugin.deepspeed_config
        config["train_micro_batch_size_per_gpu"] = 1
        config["gradient_clipping"] = settings.clip_norm
    model, optimizer = accelerator.prepare(model, optimizer)
    return model, optimizer


def can_checkpoint(accelerator: Any) -> bool:
    """Whether the whole state can be saved: DeepSpeed writes its own by pickle, which slm never loads."""
    return bool(accelerator.distributed_type != DistributedType.DEEPSPEED)


def accumulates_apart(accelerator: Any) -> bool:
    """Whether gradients of several packs are added up before processes exchange them.

    Not under FSDP2: every process would hold whole gradients, and exchanging them is little beside gathering weights.
    """
    return accelerator.distributed_type not in (DistributedType.FSDP, DistributedType.DEEPSPEED)
