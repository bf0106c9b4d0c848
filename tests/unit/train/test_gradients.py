"""Shared-context packing must not change the gradient: each family, packed against one example at a time."""

import pytest
import torch

from slm.models.load import load_model
from slm.models.lora import add_lora
from slm.models.shared_attention import use_shared_attention
from slm.recipe import LoraSection
from slm.train.encode import Encoded
from slm.train.loss import summed_loss
from slm.train.pack import Pack
from tiny import make_tiny_model

FAMILIES = ["llama", "gemma2", "gemma3", "phi3", "qwen2", "qwen3"]
CPU = torch.device("cpu")


def examples() -> list[Encoded]:
    draw = torch.Generator().manual_seed(0)

    def ids(count: int) -> tuple[int, ...]:
        return tuple(torch.randint(10, 200, (count,), generator=draw).tolist())

    first, second = ids(40), ids(25)  # longer than the tiny models' sliding window
    of_first = [Encoded(f"a{n}", first, ids(5 + n), ids(4 + n)) for n in range(3)]
    return [*of_first, Encoded("b0", second, ids(6), ids(3)), Encoded("c0", (), ids(9), ids(5))]


def gradients(model, config, packs: list[Pack]) -> tuple[float, torch.Tensor]:
    model.zero_grad()
    total = 0.0
    for pack in packs:
        loss = summed_loss(model, config, pack, device=CPU, dtype=torch.float32)
        loss.backward()
        total += loss.item()
    return total, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def reference_loss(model, example: Encoded) -> float:
    """The textbook way: one example, the library's own masks, labels only on the target."""
    prompt = example.context_ids + example.question_ids
    row = torch.tensor([prompt + example.target_ids])
    labels = row.clone()
    labels[0, : len(prompt)] = -100
    with torch.no_grad():
        return model(input_ids=row, labels=labels).loss.item() * len(example.target_ids)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_equals_one_by_one(family, shared, tmp_path):
    base = load_model(make_tiny_model(family, tmp_path), dtype="float32")
    if shared:
        use_shared_attention(base)
    config = base.config
    model = add_lora(base, LoraSection(rank=4))
    with torch.no_grad():  # LoRA starts as the identity, whose gradient would be zero for half of the parameters
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1, generator=torch.Generator().manual_seed(1))
    data = examples()
    packed = Pack((tuple(data[:3]), (data[3],), (data[4],)))
    alone = [Pack(((example,),)) for example in data]
    loss, gradient = gradients(model, config, [packed])
    expected_loss, expected = gradients(model, config, alone)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert (gradient - expected).norm() <= 1e-5 * expected.norm()
    assert loss == pytest.approx(sum(reference_loss(model, example) for example in data), rel=1e-5)
