"""A plan says what takes how much, whether it fits, and what would make it fit; it follows what the recipe says."""

import shutil

import pytest
import torch

from slm.errors import RecipeError
from slm.recipe import Recipe
from slm.train.encode import Encoded
from slm.train.plan import packs, plan
from slm.train.plan import preflight as preflights
from slm.train.plan.advice import suggest
from slm.train.plan.hardware import Device, find_device
from slm.train.plan.packs import PlannedData, demanding, planned_data
from slm.train.plan.plan import make_plan
from tiny import make_tiny_model, store_matrices

BIG = find_device("80GB")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return str(make_tiny_model("llama", tmp_path_factory.mktemp("tiny")))


def recipe(name: str, **sections) -> Recipe:
    required = {"name": "mine", "data": {"train": "a"}, "evaluate": {"suite": "b"}}
    sections["model"] = {"name": name, **sections.get("model", {})}
    sections["train"] = {"batch_tokens": 2048, **sections.get("train", {})}
    return Recipe.model_validate(required | sections)


def data(count: int = 60, context: int = 300) -> PlannedData:
    one = Encoded("e", (7,) * context, (8,) * 20, (9,) * 20)
    return PlannedData((one,) * count, "made here")


def planned(wanted: Recipe, device: Device = BIG, **options):
    return make_plan(wanted, device, data=data(), **{"cost": False, **options})


def test_every_part_is_there_and_adds_up(tiny):
    made = planned(recipe(tiny))
    parts = made.memory.model_dump()
    assert made.total == sum(parts.values())
    assert parts["activations"] > parts["logits"] + parts["gradients"] > 0, "at one moment"
    assert 2 * parts["adapter"] < parts["optimizer"] < 2.2 * parts["adapter"]
    assert parts["process"] == BIG.context_bytes
    assert made.fits
    assert made.overrides is None
    assert made.planning_s < 10


def test_predictions_follow_what_the_recipe_says(tiny):
    plain = planned(recipe(tiny)).memory
    smaller = planned(recipe(tiny, train={"batch_tokens": 512})).memory
    assert smaller.activations < 0.5 * plain.activations
    assert planned(recipe(tiny, train={"recompute": True})).memory.activations < plain.activations
    assert planned(recipe(tiny, model={"quantize": "nf4"})).memory.weights < plain.weights
    assert planned(recipe(tiny, model={"dtype": "bfloat16"})).memory.weights == pytest.approx(
        plain.weights / 2, rel=0.1
    )
    eight = planned(recipe(tiny, lora={"rank": 64}, train={"optimizer": "adamw-8bit"})).memory
    full = planned(recipe(tiny, lora={"rank": 64})).memory
    assert eight.optimizer < 0.6 * full.optimizer


def test_processes_share_weights_only_when_they_are_told_to(tiny):
    alone = planned(recipe(tiny)).memory
    each = planned(recipe(tiny), processes=4).memory
    shared = planned(recipe(tiny), processes=4, sharded=True).memory
    assert (each.weights, each.gradients) == (alone.weights, alone.gradients + alone.adapter)
    assert shared.optimizer == pytest.approx(alone.optimizer / 4, abs=1000)


