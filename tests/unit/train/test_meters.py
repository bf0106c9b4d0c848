"""Operations are counted as torch counts them, memory as the system does, and waiting is a share of the step."""

import mmap
import time

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from slm.models.load import load_model
from slm.models.lora import add_lora
from slm.recipe import LoraSection
from slm.train.encode import Encoded
from slm.train.flops import FlopCount, seen_pairs
from slm.train.loss import summed_loss
from slm.train.meters import Meters
from slm.train.pack import Pack, to_tensors
from slm.train.peak import peak_flops, peak_memory_mb, reset_peak_memory
from tiny import FAMILIES, WINDOW, make_tiny_model

CPU = torch.device("cpu")


def ids(count: int) -> tuple[int, ...]:
    return tuple(range(10, 10 + count))


def example(context: int, question: int, target: int) -> Encoded:
    return Encoded("e", ids(context), ids(question), ids(target))


def shared() -> Pack:
    return Pack(((example(40, 6, 5), example(40, 8, 3)), (example(25, 4, 4),)))


def padded() -> Pack:
    return Pack(((example(40, 6, 5),), (example(25, 4, 4),)), padded=True)


def pairs_of_layout(pack: Pack, window: int | None) -> int:
    """Token by token."""
    tensors = to_tensors(pack)
    position = tensors.layout.position if tensors.layout else (tensors.mask.cumsum(-1) - 1)[tensors.mask == 1]
    return sum(min(int(p) + 1, window or 10**9) for p in position)


@pytest.mark.parametrize("pack", [shared(), padded()], ids=["shared", "padded"])
@pytest.mark.parametrize("window", [None, 16, 43, 44, 45, 1000])
def test_who_sees_whom_is_counted_as_token_by_token(pack, window):
    assert seen_pairs(pack, window) == pairs_of_layout(pack, window)


def counted(run) -> dict[str, int]:
    """By kind of product, what torch counts while `run` runs."""
    with FlopCounterMode(display=False) as counter:
        run()
    found = {str(name): flops for name, flops in counter.get_flop_counts()["Global"].items()}
    return {"linear": found.get("aten.mm", 0) + found.get("aten.addmm", 0), "attention": found.get("aten.bmm", 0)}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_forward_pass_is_counted_as_torch_counts_it(family, tmp_path):
    """Linear layers agree exactly. Eager attention computes whole squares, of which causal attention needs the half."""
    model = load_model(make_tiny_model(family, tmp_path), dtype="float32")
    model.set_attn_implementation("eager")
    one = example(80, 30, 20)
    pack = Pack(((one,),))
    count = FlopCount(model)
    row = to_tensors(pack).input_ids
    assert row.shape[1] == pack.tokens
    with torch.no_grad():
        found = counted(lambda: model(input_ids=row, use_cache=False, logits_to_keep=len(one.target_ids)))
    assert count.linear(pack).forward == found["linear"]
    squares = model.config.num_hidden_layers * count._pair * pack.tokens**2
    assert found["attention"] == pytest.approx(squares, rel=0.01)  # and the few products of the rotations' angles
    windows = [None, None] if family in ("llama", "qwen2", "qwen3") else [WINDOW, None]
    windows = [WINDOW, WINDOW] if family == "phi3" else windows
    assert count.attention(pack).forward == count._pair * sum(seen_pairs(pack, window) for window in windows)
    assert count.of(pack).forward == count.linear(pack).forward + count.attention(pack).forward


def test_training_an_adapter_needs_no_gradient_of_frozen_weights(tmp_path):
    base = load_model(make_tiny_model("llama", tmp_path), dtype="float32")
    config = base.config
    rank = 4
    model = add_lora(base, LoraSection(rank=rank)).train()
    pack = shared()
    tensors = to_tensors(pack)
    ours = FlopCount(model).linear(pack)
    found = counted(lambda: summed_loss(model, config, tensors, dtype=torch.float32).backward())["linear"]
    # The embedding is frozen, so in the first layer q, k and v, and their adapters, need no gradient of their input.
    size = config.hidden_size
    outputs = size + 2 * size * config.num_key_value_heads // config.num_attention_heads
    spared = 2 * pack.tokens * (size * outputs + 3 * size * rank)
    assert ours.forward + ours.backward - spared == found
    assert ours.recompute == 0


