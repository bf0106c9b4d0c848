"""The catalog says what there is, and a wrong name gets the nearest right ones."""

import pytest

from slm.errors import ModelError
from slm.models import catalog, find_model, list_models
from slm.models.catalog import GgufSource, HubSource, PathSource, WheelSource
from tiny import make_tiny_model


def test_the_shipped_catalog_is_valid_and_complete():
    entries = {entry.name: entry for entry in list_models()}
    assert {"smollm2-135m", "gemma3-270m", "gemma3-1b", "gemma2-2b", "phi3-mini", "phi4-mini"} <= entries.keys()
    for entry in entries.values():
        assert entry.family, entry.name
        assert entry.parameters, entry.name
        assert entry.licence, entry.name
        assert entry.source.describe()
        assert entry.accept == entry.licence.startswith("Gemma"), entry.name
    assert isinstance(entries["smollm2-135m"].source, WheelSource)
    assert len(entries["gemma3-270m"].source.wheels) == 4
    assert entries["phi3-mini"].source == HubSource(hub="microsoft/Phi-3-mini-4k-instruct", revision="main")


def test_a_hub_id_in_the_catalog_is_the_entry_with_its_licence():
    assert find_model("google/gemma-2-2b-it").name == "gemma2-2b"
    other = find_model("some-org/some.model_1")
    assert other.source == HubSource(hub="some-org/some.model_1")
    assert (other.family, other.parameters, other.licence) == (None, None, None)


def test_local_paths(tmp_path, monkeypatch):
    folder = make_tiny_model("llama", tmp_path / "org" / "mine")
    assert find_model(str(folder)).source == PathSource(path=folder)
    monkeypatch.chdir(tmp_path)
    assert find_model("org/mine").source == PathSource(path=folder), "an existing folder wins over a hub id"
    assert find_model("./org/mine").name == "mine"
    file = tmp_path / "a.gguf"
    file.write_bytes(b"GGUF")
    assert find_model("a.gguf").source == GgufSource(gguf=file)


@pytest.mark.parametrize("name", ["/no/such/model", "./missing", "missing.gguf", "~/missing-model"])
def test_a_missing_path_is_not_taken_for_something_else(name):
    with pytest.raises(ModelError, match="no such file or folder"):
        find_model(name)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ModelError, match="not a model folder") as raised:
        find_model(str(tmp_path))
    assert "config.json" in str(raised.value)


@pytest.mark.parametrize(("typo", "meant"), [("smollm2-135", "smollm2-135m"), ("phi3mini", "phi3-mini")])
def test_a_typo_gets_the_nearest_names(typo, meant):
    with pytest.raises(ModelError, match=f"did you mean .*{meant}") as raised:
        find_model(typo)
    assert "slm models list" in str(raised.value)


def test_a_name_like_nothing_gets_the_whole_list():
    with pytest.raises(ModelError) as raised:
        find_model("xyzzy")
    assert "did you mean" not in str(raised.value)
    assert all(entry.name in str(raised.value) for entry in list_models())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("- {name: a, source: {hub: no-slash}}", "source"),
        ("- {name: a, sorce: {hub: a/b}}", "sorce"),
        ("- {name: a, source: {wheels: [], sha256: " + "0" * 64 + "}}", "wheels"),
        ("- {name: a, source: {wheels: [{package: p, version: 1.0.0, file: f}], sha256: abc}}", "sha256"),
        ("- {name: a, source: {hub: a/b}}\n- {name: a, source: {hub: a/c}}", "more than once: a"),
        ("- {name: a, accept: true, source: {hub: a/b}}", "licence_url"),
        ("- [", "cannot be read"),
    ],
)
def test_a_mistake_in_the_catalog_is_located(tmp_path, monkeypatch, text, problem):
    file = tmp_path / "models.yaml"
    file.write_text(text)
    monkeypatch.setattr(catalog, "shipped", lambda *_: file)
    with pytest.raises(ModelError, match=problem) as raised:
        list_models()
    assert str(file) in str(raised.value)


def test_two_mistakes_are_reported_at_once(tmp_path, monkeypatch):
    file = tmp_path / "models.yaml"
    file.write_text("- {name: a, familly: llama, source: {hub: a/b}}\n- {name: b, parameters: -1, source: {hub: a/b}}")
    monkeypatch.setattr(catalog, "shipped", lambda *_: file)
    with pytest.raises(ModelError) as raised:
        list_models()
    assert "familly" in str(raised.value)
    assert "parameters" in str(raised.value)