@pytest.mark.parametrize("packing", ["shared", "none"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_cpu_plan_counts_this_process(tiny, packing, method):
    wanted = recipe(tiny, train={"packing": packing, "method": method})
    made = planned(wanted, find_device(None))
    assert made.memory.process > 50e6
    assert made.memory.activations > 0


def test_a_recipe_for_80_gb_is_refused_16_gb_with_overrides_that_fit(tiny):
    """Its packs are far too large: the mask alone is a square of their tokens."""
    wanted = recipe(tiny, train={"batch_tokens": 49152, "packs_per_step": 2})
    found = data(count=1300)
    assert make_plan(wanted, BIG, data=found, cost=False).fits
    made = make_plan(wanted, find_device("16GB"), data=found, cost=False)
    assert not made.fits
    assert made.overrides
    values = dict(override.split("=") for override in made.overrides)
    tokens = int(values.get("train.batch_tokens", 49152)) * int(values.get("train.packs_per_step", 2))
    assert tokens == 49152 * 2, "as many in a step as before"
    assert made.changed_total <= made.memory_limit


def test_the_cheapest_change_that_is_enough_is_taken():
    wanted = recipe("phi3-mini", train={"packs_per_step": 3})
    seen: list[Recipe] = []

    def fits_small_packs(one: Recipe) -> bool:
        seen.append(one)
        return one.train.batch_tokens <= 1024

    change = suggest(wanted, 200, fits_small_packs)
    assert change.overrides == ("train.batch_tokens=1024", "train.packs_per_step=6")
    assert suggest(wanted, 2048, lambda one: one.train.recompute).overrides == ("train.recompute=true",)
    assert suggest(wanted, 2048, lambda one: one.model.quantize == "nf4").overrides == ("model.quantize=nf4",)
    assert suggest(wanted, 200, lambda one: False) is None
    full = recipe("phi3-mini", train={"method": "full"})
    assert suggest(full, 2048, lambda one: one.model.quantize == "nf4") is None, "which full training cannot be"


def test_too_little_memory_is_refused_with_what_would_fit(tiny, monkeypatch):
    wanted = recipe(tiny)
    need = planned(wanted).total
    monkeypatch.setattr(
        preflights, "this_device", lambda: Device("small", need - 1000, True, context_bytes=BIG.context_bytes)
    )
    with pytest.raises(RecipeError) as error:
        preflights.preflight(wanted, data().encoded)
    assert "mine on small: training would take" in str(error.value)
    assert "--no-plan" in str(error.value)
    assert "try: train.batch_tokens=1024 train.packs_per_step=2, which takes" in str(error.value)
    monkeypatch.setattr(preflights, "this_device", lambda: Device("none", 1000, True))
    with pytest.raises(RecipeError, match="would not be enough"):
        preflights.preflight(wanted, data().encoded)


def test_what_fits_is_told_and_kept(tiny, capsys):
    kept = preflights.preflight(recipe(tiny), data().encoded)
    assert kept.predicted_bytes == sum(kept.parts.values())
    assert "to spare, planned in" in capsys.readouterr().err


def test_serving_holds_every_question_with_the_longest_context(tiny):
    wanted = recipe(tiny, generate={"batch_size": 10, "max_new_tokens": 80})
    serving = planned(wanted, serve=True).serving
    layers, heads, size = 2, 2, 16
    assert serving.kv_cache == 10 * (300 + 20 + 80) * 2 * layers * heads * size * 4
    assert serving.working > 0


def test_serving_has_its_weights_in_the_type_of_the_arithmetic(tiny, tmp_path):
    copied = shutil.copytree(tiny, tmp_path / "half")
    stored = planned(recipe(str(store_matrices(copied, torch.float16))), serve=True)
    plain = planned(recipe(tiny), serve=True)
    assert stored.memory.weights < 0.6 * plain.memory.weights
    assert stored.serving.weights == plain.serving.weights


def test_time_and_cost_come_from_a_stated_share_or_not_at_all(tiny, tmp_path):
    wanted = recipe(tiny, model={"dtype": "bfloat16"})
    silent = planned(wanted, find_device("a100-80"), cost=True, runs=tmp_path).cost
    assert (silent.seconds, silent.usd, silent.mfu) == (None, None, None)
    stated = planned(wanted, find_device("a100-80"), cost=True, mfu=0.5, runs=tmp_path).cost
    assert stated.seconds == pytest.approx(stated.flops / (0.5 * 312e12))
    assert stated.usd == pytest.approx(stated.seconds / 3600 * 2.5)
    assert stated.mfu_from == "stated"
    assert planned(wanted, find_device("t4"), cost=True, mfu=0.5, runs=tmp_path).cost.seconds is None, (
        "no bfloat16 there"
    )
    assert planned(wanted, find_device("16GB"), cost=True, mfu=0.5, runs=tmp_path).cost.usd is None


def test_without_data_or_tokenizer_the_packs_are_stated(tiny, monkeypatch, tmp_path):
    found = planned_data(recipe(tiny, data={"train": str(tmp_path / "none.jsonl")}))
    assert found.stated
    assert "stated packs of 2048 tokens" in found.note
    ((pack,),) = found.steps(recipe(tiny))
    assert 0.9 * 2048 < pack.tokens <= 2048
    monkeypatch.setattr(packs, "model_folder", lambda _: tmp_path)
    assert "no tokenizer is here" in planned_data(recipe("phi3-mini")).note


def test_packs_that_can_need_the_most_are_tried():
    few_long = Encoded("a", (1,) * 900, (1,) * 50, (1,) * 50)
    many_short = Encoded("b", (2,) * 10, (1,) * 5, (1,) * 30)
    steps = PlannedData((few_long, *[many_short] * 24), "").steps(recipe("x", train={"batch_tokens": 1000}))
    chosen = demanding([pack for step in steps for pack in step])
    assert {example.example_id for pack in chosen for example in pack.examples} == {"a", "b"}
    assert plan.make_plan is make_plan
