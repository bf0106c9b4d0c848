"""The memory of a training step, by what it is for: the real step, of the real model and packs, on the meta device."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from slm.recipe import Recipe
from slm.train.loss import summed_loss
from slm.train.optimizer import build_optimizer
from slm.train.pack import Pack, PackTensors, to_tensors
from slm.train.plan.stand_ins import DeviceFunctions, counted_arena, library_stand_ins, scratch_bytes
from slm.train.plan.tracker import Kind, MemoryTracker
from slm.train.prepare import compute_dtype

# Bytes that an allocation is rounded up to: by PyTorch on a GPU, and its alignment on a CPU.
_GRANULE = {True: 512, False: 64}
_META = torch.device("meta")


def step_memory(
    model: Any, recipe: Recipe, packs: Sequence[Pack], *, on_gpu: bool, accumulates: bool
) -> dict[Kind, int]:
    """Bytes by kind at the moment of optimizer steps over `packs` with the most, the optimizer's state being there.

    On a CPU `kept` are those of the arena, which never shrinks. `model` is of `planned_model`. `accumulates`: whether a
    process has gradients of one pack while it computes the next.
    """
    config = model.config
    full = recipe.train.method == "full"
    autocast = full and recipe.model.dtype == "bfloat16"
    dtype = compute_dtype(model, recipe)
    tracker = MemoryTracker(
        vocabulary=config.vocab_size,
        granule=_GRANULE[on_gpu],
        stand_ins=library_stand_ins(on_gpu=on_gpu),
        scratch=None if on_gpu else scratch_bytes,
    )
    trainable = [value for value in model.parameters() if value.requires_grad]
    tracker.own(frozen_tensors(model), "weights")
    tracker.own(trainable, "weights" if full else "adapter")
    for value in trainable:
        value.register_post_accumulate_grad_hook(lambda of: tracker.own([of.grad], "gradients"))
    optimizer = _optimizer(model, recipe, on_gpu=on_gpu)
    model.train()
    with tracker, DeviceFunctions(on_gpu=on_gpu, autocast=autocast), counted_arena(tracker):
        _fill_state(optimizer, trainable, tracker)
        for pack in packs:
            if accumulates:
                _zero_gradients(trainable, tracker)
            tracker.phase = "activations"
            loss = summed_loss(model, config, _placed(to_tensors(pack), on_gpu=on_gpu), dtype=dtype)
            tracker.phase = "working"
            _backward(loss / pack.target_tokens)
            del loss
            torch.nn.utils.clip_grad_norm_(trainable, recipe.train.clip_norm)
            optimizer.step()
            optimizer.zero_grad()
    return tracker.peak | {"kept": tracker.most_kept}


def frozen_tensors(model: Any) -> Iterator[Tensor]:
    """Weights that are not trained, buffers, and the scales of quantized weights."""
    for value in model.parameters():
        if value.requires_grad:
            continue
        yield value
        state = getattr(value, "quant_state", None)
        if state is not None:
            yield from (state.absmax, state.code, state.offset, state.state2.absmax, state.state2.code)
        if (scales := getattr(value, "SCB", None)) is not None:
            yield scales
    yield from model.buffers()


def _optimizer(model: Any, recipe: Recipe, *, on_gpu: bool) -> Any:
    """The recipe's; a paged one as what it pages, which lies on the GPU until memory runs out."""
    paged = {"paged-adamw": "adamw", "paged-adamw-8bit": "adamw-8bit"}
    train = recipe.train
    train = train.model_copy(update={"optimizer": paged.get(train.optimizer, train.optimizer)})
    optimizer = build_optimizer(model, train, recipe.lora)
    if on_gpu and type(optimizer).__module__.startswith("torch."):
        for group in optimizer.param_groups:  # torch would choose so itself on a GPU, but not on the meta device
            group["foreach"] = True
    return optimizer


def _fill_state(optimizer: Any, trainable: Sequence[Tensor], tracker: MemoryTracker) -> None:
    """Take one step, after which the state is there."""
    _zero_gradients(trainable, tracker)
    optimizer.step()
    optimizer.zero_grad()
    state = [value for values in optimizer.state.values() for value in values.values() if isinstance(value, Tensor)]
    tracker.own(state, "optimizer")


def _zero_gradients(trainable: Sequence[Tensor], tracker: MemoryTracker) -> None:
    for value in trainable:
        value.grad = torch.zeros_like(value)
        tracker.own([value.grad], "gradients")


def _placed(tensors: PackTensors, *, on_gpu: bool) -> PackTensors:
    """A pack whose layout and labels say what device is meant: real ones the CPU, shapes alone a GPU."""
    if not on_gpu:
        return tensors
    labels = torch.empty_like(tensors.labels, device=_META)
    if tensors.layout is None:
        return replace(tensors, labels=labels)
    shape = (len(tensors.layout),)
    layout = type(tensors.layout)(*(torch.empty(shape, dtype=torch.long, device=_META) for _ in range(3)))
    return replace(tensors, labels=labels, layout=layout)


def _backward(loss: Tensor) -> None:
    # Not `loss.backward()`, within which a function mode is off, also for layers that are computed once more.
    torch.autograd.graph._engine_run_backward(
        (loss,), (torch.ones_like(loss),), False, False, (), allow_unreachable=True, accumulate_grad=True
    )
