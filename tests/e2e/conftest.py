"""End-to-end tests run the command line as a user does, in a folder of their own."""

import subprocess
from pathlib import Path

import pytest

from command import SLM, environment
from tiny import make_tiny_model


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory) -> Path:
    return make_tiny_model("llama", tmp_path_factory.mktemp("llama"))


@pytest.fixture
def slm(tmp_path):
    """Runs `slm ARGUMENTS` in an empty folder; a failure shows what it printed unless an exit code is expected."""

    def run(*arguments: str, expect: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*SLM, *map(str, arguments)],
            cwd=tmp_path,
            env=environment(**variables),
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == expect, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run
