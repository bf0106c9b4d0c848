"""Every example is in one pack, within the budget, and predicts its own target."""

from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st

from slm.train.encode import Encoded
from slm.train.pack import Pack, plan_packs, to_tensors

ids = st.lists(st.integers(0, 99), min_size=1, max_size=12).map(tuple)
contexts = st.sampled_from([(), (1, 2, 3), tuple(range(30)), (7,) * 80])


@st.composite
def examples(draw):
    triples = draw(st.lists(st.tuples(contexts, ids, ids), min_size=1, max_size=40))
    return [Encoded(str(number), *triple) for number, triple in enumerate(triples)]


@given(examples(), st.integers(20, 200), st.integers(0, 3), st.integers(0, 3))
def test_every_example_is_in_exactly_one_pack_and_packs_keep_the_budget(data, budget, seed, epoch):
    packs = plan_packs(data, batch_tokens=budget, seed=seed, epoch=epoch)
    seen = Counter(example.example_id for pack in packs for example in pack.examples)
    assert seen == Counter(example.example_id for example in data)
    for pack in packs:
        alone = sum(1 for _ in pack.examples) == 1
        assert pack.tokens <= budget or alone
        assert pack.tokens <= pack.unshared_tokens


@given(examples(), st.integers(20, 200))
def test_packs_are_reproducible_and_epochs_differ_only_in_order(data, budget):
    plan = [plan_packs(data, batch_tokens=budget, seed=1, epoch=0) for _ in range(2)]
    assert plan[0] == plan[1]


@given(examples(), st.integers(20, 200))
def test_layout_says_what_each_example_would_say_alone(data, budget):
    for pack in plan_packs(data, batch_tokens=budget, seed=0, epoch=0):
        tensors = to_tensors(pack)
        row, layout = tensors.input_ids[0], tensors.layout
        assert len(layout) == row.shape[0] == pack.tokens
        numbered = [
            (context, branch, example)
            for context, group in enumerate(pack.groups)
            for branch, example in enumerate(group, 1)
        ]
        for context, branch, example in numbered:
            mine = (layout.context == context) & ((layout.branch == 0) | (layout.branch == branch))
            alone = example.context_ids + example.question_ids + example.target_ids
            assert tuple(row[mine].tolist()) == alone[:-1]
            assert layout.position[mine].tolist() == list(range(len(alone) - 1))
        assert tensors.labels.tolist() == [token for _, _, example in numbered for token in example.target_ids]
        assert tensors.labels.shape == tensors.predict_at.shape == (pack.target_tokens,)


def test_each_label_is_predicted_by_the_token_before_it():
    pack = Pack(((Encoded("a", (1, 2), (3, 4), (5, 6)), Encoded("b", (1, 2), (7,), (8,))),))
    tensors = to_tensors(pack)
    assert tensors.input_ids.tolist() == [[1, 2, 3, 4, 5, 7]]
    assert tensors.predict_at.tolist() == [3, 4, 5]
    assert torch.equal(tensors.labels, torch.tensor([5, 6, 8]))
