"""Where a number comes from: the code and the versions that were at work."""

import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

import slm
from slm.files import digest, sha256_file

_STACK = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "datasets", "vllm", "sqlglot", "apsw")


@cache
def code_state() -> dict[str, str | None]:
    """`version`; in a git checkout also `commit` and `diff`, the sha256 of uncommitted changes to Python files (None:
    none); `files`, the sha256 over the package's own files, tells the code apart even without git."""
    package = Path(slm.__file__).resolve().parent
    files = {str(path.relative_to(package)): sha256_file(path) for path in sorted(package.rglob("*.py"))}
    commit = _git(package, "rev-parse", "HEAD")
    diff = _git(package, "diff", "HEAD", "--", "*.py") if commit else None
    return {
        "version": slm.__version__,
        "commit": commit,
        "diff": digest(diff) if diff else None,
        "files": digest(files),
    }


def versions() -> dict[str, str]:
    """Versions of Python and of every installed package that can change a result."""
    found = {"python": platform.python_version()}
    for name in _STACK:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str | int | None]:
    """The processor, as far as the system tells."""
    import os

    name = next(
        (
            line.split(":", 1)[1].strip()
            for line in _read("/proc/cpuinfo").splitlines()
            if line.startswith("model name")
        ),
        platform.processor() or None,
    )
    return {"cpu": name, "cores": os.cpu_count(), "system": f"{platform.system()} {platform.machine()}"}


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _git(folder: Path, *arguments: str) -> str | None:
    """Output of a git command, None where this is not the checkout of slm itself."""
    try:
        top = subprocess.run(
            ["git", "rev-parse", "--show-toplevel"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()
        if Path(top) != folder.parent:
            return None
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() or None
