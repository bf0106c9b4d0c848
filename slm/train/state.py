"""All that a training must remember, as whole tensors on the CPU, whatever device, optimizer or sharding it runs on."""

import math
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor

from slm.errors import JobError


@dataclass(frozen=True)
class State:
    """Everything but the position.

    `weights` are the trained parameters by name; `optimizer` and `numbers` its state as `<parameter>/<name>`, tensors
    and plain values apart; `random` has a row for each process: [processes, length] int64.
    """

    weights: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    numbers: dict[str, int | float | None]
    random: dict[str, Tensor]


def trained_parameters(model: Any) -> dict[str, Tensor]:
    """The parameters that are trained, by name. `model` is not wrapped by DDP; under FSDP2 they are shards."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def collect_weights(accelerator: Any, model: Any) -> dict[str, Tensor]:
    """The trained parameters, whole and on the CPU, in the main process; elsewhere {}. Every process must call it."""
    if accelerator.distributed_type == "DEEPSPEED":
        full = accelerator.get_state_dict(model) or {}
        trained = set(trained_parameters(accelerator.unwrap_model(model)))
        return {name: _on_cpu(value) for name, value in full.items() if name in trained}
    parameters = trained_parameters(accelerator.unwrap_model(model))
    return _gather(parameters, keep=accelerator.is_main_process)


def collect(accelerator: Any, model: Any, optimizer: Any) -> State:
    """The whole state in the main process, elsewhere an empty one. Every process must call it."""
    named: dict[str, Any] = {}
    states = _inner(optimizer).state
    for name, parameter in trained_parameters(accelerator.unwrap_model(model)).items():
        named.update({f"{name}/{key}": value for key, value in states.get(parameter, {}).items()})
    tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
    return State(
        collect_weights(accelerator, model),
        _gather(tensors, keep=accelerator.is_main_process),
        {name: value for name, value in named.items() if name not in tensors},
        {
            name: accelerator.gather(value.to(accelerator.device)[None]).cpu()
            for name, value in random_state(accelerator.device).items()
        },
    )


def restore(state: State, accelerator: Any, model: Any, optimizer: Any, *, chance: bool) -> None:
    """Put `state` back; the inverse of `collect`, in every process.

    `chance`: whether a forward pass draws random numbers. Raises JobError where the state does not fit the model, or is
    of another number of processes and their random numbers would be needed.
    """
    restore_weights(state.weights, accelerator, model)
    parameters = trained_parameters(accelerator.unwrap_model(model))
    by_parameter: dict[str, dict[str, Any]] = {}
    for name, value in {**state.optimizer, **state.numbers}.items():
        parameter, _, key = name.rpartition("/")
        by_parameter.setdefault(parameter, {})[key] = value
    _restore_optimizer(_inner(optimizer), {parameters[name]: value for name, value in by_parameter.items()})
    processes = state.random["torch"].shape[0]
    if processes == accelerator.num_processes:
        mine = {name: rows[accelerator.process_index] for name, rows in state.random.items()}
        set_random_state(mine, accelerator.device)
    elif chance:
        raise JobError(
            f"it is of {processes} processes and now there are {accelerator.num_processes}: what dropout or noise "
            f"draws in each cannot continue\n  try: the same command with {processes} processes"
        )


def restore_weights(weights: dict[str, Tensor], accelerator: Any, model: Any) -> None:
    """Put the trained parameters back. Raises JobError where they are not those of `model`."""
    parameters = trained_parameters(accelerator.unwrap_model(model))
    fits = parameters.keys() == weights.keys()
    if not fits or any(parameters[name].shape != value.shape for name, value in weights.items()):
        raise JobError("it does not fit this model")
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(_like(weights[name], parameter))


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The state of every source of chance in this process, as int64 vectors."""
    _, words, gauss = random.getstate()
    legacy: Any = np.random.get_state(legacy=True)
    _, keys, position, has_gauss, cached = legacy
    state = {
        "torch": torch.get_rng_state().long(),
        # A float as the integer of the same bits; NaN stands for None.
        "python": torch.tensor([*words, _bits(float("nan") if gauss is None else gauss)]),
        "numpy": torch.tensor([*keys.tolist(), position, has_gauss, _bits(cached)]),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device).long()
    return state


def set_random_state(state: dict[str, Tensor], device: torch.device) -> None:
    """Put back what `random_state` gave."""
    torch.set_rng_state(state["torch"].byte())
    *words, gauss_bits = state["python"].tolist()
    gauss = _float(gauss_bits)
    random.setstate((3, tuple(words), None if math.isnan(gauss) else gauss))
    *keys, position, has_gauss, cached = state["numpy"].tolist()
    np.random.set_state(("MT19937", np.array(keys, np.uint32), position, has_gauss, _float(cached)))
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].byte(), device)


def has_dropout(model: Any) -> bool:
    """Whether a forward pass in training drops values at random."""
    layers = any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in model.modules())
    return layers or bool(getattr(model.config, "attention_dropout", 0.0))


def _restore_optimizer(optimizer: Any, states: dict[Tensor, dict[str, Any]]) -> None:
    if hasattr(optimizer, "init_state"):  # bitsandbytes, whose own loading casts float32 state and forgets paging
        _fill_bitsandbytes(optimizer, states)
        return
    current = optimizer.state_dict()
    numbers = [number for group in current["param_groups"] for number in group["params"]]
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {
        number: {key: _like(value, parameter) for key, value in states[parameter].items()}
        for number, parameter in zip(numbers, parameters, strict=True)
        if parameter in states
    }
    optimizer.load_state_dict({"state": state, "param_groups": current["param_groups"]})


def _fill_bitsandbytes(optimizer: Any, states: dict[Tensor, dict[str, Any]]) -> None:
    for group_number, group in enumerate(optimizer.param_groups):
        for number, parameter in enumerate(group["params"]):
            if parameter not in states:
                continue
            optimizer.init_state(group, parameter, group_number, number)
            for key, value in states[parameter].items():
                if isinstance(value, Tensor):
                    optimizer.state[parameter][key].copy_(value)
                else:
                    optimizer.state[parameter][key] = value


def _gather(tensors: dict[str, Tensor], *, keep: bool) -> dict[str, Tensor]:
    """Whole CPU tensors, each with memory of its own, as safetensors asks; {} unless `keep`."""
    whole: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor  # every process takes part
        if keep:
            plain = _on_cpu(full)
            # bitsandbytes shares one table of 8-bit values among all parameters.
            whole[name] = plain.clone() if plain.data_ptr() in seen else plain
            seen.add(plain.data_ptr())
    return whole


def _like(value: Any, parameter: Tensor) -> Any:
    """A whole tensor, cut up as `parameter` is where it has its shape. Each process has the whole, so none sends."""
    if isinstance(parameter, DTensor) and isinstance(value, Tensor) and value.shape == parameter.shape:
        mesh = parameter.device_mesh
        return distribute_tensor(value.to(mesh.device_type), mesh, parameter.placements, src_data_rank=None)
    return value


def _on_cpu(tensor: Tensor) -> Tensor:
    return tensor.detach().cpu().contiguous()


def _inner(optimizer: Any) -> Any:
    """The optimizer that Accelerate wraps."""
    return getattr(optimizer, "optimizer", optimizer)


def _bits(value: float) -> int:
    return int(torch.tensor(value, dtype=torch.float64).view(torch.int64))


def _float(bits: int) -> float:
    return float(torch.tensor(bits, dtype=torch.int64).view(torch.float64))
