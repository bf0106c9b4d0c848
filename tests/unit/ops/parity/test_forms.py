"""A faithful form is called the same, and each planted fault is found, named, and makes it different."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from learned_run import PAIRS, make_form, sign
from slm.models.load import load_tokenizer
from slm.ops.parity import certificate_of
from slm.ops.parity.forms import certify_form
from slm.ops.parity.prompts import check_prompts
from slm.tasks import Renderer
from tiny import make_tiny_model


@pytest.fixture(scope="session")
def merged(tuned, workplace):
    """A faithful form; tests change copies of it."""
    return make_form(tuned, workplace / "merged")


@pytest.fixture
def form(merged, tmp_path):
    return shutil.copytree(merged, tmp_path / "form")


def outcomes(certificate):
    return {check.name: check.outcome for check in certificate.checks}


def detail(certificate, name):
    return next(check.detail for check in certificate.checks if check.name == name)


def test_the_tiny_run_learned_its_answers(reference):
    """What the other tests rest on: answers that are right and that end."""
    assert [reference.answers[number].text for number in reference.answers] == [sql for _, sql in PAIRS]
    assert {answer.finish_reason for answer in reference.answers.values()} == {"stop"}


def test_a_faithful_form_is_the_same_and_its_certificate_is_kept(reference, form):
    certificate = certify_form(reference, form)
    assert certificate.verdict == "same", certificate.reason
    assert set(outcomes(certificate).values()) == {"pass"}
    near, paired = certificate.closeness, certificate.accuracy
    assert (near.same_answers, near.answers) == (len(PAIRS), len(PAIRS))
    assert near.same_tokens == near.tokens == sum(len(line.answer) for line in reference.lines.values())
    assert near.kl_mean <= near.kl_max < 1e-6
    assert (paired.reference.right, paired.form.right, paired.p_value) == (len(PAIRS), len(PAIRS), 1.0)
    assert certificate_of(form) == certificate


def test_the_base_model_in_place_of_the_tuned_one(reference, tuned, tmp_path):
    certificate = certify_form(reference, make_form(tuned, tmp_path / "form", adapter=False))
    assert certificate.verdict == "different"
    assert outcomes(certificate)["adapter applied"] == "fail"
    assert "untuned base model" in detail(certificate, "adapter applied")
    assert outcomes(certificate)["weights"] == "fail"
    assert certificate.accuracy.difference.lost > 5
    assert certificate.accuracy.p_value < 0.05


def test_one_weight_changed_in_one_layer(reference, tuned, form):
    file = form / "model.safetensors"
    weights = load_file(file)
    name = "model.layers.1.mlp.up_proj.weight"
    weights[name][3, 5] += 0.1
    save_file(weights, file, metadata={"format": "pt"})
    certificate = certify_form(reference, sign(tuned, form))
    assert outcomes(certificate)["weights"] == "fail"
    assert name in detail(certificate, "weights")
    assert certificate.verdict == "different"
    assert outcomes(certificate)["files"] == "pass"  # only because the fault was signed


def test_a_changed_file_is_found_even_if_nothing_else_tells(reference, form):
    file = form / "generation_config.json"
    file.write_text(file.read_text().rstrip("\n") + " ")  # a newline less, a space more
    certificate = certify_form(reference, form)
    assert outcomes(certificate)["files"] == "fail"
    assert "generation_config.json" in detail(certificate, "files")


def test_half_precision_is_explained_by_its_rounding(reference, tuned, form):
    file = form / "model.safetensors"
    weights = {name: value.to(torch.bfloat16) for name, value in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    certificate = certify_form(reference, sign(tuned, form))
    assert outcomes(certificate)["weights"] == "pass", detail(certificate, "weights")
    assert 1e-7 < certificate.closeness.kl_mean < 1e-2


def change_template(folder, old, new):
    file = folder / "chat_template.jinja"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_another_chat_template(reference, tuned, form):
    change_template(form, "'<|im_start|>' + m['role']", "'<|im_start|>the ' + m['role']")
    certificate = certify_form(reference, sign(tuned, form))
    assert outcomes(certificate)["prompt ids"] == "fail"
    assert "token 1 is " in detail(certificate, "prompt ids")
    assert "the reference has " in detail(certificate, "prompt ids")
    assert certificate.verdict == "different"
    assert outcomes(certificate)["weights"] == "pass"


def test_the_tokenizer_of_another_model(reference, tuned, form, tmp_path):
    other = make_tiny_model("phi3", tmp_path / "phi3")
    for path in other.glob("*token*"):
        shutil.copy(path, form / path.name)
    certificate = certify_form(reference, sign(tuned, form))
    assert outcomes(certificate)["tokenizer"] == "fail"
    assert "such as '<s>'" in detail(certificate, "tokenizer")
    assert certificate.verdict == "different"


def test_missing_bos(tmp_path):
    """Gemma's template writes the BOS; a server's own template may not."""
    folder = make_tiny_model("gemma3", tmp_path / "gemma3")
    ours = Renderer(load_tokenizer(folder), True)
    change_template(folder, "{{ bos_token }}", "")
    prompts = {"a": prompt("How many?"), "b": prompt("Which?")}
    ids, bos = check_prompts(ours, Renderer(load_tokenizer(folder), True), prompts, trimmed=False)
    assert (ids.outcome, bos.outcome) == ("fail", "fail")
    assert bos.detail == "2 of 2 prompts do not begin with '<bos>'"
    assert ids.detail == "a: token 0 is '<start_of_turn>', the reference has '<bos>'"


def prompt(question):
    from slm.records import Prompt

    return Prompt(context="orders(id int pk)", question=question)


def test_an_end_that_was_not_trained(reference, endless, tmp_path):
    certificate = certify_form(reference, make_form(endless, tmp_path / "form"))
    assert outcomes(certificate)["end token"] == "fail"
    assert outcomes(certificate)["made from this run"] == "fail"
    assert outcomes(certificate)["adapter applied"] == "pass"
    assert certificate.verdict == "different"


def test_a_form_that_cannot_be_loaded_is_different_and_says_why(reference, tuned, form):
    (form / "model.safetensors").write_bytes(b"nothing")
    certificate = certify_form(reference, sign(tuned, form))
    assert certificate.verdict == "different"
    assert outcomes(certificate)["loads"] == "fail"
    assert certificate.closeness is None
