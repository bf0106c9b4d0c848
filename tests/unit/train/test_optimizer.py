"""Optimizers: each lowers the loss and continues from its saved state; decay and LoRA+ reach the right parameters."""

import copy
import itertools
import math

import pytest
import torch
from peft.optimizers import create_loraplus_optimizer

from slm.errors import RecipeError
from slm.models.load import load_model
from slm.models.lora import add_lora
from slm.recipe import LoraSection, TrainSection
from slm.train.optimizer import build_optimizer, learning_rate
from tiny import make_tiny_model

IDS = torch.arange(20, 40)[None]
RATES = {
    "adamw": 1e-2, "adamw-8bit": 1e-2, "paged-adamw": 1e-2, "paged-adamw-8bit": 1e-2, "lion": 2e-3, "rmsprop": 1e-3,
    "sgd": 3e-2,
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_model("llama", tmp_path_factory.mktemp("tiny"))


def adapted(tiny, **lora):
    torch.manual_seed(0)
    # Rank 64: matrices of 4,096 and more values, below which 8-bit optimizers keep 32 bits.
    section = LoraSection(**{"rank": 64, "alpha": 64, **lora})
    return add_lora(load_model(tiny, dtype="float32"), section).train(), section


def step(model, optimizer) -> float:
    loss = model(IDS, labels=IDS).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def values(model) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in model.parameters() if value.requires_grad])


@pytest.mark.parametrize("name", RATES)
def test_each_lowers_the_loss_and_continues_from_its_saved_state(tiny, name):
    model, lora = adapted(tiny)
    settings = TrainSection(optimizer=name, learning_rate=RATES[name], weight_decay=0.01)
    optimizer = build_optimizer(model, settings, lora)
    losses = [step(model, optimizer) for _ in range(4)]
    assert losses[-1] < 0.95 * losses[0], losses
    saved, weights = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(model.state_dict())
    rest = [step(model, optimizer) for _ in range(3)]
    again, _ = adapted(tiny)
    again.load_state_dict(weights)
    other = build_optimizer(again, settings, lora)
    other.load_state_dict(saved)
    assert [step(again, other) for _ in range(3)] == rest
    assert torch.equal(values(again), values(model))
    has_bytes = any(
        value.dtype == torch.uint8
        for state in other.state.values()
        for value in state.values()
        if isinstance(value, torch.Tensor)
    )
    assert has_bytes == name.endswith("8bit")


def test_paged_optimizers_give_on_the_cpu_what_they_give_without_pages(tiny):
    from bitsandbytes.optim import AdamW

    moved = []
    for paged in (True, False):
        model, lora = adapted(tiny)
        optimizer = build_optimizer(model, TrainSection(optimizer="paged-adamw", learning_rate=1e-2), lora)
        if not paged:
            optimizer = AdamW(optimizer.param_groups, lr=1e-2)
        step(model, optimizer)
        moved.append(values(model))
    assert torch.equal(*moved)


def test_decay_is_for_matrices_and_not_for_biases_norms_and_magnitudes(tmp_path):
    model = load_model(make_tiny_model("qwen2", tmp_path), dtype="float32")  # the one with biases
    for trained, lora in ((model, LoraSection()), (add_lora(model, LoraSection(dora=True)), LoraSection(dora=True))):
        if trained is model:
            trained.requires_grad_(True)
        optimizer = build_optimizer(trained, TrainSection(weight_decay=0.5), lora)
        decays = {id(one): group["weight_decay"] for group in optimizer.param_groups for one in group["params"]}
        found = {name: decays.pop(id(one)) for name, one in trained.named_parameters() if one.requires_grad}
        assert not decays
        assert {name for name, decay in found.items() if not decay} == {
            name for name in found if name.endswith(("bias", "norm.weight", "magnitude_vector.default.weight"))
        }
        assert set(found.values()) == {0.0, 0.5}


def test_decay_shrinks_what_has_no_gradient_to_speak_of(tiny):
    model, lora = adapted(tiny)
    first = model.base_model.model.model.layers[0].mlp.up_proj.lora_A["default"].weight
    before = first.detach().clone()
    optimizer = build_optimizer(model, TrainSection(learning_rate=0.1, weight_decay=0.5), lora)
    for value in model.parameters():
        value.grad = torch.zeros_like(value) if value.requires_grad else None
    optimizer.step()
    assert torch.allclose(first, before * (1 - 0.1 * 0.5))


def test_lora_plus_raises_the_rate_of_the_same_matrices_as_peft(tiny):
    model, lora = adapted(tiny, plus_ratio=16.0)
    ours = build_optimizer(model, TrainSection(learning_rate=1e-3), lora)
    theirs = create_loraplus_optimizer(model, torch.optim.AdamW, lr=1e-3, loraplus_lr_ratio=16.0)
    rates = [
        {id(one): group["lr"] for group in optimizer.param_groups for one in group["params"]}
        for optimizer in (ours, theirs)
    ]
    assert rates[0] == pytest.approx(rates[1])
    assert sorted({group["lr_scale"] for group in ours.param_groups}) == [1.0, 16.0]
    assert all(group["lr"] == pytest.approx(1e-3 * group["lr_scale"]) for group in ours.param_groups)


def test_an_optimizer_whose_library_is_missing_names_those_that_need_none(tiny, monkeypatch):
    model, lora = adapted(tiny)
    monkeypatch.setitem(__import__("sys").modules, "bitsandbytes", None)
    with pytest.raises(RecipeError, match=r"train\.optimizer: lion is .*bitsandbytes(.|\n)*adamw, rmsprop, sgd"):
        build_optimizer(model, TrainSection(optimizer="lion"), lora)
    build_optimizer(model, TrainSection(optimizer="sgd"), lora)


def rates(**settings) -> list[float]:
    section = TrainSection(learning_rate=1.0, **settings)
    return [learning_rate(step, 100, section) for step in range(100)]


def test_each_schedule_warms_up_and_falls_as_it_should():
    cosine, linear, constant = (rates(warmup=0.1, schedule=name) for name in ("cosine", "linear", "constant"))
    for one in (cosine, linear, constant):
        assert one[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert all(later < earlier for earlier, later in itertools.pairwise(cosine[10:]))
    assert cosine[55] == pytest.approx(0.5)
    assert 0 < cosine[-1] < 0.001
    assert linear[10:] == pytest.approx([1 - n / 90 for n in range(90)])
    assert constant[10:] == [1.0] * 90


def test_without_warm_up_the_first_step_has_the_whole_rate():
    assert rates(warmup=0.0, schedule="linear")[0] == 1.0
    assert not math.isclose(rates(warmup=0.0, schedule="linear")[-1], 0.0)
    assert learning_rate(0, 1, TrainSection(learning_rate=1.0)) == 1.0
