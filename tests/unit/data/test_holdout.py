"""Held-out examples stay out of training: whole databases where there are several, else whatever is not trained on."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from slm.data import Dataset, load_dataset
from slm.data.holdout import describe_hold_out, hold_out
from slm.errors import DataError
from slm.records import Example


def dataset(sizes: list[int]) -> Dataset:
    """So many different examples about each of several databases."""
    examples = tuple(
        Example(id=f"{context}-{n}", context_id=f"c{context}", question=f"q{context} {n}", targets=(f"s{context} {n}",))
        for context, size in enumerate(sizes)
        for n in range(size)
    )
    return Dataset("made", examples, {f"c{context}": Path() for context in range(len(sizes))}, "")


def one_database(examples: list[tuple[str, str]]) -> Dataset:
    """(question, query) pairs about one database."""
    made = [Example(id=f"e{n}", context_id="c", question=q, targets=(s,)) for n, (q, s) in enumerate(examples)]
    return Dataset("made", tuple(made), {"c": Path()}, "")


@pytest.mark.parametrize("seed", range(20))
def test_whole_databases_are_held_out_where_there_are_several(seed):
    draw = random.Random(seed)  # noqa: S311 (nothing to do with security)
    data = dataset([draw.randint(5, 40) for _ in range(40)])
    train, held_out = hold_out(data, 30, seed)
    trained, asked = ({example.context_id for example in side} for side in (train, held_out))
    assert len(held_out) == 30
    assert not trained & asked
    assert len(trained) >= 32
    assert len(train) >= 0.8 * len(data.examples)
    # Training keeps every example of the databases that it sees, and both sides keep the data's order.
    assert train == tuple(example for example in data.examples if example.context_id in trained)
    assert list(held_out) == sorted(held_out, key=data.examples.index)


def test_the_sample_is_about_at_least_four_databases():
    data = dataset([50] * 40)
    train, held_out = hold_out(data, 10, 0)
    assert len(data.examples) - len(train) == 4 * 50
    assert len({example.context_id for example in hold_out(data, 100, 0)[1]}) == 4
    assert describe_hold_out(data, train, held_out) == (
        f"held out 10 examples about {len({example.context_id for example in held_out})} databases that training does "
        "not see, 190 more like them are not used; 1800 to train on"
    )


def test_a_small_data_set_gives_a_smaller_sample():
    data = dataset([6] * 10)
    train, held_out = hold_out(data, 64, 0)
    assert len({example.context_id for example in held_out}) == 2
    assert (len(train), len(held_out)) == (48, 12)


def test_a_large_database_is_not_held_out():
    data = dataset([300, *[20] * 9])
    for seed in range(10):
        asked = {example.context_id for example in hold_out(data, 64, seed)[1]}
        assert len(asked) == 2
        assert "c0" not in asked


@pytest.mark.parametrize("sizes", [[200], [40, 40, 40], [200, 1, 1, 1, 1]])
def test_single_examples_are_held_out_where_databases_would_give_too_few(sizes):
    data = dataset(sizes)
    train, held_out = hold_out(data, 20, 1)
    assert len(held_out) == 20
    assert sorted(example.id for example in (*train, *held_out)) == sorted(example.id for example in data.examples)
    assert describe_hold_out(data, train, held_out) == f"held out 20 examples; {len(train)} to train on"


@pytest.mark.parametrize("seed", range(20))
def test_no_question_and_no_target_stands_on_both_sides(seed):
    draw = random.Random(seed)  # noqa: S311 (nothing to do with security)
    data = one_database([(f"How many  {draw.randint(0, 60)}?", f"SELECT {draw.randint(0, 60)};") for _ in range(60)])
    train, held_out = hold_out(data, 8, seed)
    assert held_out

    def texts(side: tuple[Example, ...]) -> set[str]:
        return {text for example in side for text in (example.question, *example.targets)}

    assert not texts(train) & texts(held_out)


def test_case_spacing_and_a_semicolon_make_no_other_query():
    alike = [("Which singers are there?", "SELECT name FROM singer"), ("List singers", "select name\nfrom singer ;")]
    data = one_database([*alike, *((f"q{n}", f"s{n}") for n in range(8))])
    for seed in range(30):
        train, _ = hold_out(data, 2, seed)
        assert sum(example.id in ("e0", "e1") for example in train) != 1


def test_too_few_examples_or_all_alike_cannot_be_held_out():
    with pytest.raises(DataError, match="no example can be held out of 4"):
        hold_out(dataset([4]), 64, 0)
    with pytest.raises(DataError, match="no example can be held out of 50"):
        hold_out(one_database([(f"q{n}", "SELECT 1") for n in range(50)]), 64, 0)
    empty = Dataset("made", dataset([3]).examples, {}, "")
    with pytest.raises(DataError, match=r"no example can be held out of 0.*"):
        hold_out(empty, 64, 0)


def test_examples_without_their_database_are_on_neither_side():
    full = dataset([10] * 10)
    data = Dataset("made", full.examples, {f"c{n}": Path() for n in range(1, 10)}, "")
    for side in hold_out(data, 10, 0):
        assert "c0" not in {example.context_id for example in side}


def test_the_draw_depends_on_the_seed_and_on_nothing_of_the_process():
    data = load_dataset("roastery:train")
    ids = {seed: [example.id for example in hold_out(data, 64, seed)[1]] for seed in (0, 1)}
    assert len(ids[0]) == 64
    assert ids[0] != ids[1]
    program = (
        "from slm.data import load_dataset; from slm.data.holdout import hold_out\n"
        "print(*(example.id for example in hold_out(load_dataset('roastery:train'), 64, 0)[1]))"
    )
    again = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert again.stdout.split() == ids[0]
