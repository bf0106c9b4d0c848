"""Watching a training: what is measured is right, training does not notice, and rows say which weights are the best."""

import random
import sqlite3
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, set_seed

from slm.errors import RecipeError
from slm.files import JsonLinesWriter, read_records
from slm.models.load import load_model, load_tokenizer
from slm.models.lora import add_lora
from slm.models.packed_attention import use_packed_attention
from slm.recipe import LoraSection, Recipe
from slm.records import Example
from slm.tasks import Renderer, TextToSql
from slm.train.encode import encode
from slm.train.loss import summed_loss
from slm.train.pack import plan_packs, to_tensors
from slm.train.watch import Relation, Watch, WatchRow, best, describe, relation, stalled
from tiny import make_tiny_model

COUNT = "SELECT COUNT(*) FROM orders"
LARGEST = "SELECT MAX(total) FROM orders"


def ask(number: int, target: str, context: str = "shop") -> Example:
    return Example(id=f"e{number}", context_id=context, question=f"How many {number}?", targets=(target,))


# Of the held-out ones, half ask for what is trained, and nobody can judge the last.
TRAINED = [ask(number, COUNT) for number in range(8)]
HELD_OUT = [*(ask(100 + n, COUNT if n % 2 else LARGEST) for n in range(6)), ask(200, "SELECT no FROM nowhere")]


@pytest.fixture(scope="module", params=["llama", "gemma3"])
def tiny(request, tmp_path_factory):
    return make_tiny_model(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return make_tiny_model("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "shop.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, total REAL)")
        database.executemany("INSERT INTO orders (total) VALUES (?)", [(2.5,), (7.0,), (11.0,)])
    database.close()
    return TextToSql({"shop": path})


class Training:
    """A training without the loop, so that a watch can be tried between any two steps."""

    def __init__(self, folder, task, *, packing="shared", quantize="none", lora=True, **watch):
        set_seed(0)
        self.base = load_model(folder, dtype="float32", quantize=quantize)
        if packing == "shared":
            use_packed_attention(self.base)
        self.model = add_lora(self.base, LoraSection(rank=8, dropout=0.1)) if lora else self.base
        self.recipe = Recipe(
            name="watched",
            model={"name": str(folder)},
            data={"train": "roastery:train"},
            train={"batch_tokens": 300, "packing": packing},
            watch={"every": 5, "examples": len(HELD_OUT), **watch},
            evaluate={"suite": "roastery:test"},
            generate={"max_new_tokens": 40, "batch_size": 3},
        )
        self.renderer = Renderer(load_tokenizer(folder))
        packs = plan_packs(self.encode(TRAINED, task), batch_tokens=300, seed=0, epoch=0, packing=packing)
        self.packs = [to_tensors(pack) for pack in packs]
        self.encoded = self.encode(HELD_OUT, task)
        self.watch = Watch(
            self.recipe, task, self.renderer, HELD_OUT, self.encoded, steps=12, accelerator=Accelerator(cpu=True)
        )
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=5e-3)
        self.model.train()

    def encode(self, examples, task):
        return encode(examples, task, self.renderer)

    def step(self) -> None:
        for tensors in self.packs:
            loss = summed_loss(self.model, self.base.config, tensors, dtype=torch.float32)
            (loss / len(TRAINED)).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


def loss_of_one(model, example) -> tuple[float, int]:
    """The summed loss and the number of target tokens, by a plain forward pass over one example."""
    ids = torch.tensor([example.context_ids + example.question_ids + example.target_ids])
    count = len(example.target_ids)
    logits = model(input_ids=ids, use_cache=False).logits[0, -count - 1 : -1]
    return float(torch.nn.functional.cross_entropy(logits, ids[0, -count:], reduction="sum")), count


