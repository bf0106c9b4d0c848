"""A real server around a real model: the right one is certified, others are told apart, and keys stay unseen."""

import json
from types import SimpleNamespace

import pytest

from learned_run import PAIRS, make_run
from served import Served, serve
from slm.errors import InputError, JobError
from slm.generate.openai import OpenAiBackend, api_root
from slm.models.forms import load_answering
from slm.models.load import load_model, load_tokenizer
from slm.ops.parity.certificate import Closeness
from slm.ops.parity.endpoint import _check_run, certify_endpoint, endpoint_file
from slm.recipe import load_recipe
from slm.records import Generation


@pytest.fixture(scope="module")
def right(reference):
    """The run itself, served."""
    with serve(Served(reference.backend.model, reference.renderer.tokenizer)) as served:
        yield served


def outcomes(certificate):
    return {check.name: check.outcome for check in certificate.checks}


def test_the_right_server_is_the_same(reference, right):
    certificate = certify_endpoint(reference, right.url, "tuned")
    assert certificate.verdict == "same", certificate.reason
    near = certificate.closeness
    assert (near.same_answers, near.same_tokens) == (len(PAIRS), near.tokens)
    assert near.logprob_gap < 1e-4
    assert outcomes(certificate)["prompt ids"] == "pass"
    assert right.asked[-1]["messages"][0]["role"] == "system"
    kept = json.loads(endpoint_file(reference.run, right.url).read_text())
    assert (kept["verdict"], kept["endpoint"]) == ("same", right.url)


def test_a_server_that_tells_little_is_still_compared(reference):
    model, tokenizer = reference.backend.model, reference.renderer.tokenizer
    with serve(Served(model, tokenizer, logprobs=False, usage=False)) as served:
        certificate = certify_endpoint(reference, served.url, "tuned")
    assert certificate.verdict == "same"
    assert certificate.closeness.logprob_gap is None
    assert outcomes(certificate)["prompt ids"] == "not checked"


def test_the_untuned_base_model_behind_the_same_name(reference):
    base = load_recipe(reference.run.recipe).model.name
    with serve(Served(load_model(base_folder(base), dtype="float32"), reference.renderer.tokenizer)) as served:
        certificate = certify_endpoint(reference, served.url, "tuned")
    assert certificate.verdict == "different"
    assert outcomes(certificate)["adapter applied"] == "fail"


def base_folder(name):
    from pathlib import Path

    return Path(name)


def test_another_adapter_behind_the_same_name(reference, workplace):
    other = make_run("llama", workplace, name="other", steps=12)
    recipe = load_recipe(other.recipe)
    model = load_answering(base_folder(recipe.model.name), recipe.model, adapter=other.adapter)
    with serve(Served(model, reference.renderer.tokenizer)) as served:
        certificate = certify_endpoint(reference, served.url, "tuned")
    assert certificate.verdict == "different"
    assert outcomes(certificate)["adapter of this run"] == "fail"
    assert outcomes(certificate)["adapter applied"] == "pass"


@pytest.mark.parametrize(
    ("texts", "outcome"),
    [
        ("run run base base base x x x x x", "fail"),  # a weak adapter leaves some answers as they were
        ("base base base base base base base base x x", "pass"),  # the untuned base model, in other numbers
        ("run run run run run run run run x x", "pass"),
    ],
)
def test_another_adapter_is_one_with_answers_of_its_own(texts, outcome):
    def answers(given):
        return {str(n): Generation(example_id=str(n), text=text) for n, text in enumerate(given)}

    told = answers(texts.split())
    reference = SimpleNamespace(answers=answers(["run"] * 10), base_answers=answers(["base"] * 10))
    near = Closeness(answers=10, same_answers=texts.count("run"), tokens=10, same_tokens=0)
    assert _check_run(reference, told, near).outcome == outcome


def test_a_server_that_leaves_out_the_first_token(reference):
    """This tokenizer's BOS is the template's first token, as SmolLM2's is."""
    model, tokenizer = reference.backend.model, reference.renderer.tokenizer
    with serve(Served(model, tokenizer, drop_bos=True)) as served:
        certificate = certify_endpoint(reference, served.url, "tuned")
    assert outcomes(certificate)["BOS"] == "fail"
    assert outcomes(certificate)["prompt ids"] == "fail"
    assert certificate.verdict == "different"


def test_a_model_that_the_server_has_not(reference, right):
    with pytest.raises(InputError, match="one of: tuned"):
        certify_endpoint(reference, right.url, "tuend")


def test_a_server_that_is_not_there(reference):
    with pytest.raises(JobError, match="cannot be reached"):
        certify_endpoint(reference, "http://127.0.0.1:9/v1", "tuned")


def test_the_key_is_sent_and_shown_nowhere(reference, monkeypatch, capsys):
    model, tokenizer = reference.backend.model, reference.renderer.tokenizer
    with serve(Served(model, tokenizer, key="s3cret")) as served:
        monkeypatch.setenv("MY_KEY", "wrong-s3cret")
        with pytest.raises(JobError, match="asks for a key") as refused:
            certify_endpoint(reference, served.url, "tuned", key_env="MY_KEY")
        monkeypatch.setenv("MY_KEY", "s3cret")
        certificate = certify_endpoint(reference, served.url, "tuned", key_env="MY_KEY")
        kept = endpoint_file(reference.run, served.url).read_text()
    assert certificate.good
    printed = "".join(capsys.readouterr())
    assert "s3cret" not in printed + kept + str(refused.value)
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(InputError, match="MY_KEY"):
        certify_endpoint(reference, served.url, "tuned", key_env="MY_KEY")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://me:s3cret@host/v1"])
def test_an_address_that_is_none_or_holds_a_password(url):
    with pytest.raises(InputError) as refused:
        api_root(url)
    assert "s3cret" not in str(refused.value)


def test_a_prompt_without_template_is_sent_as_text(reference, workplace):
    """As for a base model: the server adds its BOS itself."""
    from slm.records import Prompt
    from slm.tasks import Renderer
    from tiny import make_tiny_model

    folder = make_tiny_model("gemma3", workplace / "gemma3")
    model, tokenizer = load_model(folder, dtype="float32"), load_tokenizer(folder)
    renderer = Renderer(tokenizer, False)
    asked = Prompt(context="orders(id int pk)", question="How many?")
    with (
        serve(Served(model, tokenizer)) as served,
        OpenAiBackend(served.url, "tuned", renderer, max_new_tokens=4) as backend,
    ):
        (answer,) = backend.generate([("one", asked)])
    assert answer.prompt_tokens == len(renderer.render(asked).ids)
    assert served.asked[0]["prompt"] == renderer.text(asked)
    assert answer.logprob < 0
