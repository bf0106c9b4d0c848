"""The small steps of a transformer layer with their gradients by hand: LoRA, RMSNorm and the gated activation.

Autograd keeps every intermediate result and walks over memory once for each operation. On a CPU these passes, not the
matrix products, were half of a training step. Written out, each keeps only its inputs and works in place; what a norm
or an activation gives is not kept for the layer behind it, but computed again from what they keep themselves. The
results are those of PEFT and transformers up to rounding, which the tests hold for every architecture. Where a module
is not of a known kind, or its weights are trained themselves, it is left as it is.
"""

from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn

from slm.models.again import (
    AGAIN,
    GATED,
    GATED_IN_ONE,
    NORMS,
    Again,
    find_activation,
    gated_forward,
    gated_in_one_forward,
    norm_forward,
)
from slm.models.arena import keep, kept
from slm.models.frozen import fuse_embedding, is_marked, known_embedding, wide, widen
from slm.models.head_loss import fuse_head

# Linear layers of one module that are given the same input.
_SIBLINGS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


def fuse(model: Any) -> None:
    """Give the known modules of a model that is trained with LoRA, or not at all, their fused forward.

    Of the weights that were loaded as they are stored, only those of these modules stay so; others become wide.
    """
    head = fuse_head(model)
    from peft.tuners.lora import Linear as LoraLinear

    linear = (module for module in model.modules() if type(module) is nn.Linear and is_marked(module))
    frozen: list[Any] = [module for module in linear if module is not model.get_output_embeddings()]
    for module in model.modules():
        name = type(module).__name__
        if isinstance(module, LoraLinear) and _plain(module):
            _replace(module, _lora_forward)
            setattr(module, _TOGETHER, _Together([module]))
        elif name in NORMS and not module.weight.requires_grad:
            _replace(module, norm_forward)
        elif name in GATED | GATED_IN_ONE and find_activation(module) is not None:
            _replace(module, gated_forward if name in GATED else gated_in_one_forward)
            for layer in [module.gate_proj, module.up_proj] if name in GATED else [module.gate_up_proj]:
                setattr(layer, _OUTPUT_KEPT, True)
    for module in model.modules():
        for names in _SIBLINGS:
            layers = [getattr(module, name) for name in names if hasattr(getattr(module, name, None), _TOGETHER)]
            together = _Together(layers)
            for layer in layers:
                setattr(layer, _TOGETHER, together)
    for module in frozen:
        _replace(module, _frozen_forward)
    widen(model, but=[*(module.weight for module in frozen), *_head_and_embedding(model, head_fused=head)])


def _head_and_embedding(model: Any, *, head_fused: bool) -> list[Tensor]:
    """Their weights, which are often one and the same, as far as all that use them can widen them."""
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    tied = head.weight is embedding.weight
    found = [head.weight] if head_fused and not tied else []
    if known_embedding(embedding) and (head_fused or not tied):
        fuse_embedding(embedding)
        found.append(embedding.weight)
    return found


def _replace(module: Any, forward: Callable[..., Tensor]) -> None:
    module.forward = MethodType(forward, module)


def _frozen_forward(self: Any, x: Tensor) -> Tensor:
    y: Tensor = _Frozen.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
    return y


class _Frozen(torch.autograd.Function):
    """y = x Wᵀ + bias, both frozen; W as it is stored is what is kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return nn.functional.linear(x, wide(weight, x), bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        return grad @ wide(weight, grad) if ctx.needs_input_grad[0] else None, None, None


class _Together:
    """LoRA layers with the same input, computed by whichever is called first; the others then take their outputs.

    Narrow products with the adapters are slow one by one, and the gradient of the input is added up in place.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        self.layers = layers
        self._input: Tensor | None = None
        self._outputs: dict[Any, Tensor] = {}

    def output(self, layer: Any, x: Tensor) -> Tensor:
        """What `layer` makes of `x`."""
        if self._input is not x or layer not in self._outputs:
            # Nothing is remembered before it is there: recomputing ends layers in the middle, by an exception.
            outputs = dict(zip(self.layers, _lora(self.layers, x), strict=True))
            self._input, self._outputs = x, outputs
        y = self._outputs.pop(layer)
        if not self._outputs:
            self._input = None
        return y


# Attribute of a LoRA layer: its _Together.
_TOGETHER = "slm_together"
# Attribute of a layer whose output the backward pass needs.
_OUTPUT_KEPT = "slm_output_kept"


