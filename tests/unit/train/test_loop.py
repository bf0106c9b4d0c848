"""The loop's promises: resume is exact, metrics have no gaps, NaN stops with ids, signals stop it, the best is kept."""

import contextlib
import itertools
import json
import math
import os
import signal

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, set_seed

from slm.errors import NonFiniteLossError, RecipeError
from slm.models.load import load_model
from slm.models.lora import add_lora
from slm.models.packed_attention import use_packed_attention
from slm.recipe import LoraSection, TrainSection
from slm.recipe.schema import WatchSection
from slm.train.checkpoint import best_checkpoint, load_checkpoint, newest_checkpoint
from slm.train.encode import Encoded
from slm.train.loop import Loop, plan_steps
from slm.train.processes import check_setup
from slm.train.stop import StoppedError
from slm.train.watch import WatchRow
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


def make_loop(tiny, folder, settings=SETTINGS, **more) -> Loop:
    set_seed(0)
    base = load_model(tiny, dtype="float32")
    use_packed_attention(base)
    model = base.requires_grad_(True)
    if settings.method == "lora":
        model = add_lora(base, LoraSection(rank=4, dropout=0.1))
    places = {"checkpoints": folder / "checkpoints", "metrics": folder / "metrics.jsonl"}
    return Loop(model, base.config, settings, accelerator=Accelerator(cpu=True), **places, **more)


def weights(loop: Loop) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in loop.trainable])


@pytest.mark.parametrize(
    ("killed_after", "changes"),
    [(1, {}), (2, {}), (3, {}), (5, {}), (3, {"method": "full"}), (3, {"optimizer": "adamw-8bit", "neftune": 5.0})],
)
def test_a_killed_run_ends_with_bit_identical_weights(tiny, tmp_path, killed_after, changes, monkeypatch):
    settings = SETTINGS.model_copy(update=changes)
    steps = plan_steps(examples(), settings)
    assert len(steps) >= 6
    whole = make_loop(tiny, tmp_path / "whole", settings)
    whole.run(steps)

    class Killed(BaseException):
        pass

    broken = make_loop(tiny, tmp_path / "broken", settings)
    real_step, count = broken._step, itertools.count()

    def dying_step(*arguments):
        if next(count) == killed_after:
            raise Killed
        return real_step(*arguments)

    monkeypatch.setattr(broken, "_step", dying_step)
    with pytest.raises(Killed):
        broken.run(steps)
    again = make_loop(tiny, tmp_path / "broken", settings)
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


def test_epochs_and_max_steps_set_the_length():
    def length(**changes) -> int:
        settings = SETTINGS.model_copy(update={"packs_per_step": 1, **changes})
        return len(plan_steps(examples(), settings))

    one = length(epochs=1)
    assert length(epochs=2) == 2 * one
    assert length(epochs=0.5) == round(one / 2)
    assert length(epochs=2, max_steps=3) == 3


class AtStep:
    """Meters that do something after a step."""

    def __init__(self, step: int, act) -> None:
        self.left, self.act, self.waits, self.copies = step, act, 0, 0

    def waiting(self):
        self.waits += 1
        return contextlib.nullcontext()

    def transferring(self):
        self.copies += 1
        return contextlib.nullcontext()

    def finish(self, packs, seconds):
        self.left -= 1
        if not self.left:
            self.act()
        return {"mfu": 0.25}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_next_step_with_a_checkpoint(tiny, tmp_path, number):
    steps = plan_steps(examples(), SETTINGS)
    whole = make_loop(tiny, tmp_path / "whole")
    whole.run(steps)
    before = signal.getsignal(number)
    stopped = make_loop(tiny, tmp_path / "stopped", meters=AtStep(2, lambda: os.kill(os.getpid(), number)))
    with pytest.raises(StoppedError, match=f"{number.name}: stopped after step 3 of {len(steps)}") as caught:
        stopped.run(steps)
    assert caught.value.exit_code == 128 + number
    assert signal.getsignal(number) == before
    assert newest_checkpoint(tmp_path / "stopped/checkpoints").name == "step-000003"
    again = make_loop(tiny, tmp_path / "stopped")
    assert again.run(steps).resumed_at == [3]
    assert torch.equal(weights(again), weights(whole))


