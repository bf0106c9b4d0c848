"""Whether an exported model has the weights that it should have, each as near as its precision allows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# What one rounding changes a number by at most, as a share of it. A merged weight may be rounded twice (the product of
# the adapter's matrices, then the sum), and float32 sums come in another order on another machine.
_ROUNDING = {torch.float32: 2.0**-17, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
_ROUNDINGS = 2


@dataclass(frozen=True)
class Deviation:
    """The tensor that is farthest beyond what its precision explains.

    `deviation` is its root mean square error, `largest` its largest error, both as shares of the reference's root mean
    square; `allowed` and `allowed_largest` are the bounds.
    """

    name: str
    deviation: float
    largest: float
    allowed: float
    allowed_largest: float


@dataclass(frozen=True)
class Weights:
    """`compared` tensors; `unlike`: a name or shape that only one of them has; `worst`: the worst that is too far."""

    compared: int
    unlike: str | None
    worst: Deviation | None


@torch.no_grad()
def compare_weights(
    reference: Any, model: Any, *, rows: Sequence[int] | None = None, bits: int | None = None
) -> Weights:
    """Compare every weight of `model` with `reference`, a model with unquantized weights, name by name.

    What a tensor may differ by follows from how it is stored: one rounding to the narrowest type that holds its values,
    or the steps of its quantization. `bits` are those of a GGUF file's matrices, whose tensors no longer say so; layers
    of bitsandbytes do. `rows`: where the vocabulary is trimmed, the reference's row of each of its rows.
    """
    expected = dict(_weights(reference))
    found = dict(_weights(model))
    if different := sorted(expected.keys() ^ found.keys()):
        owner = "the reference" if different[0] in expected else "the form"
        return Weights(0, f"only {owner} has {different[0]}", None)
    deviations = []
    for name, (value, own_bits) in found.items():
        wanted = expected[name][0]
        if rows is not None and value.shape[0] != wanted.shape[0]:
            # A trimmed vocabulary; rows beyond it only fill the matrix up.
            wanted, value = wanted[torch.tensor(rows)], value[: len(rows)]
        if value.shape != wanted.shape:
            return Weights(0, f"{name} is {tuple(value.shape)} where the reference has {tuple(wanted.shape)}", None)
        deviations.append(_deviation(name, value, wanted, own_bits or (bits if value.ndim > 1 else None)))
    worst = max(deviations, key=_excess, default=None)
    return Weights(len(deviations), None, worst if worst is not None and _excess(worst) > 1 else None)


def _weights(model: Any) -> Iterator[tuple[str, tuple[Tensor, int | None]]]:
    """(name, (value, bits of a quantized one)) of every parameter, those of bitsandbytes as what they stand for."""
    for path, module in model.named_modules():
        for name, parameter in module.named_parameters(path, recurse=False):
            kind = type(module).__name__
            if kind == "Linear4bit" and name.endswith("weight"):
                from bitsandbytes.functional import dequantize_4bit

                yield name, (dequantize_4bit(parameter.data, parameter.quant_state).cpu(), 4)
            elif kind == "Linear8bitLt" and name.endswith("weight"):
                from bitsandbytes.functional import int8_vectorwise_dequant

                scales = module.state.SCB if module.state.SCB is not None else parameter.SCB
                yield name, (int8_vectorwise_dequant(parameter.data, scales).cpu(), 8)
            else:
                yield name, (parameter.data.cpu(), None)


def _deviation(name: str, value: Tensor, wanted: Tensor, bits: int | None) -> Deviation:
    value, wanted = value.float(), wanted.float()
    size = float(wanted.square().mean().sqrt()) or 1.0
    error = (value - wanted).abs()
    # One number that is not finite makes every figure of its tensor infinite.
    error = error.nan_to_num(float("inf"), float("inf"), float("inf"))
    if bits is None:
        step = _ROUNDINGS * max(_rounding(value), _rounding(wanted))
        # An element may be off by its own rounding and by that of a sum of numbers as large as the others.
        beyond = error / (step * (wanted.abs() + size))
        allowed, allowed_largest = step * 2, float((step * (wanted.abs().max() + size)) / size)
        # The largest error is taken where it is farthest beyond the bound of its own element.
        largest = float(beyond.max()) * allowed_largest
    else:
        peak = float(wanted.abs().max()) / size
        # Even steps in blocks, each scaled by its largest number, about 2.8 times the root mean square: 2^bits steps.
        # Root mean square error: a step / √12; the largest: half a step, with NF4's uneven ones up to 0.16.
        allowed, allowed_largest = 3.2 / 2**bits + 0.03, max(2.7 / 2**bits, 0.01) * peak
        largest = float(error.max()) / size
    return Deviation(name, float(error.square().mean().sqrt()) / size, largest, allowed, allowed_largest)


def _excess(deviation: Deviation) -> float:
    return max(deviation.deviation / deviation.allowed, deviation.largest / deviation.allowed_largest)


def _rounding(value: Tensor) -> float:
    """The rounding of the narrowest type that holds these numbers: a model may be loaded in a wider one."""
    narrow = (torch.bfloat16, torch.float16)
    return next((_ROUNDING[dtype] for dtype in narrow if torch.equal(value.to(dtype).float(), value)), 2.0**-17)
