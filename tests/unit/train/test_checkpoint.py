"""A checkpoint is there completely or not at all, brings everything back to the bit, and can run no code."""

import random
import socket

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from slm.errors import DiskFullError, JobError
from slm.models.load import load_model
from slm.models.lora import add_lora
from slm.recipe import LoraSection, TrainSection
from slm.train import checkpoint
from slm.train.checkpoint import (
    Position,
    best_checkpoint,
    drop_old,
    load_checkpoint,
    mark_best,
    newest_checkpoint,
    save_checkpoint,
)
from slm.train.optimizer import build_optimizer
from slm.train.state import collect, has_dropout, random_state, restore, restore_weights, trained_parameters
from tiny import make_tiny_model

OPTIMIZERS = ["adamw", "adamw-8bit", "paged-adamw", "paged-adamw-8bit", "lion", "rmsprop", "sgd"]
ACCELERATOR = Accelerator(cpu=True)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_model("llama", tmp_path_factory.mktemp("tiny"))


def make_parts(tiny, *, steps: int, optimizer: str = "adamw", targets="all-linear", method="lora"):
    """A model and its optimizer after some steps. Rank 64: matrices large enough for 8-bit state."""
    torch.manual_seed(0)
    model = load_model(tiny, dtype="float32")
    lora = LoraSection(rank=64, targets=targets)
    model = add_lora(model, lora) if method == "lora" else model.requires_grad_(True)
    made = ACCELERATOR.prepare_optimizer(build_optimizer(model, TrainSection(optimizer=optimizer), lora))
    for step in range(steps):
        take_step(model, made, seed=step)
    return model, made