def _plain(module: Any) -> bool:
    """Whether PEFT would compute just base + B·A: one adapter, no variant, no dropout, plain frozen weights."""
    names = list(module.lora_A)
    base = module.base_layer
    return (
        len(names) == 1
        and not module.lora_variant
        and isinstance(module.lora_dropout[names[0]], nn.Identity)
        and type(base) is nn.Linear
        and not base.weight.requires_grad
        and not module.fan_in_fan_out
        and not module.lora_bias[names[0]]
    )


def _lora_forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if self.disable_adapters or self.merged or args or kwargs:
        plain: Tensor = type(self).forward(self, x, *args, **kwargs)
        return plain
    together: _Together = getattr(self, _TOGETHER)
    return together.output(self, x)


def _lora(layers: Sequence[Any], x: Tensor) -> tuple[Tensor, ...]:
    name = layers[0].active_adapters[0]
    bases = [layer.base_layer for layer in layers]
    # The adapter is kept in float32 and, as under autocast, computed in what the layer is computed in.
    pairs = [(layer.lora_A[name].weight.to(x.dtype), layer.lora_B[name].weight.to(x.dtype)) for layer in layers]
    ys: tuple[Tensor, ...] = _Lora.apply(  # type: ignore[no-untyped-call]
        x,
        getattr(x, AGAIN, None),
        any(getattr(layer, _OUTPUT_KEPT, False) for layer in layers),
        [(base.weight, base.bias, layer.scaling[name]) for base, layer in zip(bases, layers, strict=True)],
        *(a for a, _ in pairs),
        *(b for _, b in pairs),
    )
    return ys


class _Lora(torch.autograd.Function):
    """y = x Wᵀ + bias + s (x Aᵀ) Bᵀ for each layer, W frozen; x [..., in], W [out, in], A [rank, in], B [out, rank].

    `again` is how x is computed once more, and from what; without it x is kept for the backward pass. The adapters'
    narrow products stand side by side: A and x Aᵀ are those of all layers.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, again: tuple[Again, Sequence[Tensor]] | None, output_kept: bool,
        frozen: Sequence[tuple[Tensor, Tensor | None, float]], *adapters: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        downs, ups = adapters[: len(frozen)], adapters[len(frozen) :]
        rows, down = x.flatten(0, -2), downs[0] if len(downs) == 1 else torch.cat(downs)
        low = torch.mm(rows, down.t(), out=kept((len(rows), len(down)), x))
        ctx.ranks = [len(one) for one in downs]
        ys = []
        for (weight, bias, scale), up, part in zip(frozen, ups, torch.split(low, ctx.ranks, 1), strict=True):
            shape = (*x.shape[:-1], len(weight))
            y = kept(shape, x) if output_kept else x.new_empty(shape)
            torch.mm(rows, wide(weight, x).t(), out=y.view(-1, len(weight)))
            if bias is not None:
                y += bias
            y.view(-1, len(weight)).addmm_(part, up.t(), alpha=scale)
            ys.append(y)
        ctx.again, parts = (None, [keep(x)]) if again is None else again
        weights = [weight for weight, _, _ in frozen]
        ctx.save_for_backward(low, down, *weights, *ups, *parts)
        ctx.scales = [scale for _, _, scale in frozen]
        return tuple(ys)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        low, down, *others = ctx.saved_tensors
        count = len(grads)
        weights, ups, parts = others[:count], others[count : 2 * count], others[2 * count :]
        x = parts[0] if ctx.again is None else ctx.again.make(ctx.again, *parts)
        rows = [grad.flatten(0, -2) for grad in grads]
        grad_low, grad_ups = torch.empty_like(low), []
        layers = zip(
            rows, ups, ctx.scales, torch.split(low, ctx.ranks, 1), torch.split(grad_low, ctx.ranks, 1), strict=True
        )
        for grad, up, scale, part, grad_part in layers:
            torch.mm(grad, up, out=grad_part).mul_(scale)
            grad_ups.append((part.t() @ grad).mul_(scale).t())  # this way round the product is twice as fast
        grad_downs = torch.split(grad_low.t() @ x.flatten(0, -2), ctx.ranks)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = rows[0] @ wide(weights[0], x)
            for grad, weight in zip(rows[1:], weights[1:], strict=True):
                grad_x.addmm_(grad, wide(weight, x))
            grad_x = grad_x.addmm_(grad_low, down).view(x.shape)
        return grad_x, None, None, None, *grad_downs, *grad_ups
