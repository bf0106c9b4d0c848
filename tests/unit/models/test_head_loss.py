"""The output layer with its loss: what logits and cross entropy give, in any number of blocks, and who keeps logits."""

import pytest
import torch

from slm.models import head_loss
from slm.models.head_loss import fuse_head, labelled
from slm.models.load import load_model
from tiny import make_tiny_model


def head_and_rows(rows: int = 13, dtype: torch.dtype = torch.float32, scale: float = 1.0):
    draw = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(24, 97, bias=False)
    head.weight.data = torch.randn(head.weight.shape, generator=draw)
    head.weight.requires_grad_(False)
    hidden = scale * torch.randn(1, rows, 24, generator=draw)
    labels = torch.randint(0, 97, (rows,), generator=draw)
    labels[3] = -100
    return head.to(dtype), hidden.to(dtype).requires_grad_(), labels


class Model:
    """As much of a model as `fuse_head` looks at."""

    def __init__(self, head, cap=None):
        self.head, self.config = head, type("Config", (), {"final_logit_softcapping": cap})

    def get_output_embeddings(self):
        return self.head


@pytest.mark.parametrize("rows", [1, 4, 13, 50])
@pytest.mark.parametrize("columns", [1, 10, 97])
@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_equals_logits_and_cross_entropy(rows, columns, scale, monkeypatch):
    monkeypatch.setattr(head_loss, "_ROWS", rows)
    monkeypatch.setattr(head_loss, "_BLOCK_BYTES", 4 * min(rows, 13) * columns)
    head, hidden, labels = head_and_rows(scale=scale)
    weights = torch.rand(len(labels))
    exact = torch.nn.functional.cross_entropy(head(hidden)[0].double(), labels, ignore_index=-100, reduction="none")
    (expected,) = torch.autograd.grad((exact * weights).sum(), hidden)
    model = Model(head)
    fuse_head(model)
    with labelled(model, labels) as fused:
        assert fused
        losses = head(hidden)
    assert losses.shape == (1, 13, 1)
    assert torch.allclose(losses[0, :, 0].double(), exact, rtol=1e-5)
    (found,) = torch.autograd.grad((losses[0, :, 0] * weights).sum(), hidden)
    assert (found - expected).norm() <= 1e-6 * expected.norm()
    assert losses[0, 3, 0] == 0
    assert not found[0, 3].any()


def test_bfloat16_loss_is_added_up_in_float32():
    head, hidden, labels = head_and_rows(dtype=torch.bfloat16)
    expected = torch.nn.functional.cross_entropy(head(hidden)[0].float(), labels, reduction="sum")
    model = Model(head)
    fuse_head(model)
    with labelled(model, labels):
        losses = head(hidden)
    assert losses.dtype == torch.float32
    assert losses.sum().item() == pytest.approx(expected.item(), rel=1e-4)


def test_without_labels_it_gives_logits_as_ever():
    head, hidden, labels = head_and_rows()
    expected = head(hidden)
    model = Model(head)
    fuse_head(model)
    with labelled(model, labels):
        pass
    assert torch.equal(head(hidden), expected)


@pytest.mark.parametrize("reason", ["trained", "capped", "bias"])
def test_other_output_layers_keep_their_logits(reason):
    head, _, labels = head_and_rows()
    if reason == "trained":
        head.weight.requires_grad_(True)
    if reason == "bias":
        head = torch.nn.Linear(24, 97).requires_grad_(False)
    model = Model(head, cap=30.0 if reason == "capped" else None)
    fuse_head(model)
    assert "forward" not in vars(head)
    with labelled(model, labels) as fused:
        assert not fused


def test_the_logits_of_a_whole_pack_never_exist(tmp_path, monkeypatch):
    model = load_model(make_tiny_model("llama", tmp_path), dtype="float32").requires_grad_(False)
    fuse_head(model)
    seen = []
    real = torch.Tensor.amax
    monkeypatch.setattr(torch.Tensor, "amax", lambda self, *a, **k: seen.append(self.shape) or real(self, *a, **k))
    monkeypatch.setattr(head_loss, "_BLOCK_BYTES", 4 * model.config.hidden_size * 100)
    monkeypatch.setattr(head_loss, "_ROWS", 5)
    ids = torch.arange(10, 32)[None]
    with labelled(model, ids[0]):
        model(input_ids=ids)
    assert {rows for rows, _ in seen} == {5, 2}
    assert sum(rows * columns for rows, columns in seen) == 22 * model.config.vocab_size
    assert max(rows * columns for rows, columns in seen) == 5 * 100
