"""CONTRIBUTING.md lists every file with what it says of itself."""

import subprocess
import sys

import pytest

from command import ROOT

if not (ROOT / ".git").exists():
    pytest.skip("the tree is of tracked files, and this is not a checkout", allow_module_level=True)

SCRIPT = ROOT / "scripts" / "file_tree.py"


@pytest.fixture
def file_tree(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return __import__("file_tree")


def test_the_tree_is_up_to_date():
    done = subprocess.run([sys.executable, SCRIPT, "--check"], cwd=ROOT)
    assert done.returncode == 0, "run scripts/file_tree.py"


def test_a_new_file_makes_it_stale(file_tree, monkeypatch, tmp_path):
    page = tmp_path / "CONTRIBUTING.md"
    page.write_text(f"before\n{file_tree.START}\n{file_tree.END}\nafter\n")
    monkeypatch.setattr(file_tree, "PAGE", page)
    monkeypatch.setattr(sys, "argv", ["file_tree.py"])
    file_tree.main()
    whole = page.read_text()
    assert whole.startswith("before\n")
    assert whole.endswith("after\n")
    monkeypatch.setattr(sys, "argv", ["file_tree.py", "--check"])
    assert file_tree.main() == 0
    page.write_text(whole.replace("  file_tree.py", "  file_forest.py"))
    assert file_tree.main() == 1


def test_every_module_says_in_its_first_line_what_it_is(file_tree):
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = [ROOT / name for name in tracked.stdout.split() if (ROOT / name).exists()]
    assert len(modules) > 50
    assert [path for path in modules if not file_tree.first_line(path)] == []


def test_every_recipe_and_every_page_says_what_it_is(file_tree):
    files = [*ROOT.glob("recipes/*.yaml"), *ROOT.glob("configs/**/*.yaml"), *ROOT.glob("eval/suites/*.yaml")]
    files += ROOT.glob("docs/*.md")
    assert files
    assert [path for path in files if not file_tree.first_line(path)] == []