def take_step(model, optimizer, *, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    for parameter in trained_parameters(model).values():
        parameter.grad = torch.randn(parameter.shape, generator=draw)
    optimizer.step()


def state_of(parts):
    return collect(ACCELERATOR, *parts)


def same(one: dict, other: dict) -> bool:
    equal = [one[name].dtype == other[name].dtype and torch.equal(one[name], other[name]) for name in one]
    return one.keys() == other.keys() and all(equal)


@pytest.mark.filterwarnings("ignore:Paged optimizers are not supported on CPU")
@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_goes_on_as_if_nothing_had_happened(tiny, tmp_path, name, method):
    parts = make_parts(tiny, steps=2, optimizer=name, method=method)
    saved = state_of(parts)
    if "8bit" in name:
        assert torch.uint8 in {value.dtype for value in saved.optimizer.values()}
    save_checkpoint(tmp_path, Position(2, 6.7), saved)
    again = make_parts(tiny, steps=0, optimizer=name, method=method)
    position, loaded = load_checkpoint(newest_checkpoint(tmp_path))
    restore(loaded, ACCELERATOR, *again, chance=True)
    for number in (2, 3):
        take_step(*parts, seed=number)
        take_step(*again, seed=number)
    assert position == Position(2, 6.7, resumed_at=[])
    assert same(state_of(parts).weights, state_of(again).weights)
    assert same(state_of(parts).optimizer, state_of(again).optimizer)
    assert state_of(parts).numbers == state_of(again).numbers
    assert not same(loaded.weights, state_of(parts).weights)


def test_all_random_numbers_come_back(tiny, tmp_path):
    def draw():
        return torch.rand(3).tolist(), random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn()  # noqa: S311

    random.seed(4)
    random.gauss(0, 1)  # half of a pair is kept for the next call
    parts = make_parts(tiny, steps=1)
    saved = state_of(parts)
    assert {name: rows.shape[0] for name, rows in saved.random.items()} == {"torch": 1, "python": 1, "numpy": 1}
    save_checkpoint(tmp_path, Position(1, 0.0), saved)
    drawn = draw()
    assert draw() != drawn
    restore(load_checkpoint(newest_checkpoint(tmp_path))[1], ACCELERATOR, *parts, chance=True)
    assert draw() == drawn
    assert random_state(ACCELERATOR.device)["torch"].dtype == torch.int64


def test_other_numbers_of_processes_are_refused_only_where_chance_is_needed(tiny):
    parts = make_parts(tiny, steps=1)
    saved = state_of(parts)
    for rows in saved.random.values():
        rows.resize_(2, rows.shape[1])
    restore(saved, ACCELERATOR, *parts, chance=False)
    with pytest.raises(JobError, match="of 2 processes and now there are 1"):
        restore(saved, ACCELERATOR, *parts, chance=True)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_dropout_is_seen(tiny, dropout):
    assert has_dropout(add_lora(load_model(tiny, dtype="float32"), LoraSection(dropout=dropout))) == (dropout > 0)


def test_it_is_safetensors_and_json_and_no_hub_is_asked(tiny, tmp_path, monkeypatch):
    def refuse(host, *_, **__):
        asked.append(host)
        raise OSError("no network in this test")

    asked: list[str] = []
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    parts = make_parts(tiny, steps=1)
    save_checkpoint(tmp_path, Position(1, 0.0), state_of(parts))
    files = {path.name for path in (tmp_path / "step-000001").iterdir()}
    tensors = {f"{name}.safetensors" for name in ("weights", "optimizer", "random")}
    assert files == tensors | {"optimizer.json", "position.json"}
    restore(load_checkpoint(tmp_path / "step-000001")[1], ACCELERATOR, *parts, chance=True)
    assert not asked, "PEFT asked a hub for the base model"


@pytest.mark.parametrize(("keep", "best", "kept"), [(1, None, [5]), (2, None, [4, 5]), (2, 1, [1, 4, 5]), (1, 5, [5])])
def test_the_newest_and_the_best_are_kept(tiny, tmp_path, keep, best, kept):
    state = state_of(make_parts(tiny, steps=1))
    (tmp_path / ".step-000001.99.tmp").mkdir()  # of a killed process
    for step in range(1, 6):
        save_checkpoint(tmp_path, Position(step, 0.0), state)
        if step == best:
            mark_best(tmp_path, step)
        drop_old(tmp_path, keep)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [f"step-{n:06d}" for n in kept]
    assert best_checkpoint(tmp_path) == (tmp_path / f"step-{best:06d}" if best else None)
    assert newest_checkpoint(tmp_path).name == "step-000005"


@pytest.mark.parametrize("files_written", [0, 1, 2])
def test_an_interrupted_save_leaves_the_older_checkpoint(tiny, tmp_path, monkeypatch, files_written):
    saved = state_of(make_parts(tiny, steps=1))
    save_checkpoint(tmp_path, Position(1, 0.5), saved)
    written, real = [], checkpoint.save_file

    def save_some(tensors, path):
        if len(written) == files_written:
            path.write_bytes(b"half")
            raise KeyboardInterrupt
        written.append(path)
        real(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", save_some)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, Position(2, 1.0), state_of(make_parts(tiny, steps=2)))
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
    assert same(load_checkpoint(tmp_path / "step-000001")[1].weights, saved.weights)


@pytest.mark.parametrize("noticed", ["before", "while writing"])
def test_a_full_disk_leaves_the_older_checkpoint(tiny, tmp_path, small_disk, monkeypatch, noticed):
    saved = state_of(make_parts(tiny, steps=1))
    save_checkpoint(tmp_path / "measured", Position(1, 0.5), saved)
    size = sum(path.stat().st_size for path in (tmp_path / "measured/step-000001").iterdir())
    folder = small_disk(int(size * 1.5 / 1024)) / "checkpoints"
    save_checkpoint(folder, Position(1, 0.5), saved)
    if noticed == "while writing":  # others take the room between the look and the writing
        monkeypatch.setattr(checkpoint, "_free_bytes", lambda _: 1 << 40)
    message = "MB and the disk has" if noticed == "before" else "step-000002: the disk is full"
    with pytest.raises(DiskFullError, match=message):
        save_checkpoint(folder, Position(2, 1.0), state_of(make_parts(tiny, steps=2)))
    assert [path.name for path in folder.iterdir()] == ["step-000001"]
    assert same(load_checkpoint(folder / "step-000001")[1].weights, saved.weights)


def test_a_checkpoint_of_another_adapter_and_a_broken_one_are_refused(tiny, tmp_path):
    save_checkpoint(tmp_path, Position(1, 0.0), state_of(make_parts(tiny, steps=1)))
    other, _ = make_parts(tiny, steps=0, targets="attention")
    with pytest.raises(JobError, match="does not fit"):
        restore_weights(load_checkpoint(tmp_path / "step-000001")[1].weights, ACCELERATOR, other)
    (tmp_path / "step-000001" / "position.json").write_text("{")
    with pytest.raises(JobError, match=r"step-000001: cannot be read[\s\S]*try: remove"):
        load_checkpoint(tmp_path / "step-000001")
