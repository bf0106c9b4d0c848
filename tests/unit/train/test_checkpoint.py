"""A checkpoint is there completely or not at all, and holds nothing that can run code."""

import socket

import pytest
import torch

from slm.errors import DiskFullError, JobError
from slm.models.load import load_model
from slm.models.lora import add_lora
from slm.recipe import LoraSection
from slm.train import checkpoint
from slm.train.checkpoint import Position, load_checkpoint, save_checkpoint
from tiny import make_tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return make_tiny_model("llama", tmp_path_factory.mktemp("tiny"))


def make_state(tiny, *, steps: int, targets="all-linear"):
    """A model and its optimizer after some steps."""
    torch.manual_seed(0)
    model = add_lora(load_model(tiny, dtype="float32"), LoraSection(rank=4, targets=targets))
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=0.1)
    for _ in range(steps):
        for parameter in trainable:
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    return model, optimizer


def adapter(model) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters() if parameter.requires_grad])


def moments(optimizer) -> torch.Tensor:
    states = sorted(optimizer.state_dict()["state"].items())
    return torch.cat([value.flatten() for _, state in states for _, value in sorted(state.items())])


def check_loads(folder, tiny, position, model, optimizer) -> None:
    """The newest checkpoint of `folder` is this one."""
    new_model, new_optimizer = make_state(tiny, steps=0)
    assert load_checkpoint(folder, new_model, new_optimizer) == position
    assert torch.equal(adapter(new_model), adapter(model))
    assert torch.equal(moments(new_optimizer), moments(optimizer))


def test_weights_moments_position_and_random_state_come_back(tiny, tmp_path):
    model, optimizer = make_state(tiny, steps=2)
    save_checkpoint(tmp_path, Position(2, 345, 6.7), model, optimizer)
    drawn = torch.rand(3)
    check_loads(tmp_path, tiny, Position(2, 345, 6.7), model, optimizer)
    load_checkpoint(tmp_path, model, optimizer)
    assert torch.equal(torch.rand(3), drawn)


def test_without_a_checkpoint_nothing_is_touched(tiny, tmp_path):
    model, optimizer = make_state(tiny, steps=1)
    before = adapter(model)
    assert load_checkpoint(tmp_path / "none", model, optimizer) is None
    assert torch.equal(adapter(model), before)


def test_only_the_newest_is_kept_as_safetensors_and_json_and_no_hub_is_asked(tiny, tmp_path, monkeypatch):
    def refuse(host, *_, **__):
        asked.append(host)
        raise OSError("no network in this test")

    asked: list[str] = []
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    (tmp_path / ".step-000001.99.tmp").mkdir()  # of a killed process
    for step in (1, 2):
        model, optimizer = make_state(tiny, steps=step)
        save_checkpoint(tmp_path, Position(step, 0, 0.0), model, optimizer)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000002"]
    files = {path.name for path in (tmp_path / "step-000002").iterdir()}
    assert files == {"adapter.safetensors", "optimizer.safetensors", "position.json"}
    load_checkpoint(tmp_path, model, optimizer)
    assert not asked, "PEFT asked a hub for the base model"


@pytest.mark.parametrize("files_written", [0, 1])
def test_an_interrupted_save_leaves_the_older_checkpoint(tiny, tmp_path, monkeypatch, files_written):
    model, optimizer = make_state(tiny, steps=1)
    save_checkpoint(tmp_path, Position(1, 10, 0.5), model, optimizer)
    written, real = [], checkpoint.save_file

    def save_some(tensors, path):
        if len(written) == files_written:
            path.write_bytes(b"half")
            raise KeyboardInterrupt
        written.append(path)
        real(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", save_some)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, Position(2, 20, 1.0), *make_state(tiny, steps=2))
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]
    check_loads(tmp_path, tiny, Position(1, 10, 0.5), model, optimizer)


def test_a_full_disk_leaves_the_older_checkpoint(tiny, tmp_path, small_disk):
    model, optimizer = make_state(tiny, steps=1)
    save_checkpoint(tmp_path / "measured", Position(1, 10, 0.5), model, optimizer)
    size = sum(path.stat().st_size for path in (tmp_path / "measured/step-000001").iterdir())
    folder = small_disk(int(size * 1.5 / 1024)) / "checkpoints"
    save_checkpoint(folder, Position(1, 10, 0.5), model, optimizer)
    with pytest.raises(DiskFullError, match="step-000002: the disk is full"):
        save_checkpoint(folder, Position(2, 20, 1.0), *make_state(tiny, steps=2))
    assert [path.name for path in folder.iterdir()] == ["step-000001"]
    check_loads(folder, tiny, Position(1, 10, 0.5), model, optimizer)


def test_a_checkpoint_of_another_adapter_is_refused(tiny, tmp_path):
    save_checkpoint(tmp_path, Position(1, 0, 0.0), *make_state(tiny, steps=1))
    with pytest.raises(JobError, match="does not fit"):
        load_checkpoint(tmp_path, *make_state(tiny, steps=0, targets="attention"))
