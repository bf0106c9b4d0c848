"""Which models there are: the catalog `configs/models.yaml`, hub ids and local paths. Nothing is fetched here."""

import re
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from slm.errors import ModelError
from slm.paths import shipped
from slm.records import Record

Family = Literal["llama", "gemma2", "gemma3", "phi3", "qwen2", "qwen3"]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class HubSource(Record):
    """A repository of a model hub, at a branch, tag or commit."""

    hub: Annotated[str, Field(pattern=rf"^{_HUB_ID.pattern}$")]
    revision: str = "main"

    def describe(self) -> str:
        """One line for people."""
        return f"hub {self.hub}@{self.revision}"


class PathSource(Record):
    """A folder with `config.json`, safetensors weights and a tokenizer; used where it lies."""

    path: Path

    def describe(self) -> str:
        """One line for people."""
        return f"folder {self.path}"


class GgufSource(Record):
    """A GGUF file."""

    gguf: Path
    sha256: Sha256 | None = None

    def describe(self) -> str:
        """One line for people."""
        return f"file {self.gguf}"


class Wheel(Record):
    """A file inside a wheel of the package index."""

    package: str
    version: str
    file: str


class WheelSource(Record):
    """A GGUF file, whole or in parts, inside wheels; `sha256` is that of the parts joined in order."""

    wheels: tuple[Wheel, ...] = Field(min_length=1)
    sha256: Sha256

    def describe(self) -> str:
        """One line for people."""
        first, more = self.wheels[0], len(self.wheels) - 1
        return f"wheel {first.package}=={first.version}" + (f" and {more} more" if more else "")


Source = HubSource | PathSource | GgufSource | WheelSource


class CatalogEntry(Record):
    """A model that can be pulled. What is not known of a model outside the catalog is `None`."""

    name: Annotated[str, Field(min_length=1)]
    family: Family | None = None
    parameters: Annotated[int, Field(gt=0)] | None = None
    licence: str | None = None
    licence_url: str | None = None
    accept: bool = False
    """The licence asks for explicit acceptance before the model is fetched."""
    source: Source


def list_models() -> list[CatalogEntry]:
    """The catalog, in its order. Raises ModelError, naming every mistake, if the file is not a valid catalog."""
    return list(_read_catalog(shipped("configs", "models.yaml")))


def find_model(name: str) -> CatalogEntry:
    """The entry of a catalog name, of a local folder or `.gguf` file, or of a hub id `org/name`.

    A hub id that the catalog has under a name of its own is that entry, so its licence is asked for just the same.
    Raises ModelError with the nearest names.
    """
    catalog = list_models()
    for entry in catalog:
        if name == entry.name or (isinstance(entry.source, HubSource) and name == entry.source.hub):
            return entry
    path = Path(name).expanduser()
    if path.exists() or path.suffix == ".gguf" or path.is_absolute() or name.startswith((".", "~")):
        return _local_entry(path)
    if _HUB_ID.fullmatch(name):
        return CatalogEntry(name=name, source=HubSource(hub=name))
    near = get_close_matches(name, [entry.name for entry in catalog], n=3)
    raise ModelError(
        "no such model" + (f"; did you mean {' or '.join(near)}?" if near else ""),
        where=name,
        expected=f"one of {', '.join(entry.name for entry in catalog)}, a hub id (org/name) or a local path",
        hint="slm models list",
    )


def _local_entry(path: Path) -> CatalogEntry:
    path = path.resolve()
    if path.suffix == ".gguf" and path.is_file():
        return CatalogEntry(name=path.stem, source=GgufSource(gguf=path))
    if not (path / "config.json").is_file():
        raise ModelError(
            "not a model folder" if path.exists() else "no such file or folder",
            where=str(path),
            expected="a folder with config.json, *.safetensors and a tokenizer, or a .gguf file",
        )
    return CatalogEntry(name=path.name, source=PathSource(path=path))


@cache
def _read_catalog(file: Path) -> tuple[CatalogEntry, ...]:
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
        entries = TypeAdapter(tuple[CatalogEntry, ...]).validate_python(raw)
    except (OSError, yaml.YAMLError) as error:
        raise ModelError(f"the catalog cannot be read: {error}", where=str(file)) from None
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
        raise ModelError(
            "not a valid catalog\n  " + "\n  ".join(lines), where=str(file), expected="entries as in docs/models.md"
        ) from None
    names = [entry.name for entry in entries]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise ModelError(f"named more than once: {', '.join(sorted(doubled))}", where=str(file))
    for entry in entries:
        if entry.accept and not entry.licence_url:
            raise ModelError(f"{entry.name}: `accept` needs a licence_url to show", where=str(file))
    return entries
