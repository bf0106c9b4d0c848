"""Forms: their record is checked before anything is loaded, and each loads to what it says it is."""

import json

import pytest

from slm.errors import ModelError
from slm.models.forms import FormSpec, read_form, write_form

FIELDS = {"kind": "gguf", "quant": "q8_0", "dtype": "base", "trimmed": False, "run": "r", "model": "m"}
FIELDS |= {"model_fingerprint": "aa", "adapter": "bb", "parameters": 10, "tokens": 5, "base_bytes": 7}


@pytest.fixture
def form(tmp_path):
    folder = tmp_path / "form"
    folder.mkdir()
    (tmp_path / "recipe.yaml").write_text("name: x\n")
    (folder / "model.gguf").write_bytes(b"12345")
    write_form(folder, tmp_path / "recipe.yaml", FIELDS)
    return folder


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({"kind": "merged"}, "merged"),
        ({"kind": "merged", "dtype": "float32", "trimmed": True}, "merged-float32-trimmed"),
        ({"kind": "gguf", "quant": "q4_0"}, "gguf-q4_0"),
        ({"kind": "nf4", "trimmed": True}, "nf4-trimmed"),
    ],
)
def test_a_form_is_named_by_what_makes_it_another_one(spec, name):
    assert FormSpec(**spec).name == name


def test_a_form_is_read_as_it_was_written(form):
    found = read_form(form)
    assert found.model_dump(exclude={"files", "versions"}) == FIELDS
    assert set(found.files) == {"model.gguf", "recipe.yaml"}
    assert found.size_bytes == 5 + len("name: x\n") + 7
    assert found.spec == FormSpec(kind="gguf", quant="q8_0")


def test_a_card_written_later_does_not_count(form):
    (form / "README.md").write_text("about it")
    assert read_form(form).size_bytes == 5 + len("name: x\n") + 7


def test_a_folder_without_a_form_says_what_to_run(tmp_path):
    with pytest.raises(ModelError, match=r"no form\.json\n.*\n.*slm export"):
        read_form(tmp_path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [({"kind": "onnx"}, "'kind'"), ({"parameters": "10"}, "'parameters'"), ({"colour": "red"}, "'colour'")],
)
def test_a_wrong_record_is_named_with_its_key(form, change, problem):
    found = json.loads((form / "form.json").read_text())
    (form / "form.json").write_text(json.dumps(found | change))
    with pytest.raises(ModelError, match=problem):
        read_form(form)


@pytest.mark.parametrize(("content", "problem"), [(b"123", "has 3 bytes"), (None, "is missing")])
def test_a_damaged_file_is_named(form, content, problem):
    (form / "model.gguf").unlink()
    if content is not None:
        (form / "model.gguf").write_bytes(content)
    with pytest.raises(ModelError, match=rf"model\.gguf {problem}"):
        read_form(form)
