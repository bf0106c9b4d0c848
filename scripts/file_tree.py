"""Writes the file tree of CONTRIBUTING.md, one line a file, from the first lines of the files themselves.

python scripts/file_tree.py          rewrite the tree
python scripts/file_tree.py --check  fail when it is not up to date
"""

import ast
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
START, END = "<!-- file tree: scripts/file_tree.py -->", "<!-- end of file tree -->"
FOLDERS = ("slm", "recipes", "configs", "eval/suites", "scripts", "benchmarks", "docs", "tests")


def first_line(path: Path) -> str:
    """What a file says about itself: the docstring of a module, the first sentence of YAML, the title of a page."""
    if path.suffix == ".py":
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        return "public names of the room" if path.name == "__init__.py" and not text else text.split("\n")[0]
    if path.suffix in (".yaml", ".md"):
        comment = takewhile(lambda line: line[:2] == "# " and line[2:3] != " ", path.read_text().split("\n"))
        return " ".join(line.lstrip("# ") for line in comment).split(". ")[0].rstrip(":.")
    return ""


def tree() -> str:
    """Every tracked file of the folders, indented below its folder."""
    tracked = subprocess.run(
        ["git", "ls-files", *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    lines, folder = [], ""
    for name in sorted(tracked, key=lambda name: (str(Path(name).parent), name)):
        path = ROOT / name
        if str(Path(name).parent) != folder:
            folder = str(Path(name).parent)
            lines.append(f"{folder}/")
        lines.append(f"  {path.name:<30} {first_line(path)}".rstrip())
    return "```text\n" + "\n".join(lines) + "\n```"


def main() -> int:
    """Write, or with --check compare; returns the exit code."""
    text = PAGE.read_text()
    before, rest = text.split(START)
    after = rest.split(END)[1]
    wanted = f"{before}{START}\n\n{tree()}\n\n{END}{after}"
    if "--check" in sys.argv:
        return int(wanted != text)
    PAGE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
