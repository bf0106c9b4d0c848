"""A room imports only from rooms below it, and torch stays in three places."""

import ast
import subprocess
from pathlib import Path

import pytest

from command import ROOT, environment

HEAVY = {"torch", "transformers", "peft", "accelerate", "safetensors", "bitsandbytes"}
ALLOWED = ("slm/train/", "slm/models/", "slm/generate/local/")


def test_the_contracts_hold():
    done = subprocess.run(["lint-imports"], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kept, 0 broken" in done.stdout


def imported(path: Path) -> set[str]:
    """The packages that a module imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.partition(".")[0] for name in (*plain, *named)}


def test_only_three_places_import_torch():
    users = {str(path.relative_to(ROOT)) for path in (ROOT / "slm").rglob("*.py") if imported(path) & HEAVY}
    assert {name for name in users if not name.startswith(ALLOWED)} == set()
    assert all(any(name.startswith(place) for name in users) for place in ALLOWED)


@pytest.mark.parametrize("statement", ["import torch.nn", "from torch import nn", "def f():\n    import torch as t"])
def test_an_import_is_seen_wherever_it_stands(statement, tmp_path):
    (tmp_path / "module.py").write_text(statement)
    assert imported(tmp_path / "module.py") == {"torch"}
