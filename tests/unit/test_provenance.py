"""A card tells code apart, in a checkout and without one, and holds nothing that is private."""

import json
import subprocess

import pytest

import slm
from slm import provenance

code_state = provenance.code_state.__wrapped__  # without the cache, which keeps the state of the start


def git(folder, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package that is not in a checkout."""
    folder = tmp_path / "project" / "slm"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    (folder / "code.py").write_text("a = 1\n")
    monkeypatch.setattr(slm, "__file__", str(folder / "__init__.py"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    return folder


@pytest.fixture
def checkout(package):
    git(package.parent, "init", "--quiet")
    git(package.parent, "add", "slm")
    git(package.parent, "commit", "--quiet", "-m", "first")
    return package


def test_a_commit_and_no_diff_while_nothing_is_changed(checkout):
    state = code_state()
    assert state["version"] == slm.__version__
    assert state["commit"] == git(checkout, "rev-parse", "HEAD")
    assert state["diff"] is None


def test_an_edit_that_is_not_committed_shows_and_each_one_differently(checkout):
    states = [code_state()]
    for text in ("a = 2\n", "a = 3\n"):
        (checkout / "code.py").write_text(text)
        states.append(code_state())
    assert states[1]["diff"] is not None
    assert len({state["diff"] for state in states}) == 3
    assert len({state["files"] for state in states}) == 3
    assert len({state["commit"] for state in states}) == 1


def test_without_a_checkout_the_files_tell_the_code_apart(package):
    before = code_state()
    assert (before["commit"], before["diff"]) == (None, None)
    (package / "code.py").write_text("a = 2\n")
    assert code_state()["files"] != before["files"]


def test_the_checkout_of_another_project_is_not_ours(package):
    """An environment inside somebody's repository must not be taken for a checkout of slm."""
    outer = package.parent.parent
    git(outer, "init", "--quiet")
    git(outer, "commit", "--quiet", "--allow-empty", "-m", "theirs")
    assert code_state()["commit"] is None


def test_versions_are_those_of_what_is_installed():
    from importlib.metadata import version

    found = provenance.versions()
    assert found["sqlglot"] == version("sqlglot")
    assert "python" in found


def test_no_secret_and_no_path_is_told(checkout, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret_token")
    git(checkout, "remote", "add", "origin", "https://user:secret_password@example.org/slm.git")
    (checkout / "code.py").write_text("key = 'secret_key'\n")
    told = json.dumps([code_state(), provenance.versions(), provenance.machine()])
    assert "secret" not in told
    assert str(checkout) not in told
