"""Distributions along answers are those of a plain forward pass, and their divergence the exact one or just below."""

import random

import pytest
import torch

from slm.generate.local.along import TOP, Line, along, distance
from slm.models.load import load_model
from slm.tasks import Rendered
from tiny import FAMILIES, make_tiny_model


def ids(count, seed):
    return tuple(random.Random(seed).choices(range(10, 490), k=count))  # noqa: S311


# Contexts longer and shorter than the window of the tiny models, one that is asked twice, and none.
LINES = [
    Line(Rendered(ids(40, 0), ids(6, 1)), ids(9, 2)),
    Line(Rendered(ids(40, 0), ids(3, 3)), ids(30, 4)),
    Line(Rendered((), ids(12, 5)), ids(1, 6)),
    Line(Rendered(ids(20, 7), ()), ids(4, 8)),
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return {
        family: load_model(make_tiny_model(family, tmp_path_factory.mktemp(family)), dtype="float32")
        for family in FAMILIES
    }


@torch.no_grad()
def plain(model, line):
    """Log-probabilities before each token of the answer, by one forward pass."""
    logits = model(torch.tensor([[*line.prompt.ids, *line.answer]])).logits[0, len(line.prompt.ids) - 1 : -1]
    return logits.float().log_softmax(-1)


@pytest.mark.parametrize("family", FAMILIES)
def test_they_are_those_of_a_plain_pass(models, family):
    model = models[family]
    for line, found in zip(LINES, along(model, LINES), strict=True):
        expected = plain(model, line)
        assert torch.equal(found.chosen, expected.argmax(-1))
        given = expected.gather(1, torch.tensor(line.answer)[:, None])[:, 0]
        assert torch.allclose(found.given, given, atol=1e-4)
        assert torch.allclose(found.buckets[:, :-1], expected.gather(1, found.ids), atol=1e-4)
        assert torch.allclose(found.buckets.exp().sum(-1), torch.ones(len(line.answer)), atol=1e-5)


def changed(models, family="llama", by=0.02):
    """A model whose weights are a little different."""
    import copy

    other = copy.deepcopy(models[family])
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        for value in other.parameters():
            value += by * torch.randn_like(value) * value.abs().mean()
    return other


def test_the_divergence_is_exact_where_all_tokens_are_kept_and_below_it_otherwise(models, monkeypatch):
    model, other = models["llama"], changed(models)
    exact = torch.cat(
        [(plain(model, line).exp() * (plain(model, line) - plain(other, line))).sum(-1) for line in LINES]
    )
    assert exact.mean() > 1e-4
    assert len(plain(model, LINES[0])[0]) <= TOP
    reference = along(model, LINES)
    found = distance(reference, along(other, LINES, reference=reference))
    assert found.kl_mean == pytest.approx(float(exact.mean()), rel=1e-3)
    assert found.kl_max == pytest.approx(float(exact.max()), rel=1e-3)
    monkeypatch.setattr("slm.generate.local.along.TOP", 20)
    reference = along(model, LINES)
    coarse = distance(reference, along(other, LINES, reference=reference))
    assert 0 < coarse.kl_mean < found.kl_mean


def test_a_model_is_at_no_distance_from_itself(models):
    found = along(models["gemma3"], LINES)
    same = distance(found, along(models["gemma3"], LINES, reference=found))
    assert (same.kl_max, same.agree) == (0.0, same.tokens)
    assert same.tokens == sum(len(line.answer) for line in LINES)


def test_another_order_of_the_vocabulary_changes_nothing(models):
    """As a trimmed vocabulary has it: the same tokens under other ids."""
    model = models["llama"]
    order = torch.randperm(500, generator=torch.Generator().manual_seed(3))
    mapping = order.argsort().tolist()  # new id of each old one
    other = changed(models, by=0.0)
    with torch.no_grad():
        other.get_input_embeddings().weight.copy_(model.get_input_embeddings().weight[order])

    def moved(numbers):
        return tuple(mapping[number] for number in numbers)

    lines = [
        Line(Rendered(moved(line.prompt.context_ids), moved(line.prompt.question_ids)), moved(line.answer))
        for line in LINES
    ]
    reference = along(model, LINES)
    found = distance(reference, along(other, lines, reference=reference, mapping=mapping))
    assert found.kl_max < 1e-6
    assert found.agree == found.tokens


def test_tokens_that_a_vocabulary_has_not_count_among_the_others(models):
    model = models["llama"]
    used = {number for line in LINES for number in (*line.prompt.ids, *line.answer)}
    mapping = [number if number in used or number % 3 else -1 for number in range(500)]
    reference = along(model, LINES)
    found = distance(reference, along(model, LINES, reference=reference, mapping=mapping))
    assert 0 <= found.kl_mean < 1e-6  # the model is the same: nothing but the partition changes
