"""The loop's promises: resume is exact, metrics have no gaps, NaN stops with ids, packing does not matter."""

import itertools
import json
import math

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed

from slm.errors import NonFiniteLossError
from slm.models.load import load_model
from slm.models.lora import add_lora
from slm.recipe import LoraSection, TrainSection
from slm.train.encode import Encoded
from slm.train.loop import Loop, learning_rate, plan_steps
from tiny import make_tiny_model

SETTINGS = TrainSection(batch_tokens=60, packs_per_step=2, learning_rate=1e-2, checkpoint_every=2, epochs=3)


def examples(count: int = 12) -> list[Encoded]:
    draw = torch.Generator().manual_seed(3)

    def ids(length: int) -> tuple[int, ...]:
        return tuple(torch.randint(10, 200, (length,), generator=draw).tolist())

    contexts = [ids(20), ids(15)]
    return [Encoded(f"e{n}", contexts[n % 2], ids(6), ids(5)) for n in range(count)]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_model("llama", tmp_path_factory.mktemp("tiny"))


def make_loop(tiny, folder, settings=SETTINGS) -> Loop:
    set_seed(0)
    base = load_model(tiny, dtype="float32")
    model = add_lora(base, LoraSection(rank=4, dropout=0.1))
    checkpoints, metrics = folder / "checkpoints", folder / "metrics.jsonl"
    return Loop(model, base.config, settings, checkpoints=checkpoints, metrics=metrics, accelerator=Accelerator())


def weights(loop: Loop) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in loop.trainable])


@pytest.mark.parametrize("killed_after", [1, 2, 3, 5])
def test_a_killed_run_ends_with_bit_identical_weights(tiny, tmp_path, killed_after, monkeypatch):
    steps = plan_steps(examples(), SETTINGS)
    assert len(steps) >= 6
    whole = make_loop(tiny, tmp_path / "whole")
    whole.run(steps)

    class Killed(BaseException):
        pass

    broken = make_loop(tiny, tmp_path / "broken")
    real_step, count = broken._step, itertools.count()

    def dying_step(*arguments):
        if next(count) == killed_after:
            raise Killed
        return real_step(*arguments)

    monkeypatch.setattr(broken, "_step", dying_step)
    with pytest.raises(Killed):
        broken.run(steps)
    again = make_loop(tiny, tmp_path / "broken")
    totals = again.run(steps)
    assert totals.resumed_at == ([killed_after // 2 * 2] if killed_after >= 2 else [])
    assert torch.equal(weights(again), weights(whole))
    rows = [json.loads(line) for line in (tmp_path / "broken/metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, len(steps) + 1))


def test_the_gradient_does_not_depend_on_how_examples_are_packed(tiny, tmp_path):
    norms = []
    for name, budget, per_step in (("one", 10_000, 1), ("many", 50, 1000)):
        settings = SETTINGS.model_copy(update={"batch_tokens": budget, "packs_per_step": per_step, "epochs": 1})
        loop = make_loop(tiny, tmp_path / name, settings)
        loop.model.eval()  # without dropout
        loop._backward(plan_steps(examples(), settings)[0], 60)
        norms.append(float(torch.stack([p.grad.norm() for p in loop.trainable if p.grad is not None]).norm()))
    assert norms[0] == pytest.approx(norms[1], rel=1e-5)


def test_training_moves_the_adapter_and_nothing_else(tiny, tmp_path):
    loop = make_loop(tiny, tmp_path)
    before = {name: parameter.detach().clone() for name, parameter in loop.model.named_parameters()}
    loop.run(plan_steps(examples(), SETTINGS))
    for name, parameter in loop.model.named_parameters():
        assert torch.equal(parameter, before[name]) != ("lora_" in name), name


def test_a_loss_that_is_not_finite_stops_with_the_examples(tiny, tmp_path):
    loop = make_loop(tiny, tmp_path)
    with torch.no_grad():
        loop.trainable[0].fill_(math.nan)
    steps = plan_steps(examples(), SETTINGS)
    with pytest.raises(NonFiniteLossError) as caught:
        loop.run(steps)
    for pack in steps[0]:
        for example in pack.examples:
            assert example.example_id in str(caught.value)


def test_learning_rate_warms_up_and_falls_to_zero():
    settings = TrainSection(learning_rate=1.0, warmup=0.1)
    rates = [learning_rate(step, 100, settings) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[10:]))
    assert 0 < rates[-1] < 0.001


def test_epochs_and_max_steps_set_the_length():
    def length(**changes) -> int:
        settings = SETTINGS.model_copy(update={"packs_per_step": 1, **changes})
        return len(plan_steps(examples(), settings))

    one = length(epochs=1)
    assert length(epochs=2) == 2 * one
    assert length(epochs=0.5) == round(one / 2)
    assert length(epochs=2, max_steps=3) == 3
