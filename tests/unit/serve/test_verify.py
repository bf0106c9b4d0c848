"""An adapter that does nothing is found before a user is answered."""

from pathlib import Path

import pytest

from learned_run import make_run
from serving import NAME, serving
from slm.errors import JobError
from slm.generate.local import load_local
from slm.recipe import load_recipe
from slm.records import Generation
from slm.serve import verify
from slm.serve.verify import load_applied, require_applied


@pytest.fixture(scope="module")
def load(run):
    """`load(adapter)`: the base model of the run, with an adapter or without."""
    recipe = load_recipe(run.recipe)
    folder = Path(recipe.model.name)
    return lambda adapter: load_local(folder, recipe.model, recipe.task, recipe.generate, adapter=adapter)


def test_an_adapter_that_was_trained_is_found_to_be_applied(run, load):
    backend = load_applied(lambda: load(None), lambda: load(run.adapter))
    assert backend.renderer.chat


def test_an_adapter_that_was_not_trained_is_found(tmp_path, load):
    untrained = make_run("llama", tmp_path, steps=0)
    with pytest.raises(JobError, match="the adapter is not applied: 4 of 4 probes"):
        load_applied(lambda: load(None), lambda: load(untrained.adapter))


def test_a_base_model_in_place_of_the_tuned_one_is_found(load):
    with pytest.raises(JobError, match="the adapter is not applied"):
        load_applied(lambda: load(None), lambda: load(None))


def test_a_server_that_answers_both_names_alike_is_found(load):
    base = load(None)
    with serving(base) as served, pytest.raises(JobError, match="4 of 4 probes are answered exactly as by the untuned"):
        require_applied(f"{served.url}/v1", NAME, NAME, base.renderer, key=None)


@pytest.mark.parametrize(
    ("tuned", "applied"),
    [
        (("SELECT 1", -1.0), False),
        (("SELECT 1", -1.00005), False),
        (("SELECT 1", -1.1), True),
        (("SELECT 2", -1.0), True),
        (("SELECT 1", None), False),
        (("SELECT 2", None), True),
    ],
)
def test_another_text_or_another_certainty_is_another_model(monkeypatch, tuned, applied):
    class Server:
        def __init__(self, _url, model, _renderer, **_options) -> None:
            text, logprob = tuned if model == NAME else ("SELECT 1", None if tuned[1] is None else -1.0)
            self.answer = Generation(example_id="0", text=text, logprob=logprob, completion_tokens=2)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def generate(self, requests):
            return (self.answer for _ in requests)

    monkeypatch.setattr(verify, "OpenAiBackend", Server)
    if applied:
        require_applied("http://x/v1", NAME, "base", None, key=None)
    else:
        with pytest.raises(JobError):
            require_applied("http://x/v1", NAME, "base", None, key=None)
