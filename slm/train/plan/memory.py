"""What a training takes of its device, part by part, and what serving its model would."""

import gc
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from slm.models.allocator import return_freed_memory
from slm.models.frozen import widened
from slm.models.lora import plain_model
from slm.recipe import Recipe
from slm.records import Record
from slm.train.pack import Pack
from slm.train.peak import resident_bytes
from slm.train.plan.hardware import Device
from slm.train.plan.packs import demanding
from slm.train.plan.step import frozen_tensors, step_memory
from slm.train.plan.tracker import MemoryTracker

_WARM_UP = 1152  # rows of the product that the first one is


class Memory(Record):
    """Bytes of one process at the moment that takes the most.

    `activations` are what the forward pass leaves to the backward pass, `working` what is there for a moment, `process`
    what the process takes without any tensor: on a CPU measured in this one, on a GPU the sheet's assumption.
    """

    weights: int
    adapter: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    working: int
    process: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.model_dump().values())


class ServingMemory(Record):
    """Bytes of answering `generate.batch_size` questions at once, each with the longest context, nothing shared.

    `kv_cache` is for contexts, questions and answers of full length; slm's own backend, which keeps a context once for
    all its questions, takes less. `working`: of reading one such prompt.
    """

    weights: int
    adapter: int
    kv_cache: int
    working: int
    process: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(self.model_dump().values())


def training_memory(
    model: Any, recipe: Recipe, steps: Sequence[Sequence[Pack]], device: Device, *, processes: int, sharded: bool
) -> Memory:
    """What one of `processes` takes while it trains `model`, of `planned_model`, on `steps`.

    `sharded`: each holds a share of the weights, gradients and optimizer state (FSDP2), and gathers a layer at a time.
    """
    packs = demanding([pack for step in steps for pack in step])
    accumulates = max(len(step) for step in steps) > processes
    found = step_memory(model, recipe, packs, on_gpu=device.on_gpu, accumulates=accumulates)
    weights, adapter, gradients, optimizer = (found[kind] for kind in ("weights", "adapter", "gradients", "optimizer"))
    if sharded and processes > 1:
        weights = _shared_out(model, processes)
        adapter, gradients, optimizer = (-(-size // processes) for size in (adapter, gradients, optimizer))
    elif processes > 1:
        gradients += _bytes_of(value for value in model.parameters() if value.requires_grad)  # DDP's buckets
    return Memory(
        weights=weights,
        adapter=adapter,
        gradients=gradients,
        optimizer=optimizer,
        activations=found["activations"] + found["kept"],
        logits=found["logits"],
        working=found["working"],
        process=_process_bytes(device),
    )


def serving_memory(model: Any, recipe: Recipe, prompt_tokens: int, device: Device) -> ServingMemory:
    """What answering takes; `prompt_tokens` are those of the longest context with its question."""
    config = model.config
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    dtype = getattr(torch, recipe.model.dtype)
    of_token = 2 * config.num_hidden_layers * config.num_key_value_heads * size * dtype.itemsize
    settings = recipe.generate
    trained = [value for value in model.parameters() if value.requires_grad]
    with widened(model):
        frozen = _bytes_of(frozen_tensors(model))
        working = _prompt_bytes(model, prompt_tokens, on_gpu=device.on_gpu)
    return ServingMemory(
        weights=frozen if recipe.train.method == "lora" else _bytes_of(trained) + frozen,
        adapter=_bytes_of(trained) if recipe.train.method == "lora" else 0,
        kv_cache=settings.batch_size * (prompt_tokens + settings.max_new_tokens) * of_token,
        working=working,
        process=_process_bytes(device),
    )


def _prompt_bytes(model: Any, tokens: int, *, on_gpu: bool) -> int:
    """The most that is there at once while a prompt is read, beside weights and cache."""
    from slm.train.plan.stand_ins import DeviceFunctions, library_stand_ins

    tracker = MemoryTracker(stand_ins=library_stand_ins(on_gpu=on_gpu))
    model.eval()
    ids = torch.zeros(1, tokens, dtype=torch.long)
    with tracker, DeviceFunctions(on_gpu=on_gpu), torch.no_grad():
        model(input_ids=ids, position_ids=torch.arange(tokens)[None], use_cache=False, logits_to_keep=1)
    return sum(tracker.peak.values())


def _shared_out(model: Any, processes: int) -> int:
    """A share of all weights; whole, what stands outside of the layers, and a layer with the next one on its way."""
    layers = [_bytes_of(_weights(layer)) for layer in plain_model(model).get_decoder().layers]
    everything = _bytes_of(_weights(model))
    return -(-everything // processes) + (everything - sum(layers)) + 2 * max(layers)


def _weights(module: Any) -> Iterable[Tensor]:
    yield from frozen_tensors(module)
    yield from (value for value in module.parameters() if value.requires_grad)


def _bytes_of(tensors: Iterable[Tensor]) -> int:
    storages = {storage._cdata: storage.nbytes() for storage in (tensor.untyped_storage() for tensor in tensors)}
    return sum(storages.values())


def _process_bytes(device: Device) -> int:
    if device.on_gpu:
        return device.context_bytes
    # A first product, and what the library for products keeps for itself is there; 3 GFLOP.
    side = torch.ones(_WARM_UP, _WARM_UP)
    torch.mm(side, side)
    del side
    gc.collect()
    return_freed_memory()
    return resident_bytes()
