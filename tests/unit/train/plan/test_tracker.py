"""What the tracker counts is what tensors take: known ones exactly, and no longer than they live."""

import torch
from torch import nn

from slm.models.arena import keep, kept, remembering
from slm.train.plan.stand_ins import DeviceFunctions, counted_arena, library_stand_ins
from slm.train.plan.tracker import MemoryTracker


def shapes(*size: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(size, dtype=dtype, device="meta")


def test_known_tensors_are_counted_to_the_byte_and_forgotten_when_they_die():
    tracker = MemoryTracker(granule=1)
    with tracker:
        a = shapes(100, 10)
        b = a * 2
        view = b.view(10, 100)[2:]
        del b
        assert tracker.now["activations"] == 2 * 4000, "a view keeps its storage"
        c = a.to(torch.bfloat16)
        del view, c
    assert tracker.now["activations"] == 4000
    assert tracker.peak["activations"] == 4000 + 4000 + 2000


def test_the_peak_is_a_moment_and_not_a_sum_of_peaks():
    tracker = MemoryTracker(granule=1)
    with tracker:
        a = shapes(1000, dtype=torch.uint8)
        tracker.own([a], "weights")
        tracker.phase = "working"
        for _ in range(3):
            shapes(500, dtype=torch.uint8)
        del a
        shapes(600, dtype=torch.uint8)
    assert (tracker.peak["weights"], tracker.peak["working"]) == (1000, 500)


def test_sizes_are_rounded_up_as_an_allocator_does():
    tracker = MemoryTracker(granule=512)
    with tracker:
        held = [shapes(1), shapes(128), shapes(129)]
    assert tracker.now["activations"] == 512 + 512 + 1024
    assert len(held) == 3


def test_a_linear_layer_forward_and_backward():
    layer = nn.Linear(8, 16, bias=False, device="meta")
    tracker = MemoryTracker(granule=1)
    tracker.own(layer.parameters(), "adapter")
    layer.weight.register_post_accumulate_grad_hook(lambda of: tracker.own([of.grad], "gradients"))
    with tracker:
        out = layer(shapes(32, 8)).sum()
        tracker.phase = "working"
        out.backward()
    assert tracker.now["adapter"] == tracker.now["gradients"] == 4 * 8 * 16


def test_logits_are_told_by_the_length_of_their_rows():
    tracker = MemoryTracker(vocabulary=50, granule=1)
    with tracker:
        logits, other = shapes(3, 10) @ shapes(10, 50), shapes(50)
    assert tracker.now["logits"] == 4 * 150
    assert other.shape == logits.shape[1:]


def test_integers_stay_real_so_that_a_step_can_read_them():
    mask = torch.tensor([[True, False], [True, True]])
    values = shapes(2, 2, 5)
    with MemoryTracker():
        picked = values[mask]
        moved = mask.to(device=values.device, dtype=torch.long)
        assert int(moved.sum()) == 3
        values[mask] = picked
        assert (values + mask[..., None]).is_meta
    assert picked.shape == (3, 5)


def test_what_is_kept_for_the_backward_pass_counts_apart_and_is_used_again():
    tracker = MemoryTracker(granule=1)
    like = shapes(1)
    with tracker, counted_arena(tracker):
        for _ in range(2):
            with remembering(True):
                first = kept((100,), like)
                assert keep(first).data_ptr() == first.data_ptr()
                keep(shapes(50))
            del first
            assert tracker.now["kept"] == 600
    assert tracker.most_kept == 600
    assert tracker.now["kept"] == 0
    assert tracker.peak["activations"] == 200, "the source of the copy"


def attention(*, on_gpu: bool, masked: bool) -> dict[str, int]:
    """Bytes by kind of 3 query heads over 1 key head, forward and backward, once it is over."""
    q = shapes(1, 3, 64, 16).requires_grad_()
    k, v = (shapes(1, 1, 64, 16).requires_grad_() for _ in range(2))
    mask = torch.ones(1, 1, 64, 64, dtype=torch.bool) if masked else None
    tracker = MemoryTracker(granule=1)
    with tracker, DeviceFunctions(on_gpu=on_gpu):
        attend = torch.nn.functional.scaled_dot_product_attention
        out = attend(q, k, v, attn_mask=mask, is_causal=not masked, enable_gqa=True)
        assert out.shape == q.shape
        del mask
        return dict(tracker.now)


def test_attention_keeps_a_mask_of_numbers_and_on_a_gpu_repeated_heads():
    output_and_sums = 4 * (3 * 64 * 16 + 3 * 64)
    assert attention(on_gpu=False, masked=False)["activations"] == output_and_sums
    assert attention(on_gpu=False, masked=True)["activations"] == output_and_sums + 4 * 64 * 64
    repeated = 2 * 4 * 3 * 64 * 16
    on_gpu = attention(on_gpu=True, masked=True)["activations"]
    assert 1.0 <= on_gpu / (output_and_sums + 4 * 64 * 64 + repeated) < 1.2


def test_multiplying_by_4_bit_weights_takes_the_weight_in_full_for_a_moment():
    from bitsandbytes.functional import create_dynamic_map, name2qmap, quantize_4bit

    name2qmap.setdefault("dynamic", create_dynamic_map())
    weight = shapes(256, 128, dtype=torch.bfloat16)
    packed, state = quantize_4bit(weight, compress_statistics=True, quant_type="nf4")
    assert packed.numel() == 256 * 128 // 2
    tracker = MemoryTracker(granule=1, stand_ins=library_stand_ins(on_gpu=False))
    x = shapes(10, 128, dtype=torch.bfloat16)
    with tracker:
        out = torch.ops.bitsandbytes.gemm_4bit(
            x, packed, list(weight.shape), state.state2.absmax, 64, "nf4",
            None, state.absmax, state.state2.code, state.offset,
        )  # fmt: skip
    assert out.shape == (10, 256)
    assert tracker.peak["activations"] >= weight.numel() * 2
    assert tracker.now["activations"] == out.numel() * 2
