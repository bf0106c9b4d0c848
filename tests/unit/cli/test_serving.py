"""What `slm serve` calls what it serves, what vLLM is given of it, and what it prints."""

import json
import sys
from pathlib import Path

import pytest

from learned_run import make_form, make_run
from slm.cli.app import app
from slm.cli.served import default_name, find_subject, load_backend, make_renderer, make_weights
from slm.cli.serving import _Banner
from slm.errors import InputError, ModelError
from slm.models.forms import FormSpec
from slm.ops import export


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run("llama", tmp_path_factory.mktemp("runs"), steps=2)


def subject_of(**named):
    given = {"run": None, "model": None, "form": None} | named
    runs = given.pop("runs", Path("runs"))
    return find_subject(given["run"], given["model"], given["form"], runs=runs, accept_license=False)


def base_of(run) -> Path:
    return run.path.parents[1] / "llama-base"


def test_a_run_is_its_adapter_beside_its_base_model(run):
    subject = subject_of(run=run.path.name, runs=run.path.parent)
    assert default_name(subject) == "tiny-0123abcd"
    weights = make_weights(subject, "mine")
    assert (weights.name, weights.base_name) == ("mine", "llama-base")
    assert (weights.folder, weights.adapter) == (base_of(run).resolve(), run.adapter.resolve())
    assert make_weights(subject, "llama-base").base_name == "llama-base-base"
    assert make_renderer(subject, weights).chat


def test_an_untuned_model_has_its_own_name(run):
    subject = subject_of(model=str(base_of(run)))
    assert default_name(subject) == "llama-base"
    weights = make_weights(subject, "llama-base")
    assert (weights.folder, weights.adapter, weights.base_name) == (base_of(run).resolve(), None, None)


def test_forms(run, tmp_path):
    merged = subject_of(form=make_form(run, tmp_path / "merged"))
    assert default_name(merged) == "tiny-0123abcd-merged-float32"
    assert make_weights(merged, "x").folder == (tmp_path / "merged").resolve()
    adapter = subject_of(form=export(run, FormSpec(kind="adapter")))
    assert make_weights(adapter, "x").adapter == adapter.form.resolve()
    assert make_weights(adapter, "x").folder == base_of(run).resolve()
    gguf = subject_of(form=export(run, FormSpec(kind="gguf", quant="f32")))
    with pytest.raises(ModelError, match="a form of kind gguf is not served by vLLM"):
        make_weights(gguf, "x")


def test_only_an_adapter_has_to_differ_from_its_base_model(run, tmp_path):
    forms = {
        kind: subject_of(form=export(run, FormSpec(kind=kind), out=tmp_path / kind)) for kind in ("adapter", "merged")
    }
    subjects = [subject_of(run=str(run.path)), subject_of(model=str(base_of(run))), *forms.values()]
    assert [load_backend(subject)[1] for subject in subjects] == [True, False, True, False]


def test_an_adapter_of_quantized_weights_is_not_put_on_whole_ones(run):
    subject = subject_of(run=str(run.path))
    quantized = subject.model.model_copy(update={"quantize": "nf4"})
    with pytest.raises(ModelError, match="trained on quantized weights"):
        make_weights(type(subject)(**{**vars(subject), "model": quantized}), "x")


@pytest.mark.parametrize("named", [{}, {"run": "a", "model": "b"}, {"model": "a", "form": Path("b")}])
def test_one_thing_is_served(named):
    with pytest.raises(InputError, match="it is not clear what is to be served"):
        subject_of(**named)


def test_on_a_terminal_a_banner_names_the_variable_and_a_request_to_try(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    banner = _Banner("tuned", "local", key_env="SERVE_KEY", as_json=False)
    banner.show("http://127.0.0.1:8000/v1", chat=True, verified=True)
    shown = capsys.readouterr().out
    assert "tuned answers at http://127.0.0.1:8000/v1 (local engine, the adapter is applied)" in shown
    assert 'curl http://127.0.0.1:8000/v1/chat/completions -H "Authorization: Bearer $SERVE_KEY"' in shown
    assert "Ctrl-C stops it" in shown
    banner.show("http://127.0.0.1:8000/v1", chat=False, verified=False, log=Path("x.log"))
    shown = capsys.readouterr().out
    assert "/v1/completions" in shown
    assert "log: x.log" in shown
    assert "is applied" not in shown


def test_a_program_gets_one_line_of_json(capsys):
    _Banner("tuned", "vllm", key_env=None, as_json=False).show("http://x/v1", chat=True, verified=False)
    told = json.loads(capsys.readouterr().out)
    assert (told["url"], told["model"], told["engine"]) == ("http://x/v1", "tuned", "vllm")


@pytest.mark.parametrize(
    ("engine", "option"),
    [("local", "--log"), ("local", "--vllm-options"), ("vllm", "--max-tokens")],
)
def test_an_option_of_the_other_engine_is_not_ignored(run, monkeypatch, engine, option):
    monkeypatch.setenv("SLM_VLLM_PYTHON", sys.executable)
    with pytest.raises(InputError, match=f"{option}: the engine {engine} has no such option"):
        app(["serve", str(run.path), "--engine", engine, option, "7"], standalone_mode=False)


def test_what_is_not_installed_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    monkeypatch.delitem(sys.modules, "slm.serve.local", raising=False)
    with pytest.raises(InputError, match="the server needs starlette, which is not installed"):
        app(["serve", str(run.path), "--engine", "local", "--port", "0"], standalone_mode=False)
