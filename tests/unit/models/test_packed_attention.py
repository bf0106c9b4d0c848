"""Attention cut by context and branch equals attention under the dense mask, whatever the shapes, gradients too."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slm.models.attention import Layout, visible
from slm.models.gpu_attention import dense, flex
from slm.models.packed_attention import PackPlan, packed_attention

LENGTHS = st.lists(st.tuples(st.integers(0, 12), st.lists(st.integers(1, 7), max_size=4)), min_size=1, max_size=4)


def layout_of(groups: list[tuple[int, list[int]]]) -> Layout | None:
    """(context tokens, tokens of each branch) by group."""
    rows = []
    for number, (context, branches) in enumerate(groups):
        rows += [(place, number, 0) for place in range(context)]
        rows += [(context + place, number, n) for n, length in enumerate(branches, 1) for place in range(length)]
    return Layout(*torch.tensor(rows).T) if rows else None


def tensors(layout: Layout, heads: int, key_heads: int, size: int, seed: int = 0) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    shapes = [(1, count, len(layout), size) for count in (heads, key_heads, key_heads)]
    return [torch.randn(shape, generator=draw).mul_(2).requires_grad_() for shape in shapes]


def with_gradients(attend, inputs):
    out = attend(*inputs)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), inputs)]


def ours(layout, window, scale):
    plan = PackPlan(layout)
    return lambda q, k, v: packed_attention(
        SimpleNamespace(), q, k, v, None, scaling=scale, sliding_window=window, pack_plan=plan
    )[0].transpose(1, 2)


def close(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm() + 1e-4  # a window of one has no gradient but noise


@settings(max_examples=150, deadline=None)
@given(LENGTHS, st.sampled_from([None, 1, 2, 5, 9]), st.sampled_from([(4, 4), (4, 2), (3, 1)]))
def test_equals_attention_under_the_dense_mask(groups, window, heads):
    layout = layout_of(groups)
    if layout is None:
        return
    inputs = tensors(layout, *heads, 8)
    close(
        with_gradients(ours(layout, window, 0.4), inputs),
        with_gradients(dense(PackPlan(layout), window, 0.4), inputs),
    )


@pytest.mark.parametrize("window", [None, 4])
def test_the_block_mask_of_a_gpu_says_the_same(window):
    layout = layout_of([(9, [4, 6]), (0, [3]), (5, [2, 2, 8])])
    with torch.no_grad():  # on the CPU FlexAttention has no backward pass; tests/gpu holds it to the gradients
        inputs = [one.detach() for one in tensors(layout, 4, 2, 16)]
        blocks = flex(PackPlan(layout), window, 0.3, compiled=False)(*inputs)
        close([blocks], [dense(PackPlan(layout), window, 0.3)(*inputs)])


def test_a_branch_leaks_nothing_into_another_not_even_a_bit():
    layout = layout_of([(10, [5, 5, 5])])
    inputs = tensors(layout, 4, 2, 16)
    other = [one.detach().clone() for one in inputs]
    for one in other:
        one[:, :, 15:20] = 7.0  # the second branch
    attend = ours(layout, None, 0.25)
    before, after = attend(*inputs), attend(*other)
    untouched = [*range(15), *range(20, 25)]
    assert torch.equal(before[:, :, untouched], after[:, :, untouched])
    assert not torch.equal(before[:, :, 15:20], after[:, :, 15:20])


def test_a_pack_whose_branches_are_mixed_is_refused():
    mixed = Layout(torch.arange(4), torch.zeros(4, dtype=torch.long), torch.tensor([0, 2, 1, 2]))
    with pytest.raises(ValueError, match="one after the other"):
        _ = PackPlan(mixed).groups


def test_visible_counts_positions_in_a_window():
    layout = layout_of([(3, [2, 2])])
    seen = visible(layout, len(layout), 2)
    assert seen[5].tolist() == [False, False, True, False, False, True, False]
