"""Packing must not change the gradient: each family, packed and padded, against the library's own loss one by one."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slm.data import load_dataset
from slm.models import pull_model
from slm.models.fused import fuse
from slm.models.load import load_model, load_tokenizer
from slm.models.lora import add_lora
from slm.models.packed_attention import use_packed_attention
from slm.recipe import LoraSection
from slm.tasks import Renderer, TextToSql
from slm.train.encode import Encoded, encode
from slm.train.loss import summed_loss
from slm.train.pack import Pack, plan_packs, to_tensors
from tiny import FAMILIES, WINDOW, make_tiny_model

FLOAT32 = torch.float32


def draw_ids(count: int, draw: torch.Generator) -> tuple[int, ...]:
    return tuple(torch.randint(10, 200, (count,), generator=draw).tolist())


def examples() -> list[Encoded]:
    draw = torch.Generator().manual_seed(0)
    first, second = draw_ids(40, draw), draw_ids(25, draw)  # longer than the tiny models' sliding window
    of_first = [Encoded(f"a{n}", first, draw_ids(5 + n, draw), draw_ids(4 + n, draw)) for n in range(3)]
    long = Encoded("a3", first, draw_ids(WINDOW + 5, draw), draw_ids(4, draw))  # sees nothing of its context at the end
    alone = Encoded("c0", (), draw_ids(9, draw), draw_ids(5, draw))
    return [*of_first, long, Encoded("b0", second, draw_ids(6, draw), draw_ids(3, draw)), alone]


def prepared(folder: Path, *, packed: bool, fused: bool = True, spread: float = 0.1, **lora: Any) -> tuple[Any, Any]:
    base = load_model(folder, dtype="float32")
    if packed:
        use_packed_attention(base)
    torch.manual_seed(0)
    model = add_lora(base, LoraSection(rank=4, **lora))
    with torch.no_grad():  # LoRA starts as the identity, whose gradient would be zero for half of the parameters
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=spread, generator=torch.Generator().manual_seed(1))
    if fused:
        fuse(model)
    return model, base.config


def gradients(model: Any, config: Any, packs: list[Pack]) -> tuple[float, torch.Tensor]:
    model.zero_grad()
    total = 0.0
    for pack in packs:
        loss = summed_loss(model, config, to_tensors(pack), dtype=FLOAT32)
        loss.backward()
        total += loss.item()
    return total, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def textbook(model: Any, data: list[Encoded]) -> tuple[float, torch.Tensor]:
    """One example at a time, the library's own masks and loss, labels only on the target."""
    model.zero_grad()
    total = 0.0
    for example in data:
        prompt = example.context_ids + example.question_ids
        row = torch.tensor([prompt + example.target_ids])
        labels = row.clone()
        labels[0, : len(prompt)] = -100
        loss = model(input_ids=row, labels=labels).loss * len(example.target_ids)
        loss.backward()
        total += loss.item()
    return total, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def agree(found: tuple[float, torch.Tensor], expected: tuple[float, torch.Tensor], within: float = 1e-4) -> None:
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert (found[1] - expected[1]).norm() <= within * expected[1].norm()


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_packed_and_padded_equal_one_by_one(family, packed, tmp_path):
    folder = make_tiny_model(family, tmp_path)
    data = examples()
    expected = textbook(prepared(folder, packed=False, fused=False)[0], data)
    model, config = prepared(folder, packed=packed)
    agree(gradients(model, config, [Pack((tuple(data[:4]), (data[4],), (data[5],)))]), expected)
    agree(gradients(model, config, [Pack(((example,),)) for example in data]), expected)
    agree(gradients(model, config, [Pack(tuple((example,) for example in data), padded=True)]), expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_of_the_last_layer_alone(family, tmp_path):
    folder, data = make_tiny_model(family, tmp_path), examples()
    expected = textbook(prepared(folder, packed=False, fused=False, upper=0.5)[0], data)
    model, config = prepared(folder, packed=True, upper=0.5)
    agree(gradients(model, config, [Pack((tuple(data[:4]), (data[4],), (data[5],)))]), expected)


@pytest.fixture(scope="module")
def windowed(tmp_path_factory):
    folder = make_tiny_model("gemma3", tmp_path_factory.mktemp("gemma3"))
    return prepared(folder, packed=True), prepared(folder, packed=False, fused=False)[0]


@settings(max_examples=25, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 25), st.integers(1, 8)), min_size=1, max_size=6),
    contexts=st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(10, 20)),
    budget=st.integers(5, 120),
    seed=st.integers(0, 5),
)
def test_whatever_the_shapes_and_the_budget(windowed, shapes, contexts, budget, seed):
    (model, config), plain = windowed
    draw = torch.Generator().manual_seed(seed)
    shared = [draw_ids(length, draw) for length in contexts]
    data = [
        Encoded(f"e{n}", shared[context], draw_ids(question, draw), draw_ids(target, draw))
        for n, (context, question, target) in enumerate(shapes)
    ]
    packs = plan_packs(data, batch_tokens=budget, seed=seed, epoch=0)
    agree(gradients(model, config, packs), textbook(plain, data), within=3e-4)  # these models magnify rounding


@pytest.mark.parametrize("family", FAMILIES)
def test_changing_one_branch_changes_no_other_by_a_bit(family, tmp_path):
    model, config = prepared(make_tiny_model(family, tmp_path), packed=True)
    data = examples()
    changed = Encoded("a1", data[1].context_ids, data[1].question_ids[::-1], data[1].target_ids)

    def logits(members: list[Encoded]) -> list[torch.Tensor]:
        from slm.models.packed_attention import packed_inputs

        tensors = to_tensors(Pack((tuple(members),)))
        inputs = packed_inputs(config, tensors.layout, FLOAT32)
        with torch.no_grad():
            every = model(input_ids=tensors.input_ids, use_cache=False, **inputs).logits[0]
        return every[tensors.predict_at].split([len(one.target_ids) for one in members])

    before, after = logits(data[:4]), logits([data[0], changed, *data[2:4]])
    for number in (0, 2, 3):
        assert torch.equal(before[number], after[number])
    assert not torch.equal(before[1], after[1])


@pytest.mark.parametrize("name", ["smollm2-135m", "gemma3-270m"])
def test_the_real_models_agree(name):
    folder = pull_model(name, accept_license=True)
    dataset = load_dataset("roastery:train", limit=3)
    data = encode(dataset.examples, TextToSql(dataset.contexts), Renderer(load_tokenizer(folder)))
    expected = textbook(prepared(folder, packed=False, fused=False, spread=0.01)[0], data)
    model, config = prepared(folder, packed=True, spread=0.01)
    agree(gradients(model, config, [Pack((tuple(data),))]), expected)
