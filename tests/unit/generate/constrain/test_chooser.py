"""A model that knows nothing answers with queries that run, and one that is not constrained answers as before."""

import math

import apsw
import pytest
import torch
from transformers import AutoModelForCausalLM

from slm.generate.constrain.chooser import SqlConstraint
from slm.generate.local import LocalBackend
from slm.models.load import load_tokenizer
from slm.records import Prompt
from slm.sql.schema import schema_of
from slm.tasks import Renderer
from tiny import make_tiny_model

CONTEXT = "Answer with one query."
REQUESTS = [(str(number), Prompt(context=CONTEXT, question=f"Question {number}?")) for number in range(6)]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = make_tiny_model("llama", tmp_path_factory.mktemp("tiny"))
    return AutoModelForCausalLM.from_pretrained(folder).eval(), Renderer(load_tokenizer(folder))


def backend(parts, constraint, tokens=48) -> LocalBackend:
    model, renderer = parts
    return LocalBackend(model, renderer, max_new_tokens=tokens, batch_size=4, constraint=constraint)


def make_constraint(parts, shop) -> SqlConstraint:
    renderer = parts[1]
    return SqlConstraint(renderer.tokenizer, renderer.end_id, {CONTEXT: schema_of(shop)})


def test_answers_of_random_weights_run_or_are_cut_within_a_query(parts, shop, scope):
    answers = list(backend(parts, make_constraint(parts, shop)).generate(REQUESTS))
    assert len(answers) == len(REQUESTS)
    for answer in answers:
        assert answer.text.lower().startswith("select")
        assert scope.viable(answer.text, finished=False)
        assert answer.logprob is not None
        assert math.isfinite(answer.logprob)
        if answer.finish_reason == "stop":
            shop.execute(f"EXPLAIN {answer.text}")


def test_the_likeliest_viable_token_is_taken_and_scored_by_the_model(parts, shop):
    model, renderer = parts
    constraint = make_constraint(parts, shop)
    (answer,) = backend(parts, constraint, tokens=6).generate(REQUESTS[:1])
    ids, chooser, logprob = list(renderer.render(REQUESTS[0][1]).ids), constraint.chooser(CONTEXT), 0.0
    chosen = []
    for _ in range(answer.completion_tokens):
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1].float()
        token = next(token for token in logits.argsort(descending=True).tolist() if chooser.accept(token))
        logprob += logits.log_softmax(-1)[token].item()
        ids.append(token)
        chosen.append(token)
    assert renderer.decode(chosen) == answer.text
    assert answer.logprob == pytest.approx(logprob, abs=1e-3)


class Spelling:
    """A constraint that forces a text, token by token, whatever the logits are."""

    def __init__(self, ids):
        self.ids = list(ids)

    def chooser(self, context):
        return Spelling(self.ids)

    def accept(self, token):
        return self.ids[0] == token and bool(self.ids.pop(0) + 1)

    def allowed(self):
        bits = bytearray(self.ids[0] // 8 + 1)
        bits[self.ids[0] // 8] = 1 << self.ids[0] % 8
        return bytes(bits)

    def choose(self, ranked):
        assert ranked == self.ids[:1]
        return self.ids.pop(0)


def test_any_constraint_decides(parts):
    renderer = parts[1]
    spelled = renderer.target_ids("SELECT 1")
    answers = list(backend(parts, Spelling(spelled)).generate(REQUESTS))
    assert {answer.text for answer in answers} == {"SELECT 1"}
    assert {answer.finish_reason for answer in answers} == {"stop"}


def test_where_nothing_keeps_the_scope_the_grammar_still_decides(parts, shop):
    chooser = make_constraint(parts, shop).chooser(CONTEXT)
    tokenizer = parts[1].tokenizer
    for token in tokenizer("SELECT id FROM client", add_special_tokens=False)["input_ids"]:
        assert chooser.accept(token)
    (wrong,) = tokenizer("x", add_special_tokens=False)["input_ids"][:1]
    assert not chooser.accept(wrong)
    assert chooser.choose([wrong]) == wrong


def test_what_was_cut_off_is_cut_back_to_a_whole_query(parts, shop):
    chooser = make_constraint(parts, shop).chooser(CONTEXT)
    assert chooser.whole() == 0
    ids = parts[1].tokenizer("SELECT name FROM client WHERE id = 1 AND id IN (SELECT", add_special_tokens=False)[
        "input_ids"
    ]
    for token in ids:
        assert chooser.accept(token)
    assert parts[1].decode(ids[: chooser.whole()]) == "SELECT name FROM client WHERE id = 1 AND id"


def test_a_schema_that_sqlite_takes_makes_a_grammar(parts):
    connection = apsw.Connection(":memory:")
    connection.execute('CREATE TABLE "a/b (c)"("x""y" TEXT, "[z]" TEXT, "ü.ä" TEXT, "back\\slash" TEXT)')
    constraint = SqlConstraint(parts[1].tokenizer, parts[1].end_id, {CONTEXT: schema_of(connection)})
    chooser = constraint.chooser(CONTEXT)
    sql = 'SELECT "x""y", "[z]", "ü.ä", "back\\slash" FROM "a/b (c)"'
    for token in parts[1].target_ids(sql):
        assert chooser.accept(token)
    connection.execute(f"EXPLAIN {sql}")
