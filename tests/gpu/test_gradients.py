"""On the GPU, too, packing must not change the gradient, whichever kernel attends."""

from typing import Any, Literal

import pytest
import torch

from slm.models.gpu_attention import dense, flex
from slm.models.packed_attention import PackPlan
from slm.recipe import Recipe, load_recipe
from slm.train.encode import Encoded
from slm.train.loss import summed_loss
from slm.train.pack import plan_packs, to_tensors
from slm.train.prepare import prepare_model
from tiny import FAMILIES, WINDOW, make_tiny_model

pytestmark = pytest.mark.gpu


def draw_ids(count: int, draw: torch.Generator) -> tuple[int, ...]:
    return tuple(torch.randint(10, 200, (count,), generator=draw).tolist())


def examples() -> list[Encoded]:
    """Two contexts, longer than the tiny models' window, and an example without one."""
    draw = torch.Generator().manual_seed(0)
    first, second = draw_ids(3 * WINDOW, draw), draw_ids(2 * WINDOW, draw)
    of_first = [Encoded(f"a{n}", first, draw_ids(5 + 3 * n, draw), draw_ids(4 + n, draw)) for n in range(8)]
    of_second = [Encoded(f"b{n}", second, draw_ids(6, draw), draw_ids(3, draw)) for n in range(4)]
    return [*of_first, *of_second, Encoded("c0", (), draw_ids(9, draw), draw_ids(5, draw))]


def recipe(folder: Any, dtype: str, packing: str) -> Recipe:
    values = [f"model.name={folder}", f"model.dtype={dtype}", f"train.packing={packing}"]
    return load_recipe("quickstart", ["lora.init=default", "lora.upper=1", "lora.rank=4", *values])


def gradient(
    folder: Any, device: torch.device, dtype: Literal["float32", "bfloat16"], packing: Literal["shared", "none"]
) -> torch.Tensor:
    """Of the adapter, with B away from zero so that A has a gradient, too; float32 on the CPU."""
    torch.manual_seed(0)
    model = prepare_model(folder, recipe(folder, dtype, packing), device=device).to(device)
    draw = torch.Generator().manual_seed(1)
    trainable = [(name, value) for name, value in model.named_parameters() if value.requires_grad]
    for name, value in trainable:
        if "lora_B" in name:
            value.data.copy_(torch.empty(value.shape).normal_(std=0.1, generator=draw))
    for pack in plan_packs(examples(), batch_tokens=400, seed=0, epoch=0, packing=packing):
        config, tensors = model.get_base_model().config, to_tensors(pack).to(device)
        summed_loss(model, config, tensors, dtype=getattr(torch, dtype)).backward()
    return torch.cat([value.grad.float().cpu().flatten() for _, value in trainable])


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_equals_padded_in_float32(family, device, tmp_path):
    folder = make_tiny_model(family, tmp_path)
    packed, padded = (gradient(folder, device, "float32", packing) for packing in ("shared", "none"))
    assert difference(packed, padded) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_is_as_close_as_padded_in_bfloat16(family, device, tmp_path):
    folder = make_tiny_model(family, tmp_path)
    exact = gradient(folder, torch.device("cpu"), "float32", "none")
    packed, padded = (difference(gradient(folder, device, "bfloat16", way), exact) for way in ("shared", "none"))
    assert packed < 0.2
    assert packed < 2 * padded + 0.01


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gpu_has_the_gradient_of_the_cpu(family, device, tmp_path):
    folder = make_tiny_model(family, tmp_path)
    there, here = (gradient(folder, one, "float32", "shared") for one in (device, torch.device("cpu")))
    assert difference(there, here) < 1e-3


@pytest.mark.parametrize("window", [None, WINDOW])
def test_both_kernels_attend_alike(window, device):
    (pack,) = plan_packs(examples(), batch_tokens=4000, seed=0, epoch=0)
    layout = to_tensors(pack).to(device).layout
    assert layout is not None
    plan = PackPlan(layout)
    draw = torch.Generator(device).manual_seed(0)

    def random(heads: int) -> torch.Tensor:
        return torch.randn(1, heads, len(layout), 64, generator=draw, device=device).requires_grad_()

    inputs = random(4), random(2), random(2)
    results = [attend(plan, window, 0.125)(*inputs) for attend in (flex, dense)]
    weight = torch.randn(results[0].shape, generator=draw, device=device)
    grads = [torch.autograd.grad((result * weight).sum(), inputs) for result in results]
    for one, other in zip([results[0], *grads[0]], [results[1], *grads[1]], strict=True):
        assert difference(one, other) < 1e-4
