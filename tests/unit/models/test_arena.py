"""Memory for the backward pass: used again once nothing lies in it, and never while something does."""

import torch

from slm.models import arena
from slm.models.arena import forgetting, keep, kept, remembering


def address(tensor):
    return tensor.data_ptr()


def test_the_same_memory_serves_one_step_after_the_other():
    like = torch.zeros(1)
    with remembering(True):
        first = [address(kept((1000, 3), like)), address(kept((7,), like, torch.bfloat16))]
    with remembering(True):
        again = [address(kept((1000, 3), like)), address(kept((7,), like, torch.bfloat16))]
    assert first == again
    assert len(set(first)) == 2
    assert all(one % 16 == 0 for one in first)


def test_what_is_still_in_use_keeps_its_memory():
    like = torch.zeros(1)
    with remembering(True):
        held = kept((50,), like).fill_(1.0)
        view = held[10:20]
        del held
    with remembering(True):
        kept((50,), like).fill_(2.0)
    assert view.tolist() == [1.0] * 10


def test_what_autograd_saved_keeps_its_memory():
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(keep(x))
            return x * x

        @staticmethod
        def backward(ctx, grad):
            return 2 * ctx.saved_tensors[0] * grad

    x = torch.full((5,), 3.0, requires_grad=True)
    with remembering(True):
        y = Double.apply(x * 1.0)
    with remembering(True):
        kept((5,), x).fill_(100.0)
    y.sum().backward()
    assert x.grad.tolist() == [6.0] * 5


def test_what_lies_there_already_is_not_copied():
    with remembering(True):
        inside = kept((4, 4), torch.zeros(1))
        assert address(keep(inside[1])) == address(inside[1])
        outside = torch.arange(6.0).view(2, 3).t()
        copy = keep(outside)
        assert address(copy) != address(outside)
        assert torch.equal(copy, outside)
        assert copy.is_contiguous()


def test_outside_of_a_forward_pass_it_is_ordinary_memory():
    like = torch.zeros(3, dtype=torch.bfloat16)
    for wanted in (False, None):
        if wanted is None:
            made, same = kept((2, 2), like), keep(like)
        else:
            with remembering(wanted):
                made, same = kept((2, 2), like), keep(like)
        assert made.dtype == torch.bfloat16
        assert address(same) == address(like)
        assert not arena._arena.holds(made)


def test_where_no_gradient_comes_nothing_is_kept():
    like = torch.zeros(3)
    with remembering(True):
        for wanted in (True, False):
            with forgetting(wanted):
                assert arena._arena.holds(kept((2, 2), like)) == (not wanted)
        assert arena._arena.holds(kept((2, 2), like))


def test_a_tensor_larger_than_a_block_gets_one_of_its_own(monkeypatch):
    monkeypatch.setattr(arena, "_BLOCK_BYTES", 256)
    monkeypatch.setattr(arena, "_arena", arena._Arena())
    like = torch.zeros(1)
    with remembering(True):
        made = [kept((size,), like).fill_(size) for size in (10, 1000, 10, 60, 60)]
        assert [float(one[0]) for one in made] == [10, 1000, 10, 60, 60]
        assert all(float(one.min()) == float(one.max()) for one in made)
