"""RMSNorm and the gated activation with their gradients by hand: what they give is computed again, not kept.

The layer behind finds on the tensor how it is made (`AGAIN`), from tensors that the norm or activation keeps itself.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from slm.models.arena import forgetting, keep, kept

# Attribute of a tensor that a layer is given: its Again, and the tensors to compute it from.
AGAIN = "slm_again"
# RMSNorm by class name: what is added to the weight, and the name of its epsilon.
NORMS = {
    "LlamaRMSNorm": (0.0, "variance_epsilon"),
    "Qwen2RMSNorm": (0.0, "variance_epsilon"),
    "Qwen3RMSNorm": (0.0, "variance_epsilon"),
    "Phi3RMSNorm": (0.0, "variance_epsilon"),
    "Gemma2RMSNorm": (1.0, "eps"),
    "Gemma3RMSNorm": (1.0, "eps"),
}
GATED = {"LlamaMLP", "Qwen2MLP", "Qwen3MLP", "Gemma2MLP", "Gemma3MLP"}
GATED_IN_ONE = {"Phi3MLP"}


class Again:
    """How a layer's input, which is not kept, is computed once more: by `make`, from tensors that are kept anyway.

    `shared` is what `make` left for the next step of the same backward pass.
    """

    __slots__ = ("make", "shared")

    def __init__(self, make: Callable[..., Tensor]) -> None:
        self.make = make
        self.shared: Tensor | None = None


def norm_forward(self: Any, x: Tensor) -> Tensor:
    """The forward of a norm in `NORMS` whose weight is frozen."""
    offset, epsilon = NORMS[type(self).__name__]
    weight = self.weight if offset == 0 else self.weight.float() + offset
    y: Tensor
    with forgetting(not x.requires_grad):
        again, inside = Again(_normed_again), keep(x)
        y, inverse = _Norm.apply(x, inside, weight, getattr(self, epsilon))  # type: ignore[no-untyped-call]
    setattr(y, AGAIN, (again, (inside, weight, inverse)))
    return y


def _normed(x: Tensor, weight: Tensor, inverse: Tensor) -> Tensor:
    return (x.float() * inverse).mul_(weight).to(x.dtype)


def _normed_again(_again: Again, x: Tensor, weight: Tensor, inverse: Tensor) -> Tensor:
    return _normed(x, weight, inverse)


class _Norm(torch.autograd.Function):
    """RMSNorm with a frozen weight, over the last dimension, in float32: w x / √(mean(x²) + ε); and 1 / √(…).

    `inside` is x as it is kept for the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, inside: Tensor, weight: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        inverse = kept((*x.shape[:-1], 1), x, torch.float32)
        torch.linalg.vector_norm(x.float(), dim=-1, keepdim=True, out=inverse)
        inverse.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(inside, weight, inverse)
        ctx.mark_non_differentiable(inverse)
        return _normed(x, weight, inverse), inverse

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        full = x.float()
        inner = grad * weight.float()
        along = torch.linalg.vecdot(inner, full)[..., None]
        along.mul_(inverse).mul_(inverse).mul_(inverse).div_(x.shape[-1])
        return inner.mul_(inverse).addcmul_(full, along, value=-1).to(x.dtype), None, None, None


def find_activation(module: Any) -> tuple[Callable[..., Tensor], Callable[..., Tensor], dict[str, Any]] | None:
    """(function, its gradient, options) of a gated layer's activation, where it is known."""
    name = getattr(module.config, "hidden_activation", None) or getattr(module.config, "hidden_act", None)
    if name == "silu":
        return torch.ops.aten.silu, torch.ops.aten.silu_backward, {}
    if name == "gelu_pytorch_tanh":
        return torch.ops.aten.gelu, torch.ops.aten.gelu_backward, {"approximate": "tanh"}
    return None


def gated_forward(self: Any, x: Tensor) -> Tensor:
    """The forward of a layer in `GATED` whose activation is known."""
    y: Tensor = self.down_proj(_gated(self.gate_proj(x), self.up_proj(x), self))
    return y


def gated_in_one_forward(self: Any, hidden_states: Tensor) -> Tensor:
    """The forward of a layer in `GATED_IN_ONE` whose activation is known."""
    gate, up = self.gate_up_proj(hidden_states).chunk(2, dim=-1)
    y: Tensor = self.down_proj(_gated(gate, up, self))
    return y


def _gated(gate: Tensor, up: Tensor, module: Any) -> Tensor:
    activation = find_activation(module)
    with forgetting(not gate.requires_grad and not up.requires_grad):
        inside = keep(gate), keep(up)
    again = Again(partial(_gated_again, activation))
    y: Tensor = _Gated.apply(gate, up, inside, activation, again)  # type: ignore[no-untyped-call]
    setattr(y, AGAIN, (again, inside))
    return y


def _gated_again(activation: Any, again: Again, gate: Tensor, up: Tensor) -> Tensor:
    function, _, options = activation
    again.shared = function(gate, **options)
    return again.shared * up


class _Gated(torch.autograd.Function):
    """activation(gate) · up; the activation is computed again in the backward pass instead of kept.

    `inside` are gate and up as they are kept.
    """

    @staticmethod
    def forward(
        ctx: Any, gate: Tensor, up: Tensor, inside: tuple[Tensor, Tensor], activation: Any, again: Again
    ) -> Tensor:
        function, _, options = activation
        ctx.save_for_backward(*inside)
        ctx.activation, ctx.again = activation, again
        out: Tensor = function(gate, **options)
        return out.mul_(up)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gate, up = ctx.saved_tensors
        function, gradient, options = ctx.activation
        activated, ctx.again.shared = ctx.again.shared, None
        if activated is None:  # the layer behind did not need it
            activated = function(gate, **options)
        return gradient(grad * up, gate, **options), activated.mul_(grad), None, None, None
