"""Models on this machine: one folder each in the cache, complete or not there at all, described by `slm-model.json`."""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from slm.errors import ModelError
from slm.files import digest, disk_errors, sha256_file, write_json
from slm.models.catalog import CatalogEntry, GgufSource, PathSource, Source
from slm.paths import cache_home
from slm.records import Record

_MARKER = "slm-model.json"
# Raised when a conversion gives other files than before, so that cached models are made anew.
_CONVERSION = 1
_TOKENIZER_FILES = {"tokenizer.json", "tokenizer.model", "chat_template.jinja"}


class Marker(Record):
    """`slm-model.json`: what a folder of the cache was made from, and the sha256 of the files that make the model."""

    name: str
    source: Source
    licence: str | None
    conversion: int
    revision: str | None = None
    files: dict[str, str]


def model_folder(entry: CatalogEntry) -> Path:
    """Where the model lies, or will lie once it is pulled. A local folder is used where it is."""
    source = entry.source
    if isinstance(source, PathSource):
        return source.path
    name = entry.name.replace("/", "--")
    if isinstance(source, GgufSource):
        # Files of any folder can share a name, so the content tells them apart.
        name = f"{name}-{sha256_file(source.gguf)[:8]}"
    return cache_home() / "models" / name


def model_fingerprint(entry: CatalogEntry) -> str:
    """Hex sha256 over the weights and the tokenizer; read from the marker, not computed anew, for a pulled model.

    Raises ModelError if the model has not been pulled.
    """
    if isinstance(entry.source, PathSource):
        return digest(_hash_files(entry.source.path))
    marker = read_marker(entry)
    if marker is None:
        raise ModelError("the model is not on this machine yet", where=entry.name, hint=f"slm models pull {entry.name}")
    return digest(marker.files)


def read_marker(entry: CatalogEntry) -> Marker | None:
    """The marker of a pulled model; None if there is none, or it stands for another source or conversion."""
    folder = model_folder(entry)
    try:
        marker = Marker.model_validate_json((folder / _MARKER).read_bytes())
    except (OSError, ValidationError):
        return None
    complete = all((folder / name).exists() for name in marker.files)
    return marker if complete and (marker.source, marker.conversion) == (entry.source, _CONVERSION) else None


def base_name(folder: Path) -> str:
    """What adapters call the model in this folder: its hub id or catalog name, or the name of a local folder."""
    try:
        raw = json.loads((folder / _MARKER).read_bytes())
        return str(raw["source"].get("hub") or raw["name"])
    except (OSError, ValueError, KeyError, AttributeError):
        return folder.resolve().name


@contextmanager
def new_model_folder(entry: CatalogEntry, *, revision: str | None = None) -> Iterator[Path]:
    """A temporary folder that becomes the model's, marker included, when the block ends well."""
    with atomic_folder(model_folder(entry)) as temporary:
        yield temporary
        marker = Marker(
            name=entry.name,
            source=entry.source,
            licence=entry.licence,
            conversion=_CONVERSION,
            revision=revision,
            files=_hash_files(temporary),
        )
        write_json(temporary / _MARKER, marker)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder` that takes its place when the block ends well, and is removed when not.

    A full disk is a DiskFullError, also where safetensors and tokenizers hide it in the text of their own exceptions.
    """
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        with disk_errors(folder):
            temporary.mkdir(parents=True)
            try:
                yield temporary
            except Exception as error:
                if "os error 28" in str(error):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
                raise
            if folder.exists():
                shutil.rmtree(folder)
            temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def locked() -> Iterator[None]:
    """One process at a time makes models: those of one `accelerate launch` all ask for the same one at once."""
    folder = cache_home() / "models"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("w")
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for leftover in [*folder.glob(".*.tmp"), *downloads().glob(".*.tmp")]:  # of a process that was killed
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        yield


def downloads() -> Path:
    """Where downloaded files wait for their conversion."""
    return cache_home() / "downloads"


def _hash_files(folder: Path) -> dict[str, str]:
    files = (file for file in folder.iterdir() if file.suffix == ".safetensors" or file.name in _TOKENIZER_FILES)
    return {file.name: sha256_file(file) for file in sorted(files)}
