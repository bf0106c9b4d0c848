"""Drawn tokens: by the model's own distribution, and the same whatever else is computed beside them."""

from collections import Counter

import pytest
import torch

from slm.generate.local import LocalBackend
from slm.generate.local.choose import TEMPERATURE, Draw, choose
from slm.models.load import load_model, load_tokenizer
from slm.records import Prompt
from slm.tasks import Renderer
from tiny import make_tiny_model

REQUESTS = [(name, Prompt(context="song(id int pk)", question=name)) for name in ("How many?", "Which?", "List all.")]


def test_tokens_come_as_often_as_the_softmax_says():
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0]) * TEMPERATURE
    draw, count = Draw(0), 4000
    found = Counter(int(draw.order(logits)[0]) for _ in range(count))
    expected = torch.softmax(logits / TEMPERATURE, 0)
    for index, share in enumerate(expected.tolist()):
        assert found[index] / count == pytest.approx(share, abs=0.03)


def test_what_is_refused_makes_room_for_the_next_drawn():
    class OnlyOdd:
        def accept(self, token):
            return token % 2 == 1

    logits = torch.arange(10.0)[None]
    drawn = {int(choose([OnlyOdd()], [Draw(seed)], logits, logits.argmax(-1))[0]) for seed in range(40)}
    assert drawn > {9}
    assert all(token % 2 for token in drawn)


@pytest.fixture(scope="module")
def backend(tmp_path_factory):
    folder = make_tiny_model("llama", tmp_path_factory.mktemp("llama"))
    renderer = Renderer(load_tokenizer(folder))
    return lambda batch: LocalBackend(load_model(folder, dtype="float32"), renderer, max_new_tokens=8, batch_size=batch)


def test_candidates_do_not_depend_on_what_is_computed_beside_them(backend):
    together = {(one.example_id, number): one.text for number, one in backend(12).draw(REQUESTS, range(4))}
    alone = {(one.example_id, number): one.text for number, one in backend(1).draw(REQUESTS, range(4))}
    assert together == alone
    assert len(together) == 12
    greedy = {one.example_id: one.text for one in backend(3).generate(REQUESTS)}
    assert greedy == {name: together[name, 0] for name, _ in REQUESTS}
    for name, _ in REQUESTS:
        assert len({together[name, number] for number in range(4)}) > 1