def test_accuracy_and_loss_are_those_of_the_held_out_examples(tiny, task, capsys):
    training = Training(tiny, task)
    before = training.watch.measure(training.model, 0)
    assert (before.right, before.total, before.accuracy) == (0, 6, 0.0)
    assert before.completion_tokens == 40 * len(HELD_OUT)  # random weights do not end their answers
    for _ in range(40):
        training.step()
    after = training.watch.measure(training.model, 40)
    assert (after.step, after.right, after.total, after.accuracy) == (40, 3, 6, 0.5)
    assert after.completion_tokens < before.completion_tokens
    training.model.eval()
    with torch.no_grad():
        sums = [loss_of_one(training.model, example) for example in training.encoded]
    assert after.loss == pytest.approx(sum(loss for loss, _ in sums) / sum(count for _, count in sums), rel=1e-4)
    assert after.loss < before.loss
    assert capsys.readouterr().err.splitlines() == [describe(before), describe(after)]


@pytest.mark.parametrize(
    "settings",
    [{}, {"packing": "none"}, {"quantize": "nf4"}, {"lora": False}],
    ids=["shared", "padded", "nf4", "full"],
)
def test_a_training_goes_on_as_if_nobody_had_watched(tiny, task, settings):
    watched, alone = Training(tiny, task, **settings), Training(tiny, task, **settings)
    some_module = next(module for module in watched.model.modules() if isinstance(module, torch.nn.Linear))
    some_module.training = False  # modes need not be the same everywhere
    results = []
    for training in (watched, alone):
        set_seed(1)
        for number in range(4):
            training.step()
            if training is watched:
                flags = state(training.model)
                training.watch.measure(training.model, number + 1)
                assert state(training.model) == flags
                assert not any(parameter.is_inference() for parameter in training.model.parameters())
                assert all(parameter.grad is None for parameter in training.model.parameters())
        results.append((torch.cat([one.detach().flatten() for one in training.parameters]), torch.get_rng_state()))
        results[-1] += (random.random(),)  # noqa: S311 (nothing to do with security)
    (weights, draws, draw), (expected, expected_draws, expected_draw) = results
    assert torch.equal(weights, expected)
    assert torch.equal(draws, expected_draws)
    assert draw == expected_draw


def state(model) -> list:
    modes = [module.training for module in model.modules()]
    gradients = [parameter.requires_grad for parameter in model.parameters()]
    return [modes, gradients, model.config._attn_implementation]


def test_a_measurement_that_fails_leaves_the_model_as_it_was(llama, task, monkeypatch):
    training = Training(llama, task)
    flags, draws, python_draws = state(training.model), torch.get_rng_state(), random.getstate()

    def broken(*_, **__):
        torch.rand(3)
        random.random()  # noqa: S311 (nothing to do with security)
        raise KeyboardInterrupt

    monkeypatch.setattr(task, "grade", broken)
    with pytest.raises(KeyboardInterrupt):
        training.watch.measure(training.model, 1)
    assert state(training.model) == flags
    assert torch.equal(torch.get_rng_state(), draws)
    assert random.getstate() == python_draws


def test_it_is_due_every_so_many_steps_and_after_the_last(llama, task):
    assert [step for step in range(13) if Training(llama, task).watch.due(step)] == [5, 10, 12]
    never = Training(llama, task, every=None).watch
    assert not any(never.due(step) for step in range(13))


def test_a_loss_that_is_not_finite_is_said_and_not_written_as_a_number(llama, task, tmp_path):
    training = Training(llama, task)
    with torch.no_grad():
        training.parameters[0].fill_(torch.nan)
        row = training.watch.measure(training.model, 3)
    assert row.loss is None
    assert "held-out loss not finite" in describe(row)
    with JsonLinesWriter(tmp_path / "watch.jsonl") as writer:
        writer.append(row)
    assert list(read_records(tmp_path / "watch.jsonl", WatchRow)) == [row]