def test_meters_are_asked_around_every_pack_and_their_figures_are_in_the_rows(tiny, tmp_path, capsys):
    steps = plan_steps(examples(), SETTINGS)
    meters = AtStep(0, None)
    make_loop(tiny, tmp_path, meters=meters).run(steps)
    assert meters.waits == meters.copies == sum(len(step) for step in steps)
    assert all(json.loads(line)["mfu"] == 0.25 for line in (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert "MFU 25.0%" in capsys.readouterr().err


class Scripted:
    """A watch whose accuracies are given, by step."""

    def __init__(self, accuracies: dict[int, float]) -> None:
        self.accuracies, self.weights = accuracies, {}

    def due(self, step: int) -> bool:
        return step in self.accuracies

    def measure(self, model, step: int) -> WatchRow:
        self.weights[step] = torch.cat([p.detach().flatten() for p in model.parameters() if p.requires_grad])
        accuracy = self.accuracies[step]
        return WatchRow(step=step, accuracy=accuracy, right=0, total=1, loss=None, completion_tokens=0, seconds=0.0)


def test_it_ends_with_the_best_weights_and_keeps_their_checkpoint(tiny, tmp_path):
    steps = plan_steps(examples(), SETTINGS)
    watch = Scripted({1: 0.1, 3: 0.9, 5: 0.5})
    loop = make_loop(tiny, tmp_path, watch=watch)
    totals = loop.run(steps)
    assert (totals.kept_step, totals.steps) == (3, len(steps))
    assert torch.equal(weights(loop), watch.weights[3])
    folder = tmp_path / "checkpoints"
    assert {path.name for path in folder.iterdir()} == {"best", "step-000003", f"step-{len(steps):06d}"}
    saved = load_checkpoint(best_checkpoint(folder))[1].weights
    assert torch.equal(torch.cat([saved[name].flatten() for name in loop.trained_weights()]), watch.weights[3])
    again = make_loop(tiny, tmp_path, watch=Scripted({}))
    assert again.run(steps).kept_step == 3
    assert torch.equal(weights(again), watch.weights[3])


def test_it_stops_when_measurements_bring_nothing_better_also_after_a_kill(tiny, tmp_path):
    steps = plan_steps(examples(), SETTINGS)
    settings = WatchSection(every=1, patience=2)
    accuracies = {1: 0.5, 2: 0.4, 3: 0.3, 4: 0.9}
    totals = make_loop(tiny, tmp_path, watch=Scripted(accuracies), watch_settings=settings).run(steps)
    assert (totals.steps, totals.kept_step) == (3, 1)
    again = make_loop(tiny, tmp_path, watch=Scripted(accuracies), watch_settings=settings).run(steps)
    assert (again.steps, again.kept_step, again.resumed_at) == (3, 1, [3])


def test_a_measurement_that_a_signal_cut_off_is_made_up_for(tiny, tmp_path):
    steps = plan_steps(examples(), SETTINGS)
    accuracies = {2: 0.5, 3: 0.7}
    kill = AtStep(2, lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(StoppedError):
        make_loop(tiny, tmp_path, watch=Scripted(accuracies), meters=kill).run(steps)
    assert [json.loads(line)["step"] for line in (tmp_path / "watch.jsonl").read_text().splitlines()] == [2]
    make_loop(tiny, tmp_path, watch=Scripted(accuracies)).run(steps)
    assert [json.loads(line)["step"] for line in (tmp_path / "watch.jsonl").read_text().splitlines()] == [2, 3]


def test_a_gradient_that_is_not_finite_stops_before_the_update(tiny, tmp_path):
    loop = make_loop(tiny, tmp_path)
    steps = plan_steps(examples(), SETTINGS)
    loop.trainable[0].register_hook(lambda grad: grad * math.inf)
    before = weights(loop)
    with pytest.raises(NonFiniteLossError, match="the norm of the gradient is"):
        loop.run(steps)
    assert torch.equal(weights(loop), before)


class Shards:
    """What `check_setup` asks of an accelerator."""

    def __init__(self, kind: DistributedType) -> None:
        self.distributed_type, self.num_processes = kind, 2


def test_what_sharding_cannot_do_is_refused():
    steps = plan_steps(examples(), SETTINGS.model_copy(update={"packs_per_step": 3}))
    paged = SETTINGS.model_copy(update={"optimizer": "paged-adamw"})
    with pytest.raises(RecipeError, match=r"train\.optimizer"):
        check_setup(Shards(DistributedType.FSDP), paged, steps, keep="last")
    check_setup(Shards(DistributedType.FSDP), SETTINGS, steps, keep="accuracy")
    with pytest.raises(RecipeError, match=r"train\.packs_per_step"):
        check_setup(Shards(DistributedType.DEEPSPEED), SETTINGS, steps, keep="last")
    with pytest.raises(RecipeError, match=r"watch\.keep"):
        check_setup(Shards(DistributedType.DEEPSPEED), SETTINGS, [], keep="accuracy")
