"""The command that serves with vLLM: an adapter by its name, its rank rounded up, and never the key."""

import json
import os
import sys
from pathlib import Path

import pytest

from slm.errors import InputError, ModelError
from slm.serve import Address, Weights, find_vllm, require_vllm, vllm_command
from slm.serve import vllm as module

PYTHON, ADDRESS = Path("/venv/bin/python"), Address("127.0.0.1", 8123, "s3cret-key")


def adapter(folder: Path, **config) -> Path:
    (folder / "adapter_config.json").write_text(json.dumps({"r": 16} | config))
    return folder


def value(command: list[str], option: str) -> str:
    return command[command.index(option) + 1]


def test_a_whole_model(tmp_path):
    command = vllm_command(PYTHON, Weights("tuned", tmp_path, "float32"), ADDRESS, "")
    assert command[:3] == [str(PYTHON), "-m", "vllm.entrypoints.openai.api_server"]
    assert value(command, "--model") == str(tmp_path)
    assert value(command, "--served-model-name") == "tuned"
    assert (value(command, "--host"), value(command, "--port")) == ("127.0.0.1", "8123")
    assert value(command, "--generation-config") == "vllm"
    assert "--enable-lora" not in command
    assert not any("s3cret-key" in part for part in command)


@pytest.mark.parametrize(
    ("config", "rank"),
    [
        ({}, "16"),
        ({"r": 4}, "8"),
        ({"r": 17}, "32"),
        ({"rank_pattern": {"down_proj": 100}}, "128"),
        ({"r": 512}, "512"),
    ],
)
def test_an_adapter_beside_its_base_model(tmp_path, config, rank):
    weights = Weights("tuned", Path("/base"), "bfloat16", adapter(tmp_path, **config), "smollm2")
    command = vllm_command(PYTHON, weights, ADDRESS, "--max-model-len 2048 --enforce-eager")
    assert value(command, "--max-lora-rank") == rank
    assert value(command, "--lora-modules") == f"tuned={tmp_path}"
    assert value(command, "--served-model-name") == "smollm2"
    assert value(command, "--dtype") == "bfloat16"
    assert value(command, "--max-model-len") == "2048"
    assert "--enforce-eager" in command


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"use_dora": True}, "no DoRA"),
        ({"loftq_config": {"loftq_bits": 4}}, "only 4-bit weights"),
        ({"r": 600}, "no room for rank 600"),
    ],
)
def test_an_adapter_that_vllm_cannot_serve(tmp_path, config, problem):
    weights = Weights("tuned", Path("/base"), "float32", adapter(tmp_path, **config), "base")
    with pytest.raises(ModelError, match=problem):
        vllm_command(PYTHON, weights, ADDRESS, "")


@pytest.mark.parametrize("options", ["--api-key s3cret-key", "--api_key=s3cret-key", "--host 0.0.0.0", "--port=1"])
def test_options_that_would_show_the_key_or_move_the_server(tmp_path, options):
    with pytest.raises(InputError) as raised:
        vllm_command(PYTHON, Weights("tuned", tmp_path, "float32"), ADDRESS, options)
    assert "slm gives this option itself" in str(raised.value)
    assert "s3cret-key" not in str(raised.value)


def test_a_name_that_vllm_would_read_otherwise(tmp_path):
    weights = Weights("a=b", Path("/base"), "float32", adapter(tmp_path), "base")
    with pytest.raises(InputError, match="no name with ="):
        vllm_command(PYTHON, weights, ADDRESS, "")


def test_which_python_has_vllm(monkeypatch, tmp_path):
    monkeypatch.setenv("SLM_VLLM_PYTHON", sys.executable)
    assert find_vllm() == Path(sys.executable)
    monkeypatch.setenv("SLM_VLLM_PYTHON", str(tmp_path / "none"))
    with pytest.raises(InputError, match="none: names no Python"):
        find_vllm()
    monkeypatch.delenv("SLM_VLLM_PYTHON")
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: name == "vllm")
    assert find_vllm() == Path(sys.executable)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda _name: None)
    assert find_vllm() is None
    with pytest.raises(InputError, match="vLLM is not installed"):
        require_vllm()


def test_the_key_goes_through_the_environment_alone(monkeypatch, tmp_path):
    given = {}
    monkeypatch.setattr(module, "started", lambda *args, **more: given.update(environment=args[2]) or more)
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    monkeypatch.setenv("VLLM_API_KEY", "another")
    module.run_vllm(["python"], log=tmp_path / "log", key="s3cret-key")
    assert given["environment"]["VLLM_API_KEY"] == "s3cret-key"
    assert "PYTHONPATH" not in given["environment"]
    assert given["environment"]["PATH"] == os.environ["PATH"]
    module.run_vllm(["python"], log=tmp_path / "log", key=None)
    assert "VLLM_API_KEY" not in given["environment"]
