"""Exports: every form answers as the run does, the same run gives the same bytes, and nothing is made twice."""

import subprocess
import sys

import pytest

from command import environment
from slm.data import load_dataset
from slm.errors import InputError
from slm.files import sha256_file
from slm.generate.local import load_form_backend, load_local
from slm.models.forms import FormSpec, form_recipe, load_form, read_form
from slm.ops import export
from slm.recipe import RunFolder
from slm.tasks import TextToSql
from tiny_run import make_tiny_run

EXACT = [
    FormSpec(kind="adapter"),
    FormSpec(kind="merged", dtype="float32"),
    FormSpec(kind="gguf", quant="f32"),
    FormSpec(kind="merged", dtype="float32", trimmed=True),
    FormSpec(kind="gguf", quant="f32", trimmed=True),
]
ROUGH = [FormSpec(kind="nf4"), FormSpec(kind="int8"), FormSpec(kind="nf4", trimmed=True)]
ROUGH += [FormSpec(kind="gguf", quant=quant) for quant in ("q8_0", "q4_0")]
SPECS = [{"kind": kind, "trimmed": trimmed} for kind in ("merged", "nf4", "int8") for trimmed in (False, True)]
SPECS += [{"kind": "gguf", "quant": "q8_0", "trimmed": trimmed} for trimmed in (False, True)] + [{"kind": "adapter"}]
OTHER = f"""
import sys
from pathlib import Path
from slm.models.forms import FormSpec
from slm.ops import export
from slm.recipe import RunFolder
for spec in map(FormSpec.model_validate, {SPECS}):
    export(RunFolder(Path(sys.argv[1])), spec, out=Path(sys.argv[2]) / spec.name)
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    return make_tiny_run("llama", tmp_path_factory.mktemp("run"))


def texts(backend) -> dict[str, str]:
    dataset = load_dataset("roastery:test", limit=6)
    task = TextToSql(dataset.contexts)
    prompts = [(example.id, task.prompt(example)) for example in dataset.available]
    return {answer.example_id: answer.text for answer in backend.generate(prompts)}


@pytest.fixture(scope="module")
def answers(run) -> dict[str, str]:
    recipe = form_recipe(run.path)
    return texts(load_local(run.path.parent / "base", recipe.model, recipe.task, recipe.generate, adapter=run.adapter))


@pytest.mark.parametrize("spec", EXACT, ids=lambda spec: spec.name)
def test_exact_forms_give_the_answers_of_the_run(spec, run, answers):
    folder = export(run, spec)
    assert folder == run.path / "exports" / spec.name
    assert texts(load_form_backend(folder)) == answers


@pytest.mark.parametrize("spec", ROUGH, ids=lambda spec: spec.name)
def test_rough_forms_answer(spec, run, answers):
    folder = export(run, spec)
    assert texts(load_form_backend(folder)).keys() == answers.keys()
    form = read_form(folder)
    assert form.spec == spec
    assert (form.run, form.parameters > 0, form.tokens > 0) == (run.path.name, True, True)


def test_the_dtype_of_the_arithmetic_can_be_chosen(run):
    model, tokenizer = load_form(export(run, FormSpec(kind="gguf", quant="f32")), dtype="bfloat16")
    assert str(model.dtype) == "torch.bfloat16"
    assert tokenizer.pad_token_id is not None


def test_another_process_writes_the_same_bytes(run, tmp_path):
    command = [sys.executable, "-c", OTHER, str(run.path), str(tmp_path / "other")]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for spec in map(FormSpec.model_validate, SPECS):
        export(run, spec, out=tmp_path / "here" / spec.name)
    here, other = (
        {str(path.relative_to(tmp_path / name)): sha256_file(path) for path in (tmp_path / name).rglob("*.*")}
        for name in ("here", "other")
    )
    assert here == other
    assert {path.split("/")[0] for path in here} >= {"adapter", "gguf-q8_0-trimmed", "int8", "merged", "nf4-trimmed"}
    assert all("tmp" not in path for path in here)


def test_what_is_there_is_not_made_again(run):
    before = (export(run, FormSpec(kind="merged")) / "form.json").stat()
    assert (export(run, FormSpec(kind="merged")) / "form.json").stat() == before


def test_another_adapter_is_another_form(tmp_path):
    run = make_tiny_run("llama", tmp_path)
    before = read_form(export(run, FormSpec(kind="adapter")))
    file = run.adapter / "adapter_model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    after = read_form(export(run, FormSpec(kind="adapter")))
    assert before.adapter != after.adapter
    assert before.files["adapter_model.safetensors"] != after.files["adapter_model.safetensors"]


def test_nothing_of_this_machine_is_written(run, tmp_path):
    for spec in (FormSpec(kind="merged"), FormSpec(kind="gguf", quant="q8_0")):
        for path in export(run, spec, out=tmp_path / spec.name).iterdir():
            if path.name not in ("recipe.yaml", "form.json"):  # which name the model as the user did
                assert str(run.path.parent).encode() not in path.read_bytes(), path.name


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"kind": "gguf"}, "--quant goes with"),
        ({"kind": "merged", "quant": "q8_0"}, "--quant goes with"),
        ({"kind": "adapter", "dtype": "float32"}, "--dtype goes with"),
        ({"kind": "adapter", "trimmed": True}, "no vocabulary to trim"),
    ],
)
def test_what_has_no_meaning_is_refused(spec, problem, run):
    with pytest.raises(InputError, match=problem):
        export(run, FormSpec(**spec))


def test_a_folder_with_something_else_is_left_alone(run, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="something else is there"):
        export(run, FormSpec(kind="merged"), out=tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_run_that_is_not_finished_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a finished training run"):
        export(RunFolder(tmp_path), FormSpec(kind="merged"))