def test_layers_below_the_first_that_is_trained_have_no_backward_pass(tmp_path):
    base = load_model(make_tiny_model("llama", tmp_path), dtype="float32")
    config, pack, rank = base.config, shared(), 4
    model = add_lora(base, LoraSection(rank=rank, upper=0.5)).train()
    count = FlopCount(model)
    found = counted(lambda: summed_loss(model, config, to_tensors(pack), dtype=torch.float32).backward())["linear"]
    size = config.hidden_size
    outputs = size + 2 * size * config.num_key_value_heads // config.num_attention_heads
    spared = 2 * pack.tokens * (size * outputs + 3 * size * rank)
    assert count.linear(pack).forward + count.linear(pack).backward - spared == found
    assert count.attention(pack).backward == count.attention(pack).forward  # twice, of one of two layers


def test_training_every_weight_costs_three_times_the_forward_pass(tmp_path):
    model = load_model(make_tiny_model("llama", tmp_path), dtype="float32")
    flops = FlopCount(model).of(shared())
    assert flops.backward == 2 * flops.forward
    model.gradient_checkpointing_enable()
    again = FlopCount(model).of(shared())
    head = 2 * model.lm_head.weight.numel() * shared().target_tokens
    assert (again.forward, again.backward) == (flops.forward, flops.backward)
    assert again.recompute == flops.forward - head


def test_the_output_layer_counts_at_target_tokens_alone(tmp_path):
    model = load_model(make_tiny_model("llama", tmp_path), dtype="float32")
    count = FlopCount(model)
    longer = Pack(((example(40, 5, 6), example(40, 8, 3)), (example(25, 4, 4),)))
    assert longer.tokens == shared().tokens
    assert count.linear(longer).forward - count.linear(shared()).forward == 2 * model.lm_head.weight.numel()


def test_peak_is_measured_once_and_is_what_a_product_reaches():
    peak = peak_flops(CPU, torch.float32)
    began = time.perf_counter()
    assert peak_flops(CPU, torch.float32) == peak
    assert time.perf_counter() - began < 0.01
    left = torch.ones(512, 512)
    torch.mm(left, left)
    began = time.perf_counter()
    torch.mm(left, left)
    once = 2 * 512**3 / (time.perf_counter() - began)
    assert once < 5 * peak, "no product is much faster than the best of several"
    assert peak > 1e8


def test_peak_memory_rises_stays_and_can_be_reset():
    reset_peak_memory(CPU)
    before = peak_memory_mb(CPU)
    # Not a tensor: the allocator may have room for one that an earlier test has freed.
    with mmap.mmap(-1, 300_000_000) as block:
        for _ in range(300):
            block.write(b"x" * 1_000_000)
        assert peak_memory_mb(CPU) == pytest.approx(before + 300, abs=60)
    high = peak_memory_mb(CPU)
    assert high > before + 200
    reset_peak_memory(CPU)
    assert peak_memory_mb(CPU) < high - 200


def test_figures_of_a_step(tmp_path):
    model = load_model(make_tiny_model("llama", tmp_path), dtype="float32")
    meters = Meters(model, device=CPU, dtype=torch.float32, processes=2)
    packs = [shared(), padded()]
    with meters.waiting():
        time.sleep(0.02)
    with meters.waiting():
        time.sleep(0.03)
    with meters.transferring():
        time.sleep(0.01)
    row = meters.finish(packs, seconds=0.5)
    assert row["target_tokens_per_s"] == sum(pack.target_tokens for pack in packs) / 0.5
    assert (
        row["padded_tokens_per_s"]
        == sum(pack.padded_tokens for pack in packs) / 0.5
        > sum(pack.tokens for pack in packs) / 0.5
    )
    assert 0.1 <= row["data_wait"] < 0.3
    assert 0.02 <= row["transfer"] < 0.2
    assert row["peak_memory_mb"] > 100
    flops = FlopCount(model)
    needed = sum(flops.of(pack).forward + flops.of(pack).backward for pack in packs)
    assert row["mfu"] == row["hfu"] == round(needed / 0.5 / (2 * peak_flops(CPU, torch.float32)), 4)
    again = meters.finish(packs, seconds=0.5)
    assert again["data_wait"] == again["transfer"] == 0, "a step's waiting is its own"


PROCESS = """
import sys, torch, torch.distributed as dist
from slm.train.meters import _most
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
assert _most([1.0 + rank, 5.0 - rank], torch.device("cpu")) == [2.0, 5.0]
dist.destroy_process_group()
"""


def test_over_processes_the_most_counts(tmp_path):
    import subprocess
    import sys

    started = [
        subprocess.Popen([sys.executable, "-c", PROCESS, str(rank), str(tmp_path / "meet")]) for rank in range(2)
    ]
    assert [process.wait(timeout=120) for process in started] == [0, 0]