@pytest.mark.parametrize(
    ("kind", "stage", "named"), [("FSDP", None, "FSDP"), ("DEEPSPEED", 3, "DeepSpeed ZeRO-3"), ("DEEPSPEED", 2, None)]
)
def test_weights_in_pieces_are_refused_before_the_run(llama, task, kind, stage, named):
    training = Training(llama, task)
    plugin = SimpleNamespace(zero_stage=stage) if stage else None
    pieces = SimpleNamespace(distributed_type=DistributedType(kind), state=SimpleNamespace(deepspeed_plugin=plugin))
    arguments = training.recipe, task, training.renderer, HELD_OUT, training.encoded
    if named is None:
        Watch(*arguments, steps=12, accelerator=pieces)
    else:
        with pytest.raises(
            RecipeError, match=f"(?s)watch.every: with {named} no process has the whole model.*expected: null"
        ):
            Watch(*arguments, steps=12, accelerator=pieces)


def row(step: int, accuracy: float | None, loss: float | None = 1.0) -> WatchRow:
    right, total = (0, 0) if accuracy is None else (round(accuracy * 100), 100)
    return WatchRow(
        step=step, accuracy=accuracy, right=right, total=total, loss=loss, completion_tokens=10, seconds=1.0
    )


def test_the_best_is_the_most_accurate_then_the_lower_loss_then_the_earlier():
    rows = [row(1, 0.2, 0.1), row(2, 0.5, 0.9), row(3, 0.5, 0.8), row(4, 0.5, 0.8), row(5, None, 0.05)]
    assert [best(rows, keep).step for keep in ("accuracy", "loss", "last")] == [3, 5, 5]
    assert best([], "accuracy") is best([], "loss") is best([], "last") is None
    unjudged = [row(1, None, None), row(2, None, 0.4), row(3, None, 0.3)]
    assert best(unjudged, "accuracy").step == best(unjudged, "loss").step == 3


def test_it_has_stalled_when_the_last_so_many_rows_are_not_better():
    rows = [row(1, 0.2), row(2, 0.5), row(3, 0.5), row(4, 0.4)]
    assert [stalled(rows[:n], 2, "accuracy") for n in range(5)] == [False, False, False, False, True]
    assert not stalled(rows, 3, "accuracy")
    assert not stalled(rows, None, "accuracy")
    assert stalled(rows, 2, "last")
    assert not stalled([*rows, row(5, 0.6)], 1, "accuracy")
    falling = [row(n, 0.5, 1 / n) for n in range(1, 5)]
    assert not stalled(falling, 1, "loss")
    assert not stalled(falling, 1, "accuracy")  # as accurate, with a lower loss


def test_the_relation_is_the_rank_correlation_of_loss_and_accuracy():
    losses, accuracies = [0.9, 0.5, 0.4, 0.35], [0.1, 0.2, 0.6, 0.4]
    rows = [row(n, accuracy, loss) for n, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True), 1)]
    # Ranks of the loss 4 3 2 1, of the accuracy 1 2 4 3: 1 - 6 Σd² / (n (n² - 1)) with d = 3, 1, 2, 2.
    expected = 1 - 6 * (9 + 1 + 4 + 4) / (4 * 15)
    found = relation(rows)
    assert found == Relation(measurements=4, spearman=found.spearman, lowest_loss_step=4, best_accuracy_step=3)
    assert found.spearman == pytest.approx(expected)
    assert relation(rows[:3]) is None
    assert relation([*rows[:3], row(4, None, 0.1)]) is None
    assert relation([row(n, 0.5, 1 / n) for n in range(1, 6)]).spearman is None


def test_one_line_says_what_was_measured():
    measured = WatchRow(
        step=200, accuracy=31 / 64, right=31, total=64, loss=0.4123, completion_tokens=900, seconds=14.2
    )
    assert describe(measured) == "step 200: 31 of 64 right (48.4 %), held-out loss 0.412, 14 s"
    assert describe(row(7, None, 0.5)) == "step 7: 0 of 0 right, held-out loss 0.500, 1 s"
