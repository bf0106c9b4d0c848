"""Exported forms of a tuned model: what `form.json` says of one, and loading any of them to answer with."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, ValidationError

import slm
from slm import provenance
from slm.errors import ModelError
from slm.files import sha256_file, write_json
from slm.models.cache import model_fingerprint
from slm.models.catalog import find_model
from slm.models.pull import pull_model
from slm.recipe import ModelSection, Recipe, load_recipe
from slm.records import Record

if TYPE_CHECKING:
    from slm.models.load import Dtype

Kind = Literal["adapter", "merged", "nf4", "int8", "gguf"]
Quant = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]
# How weights that are not quantized are stored; `base`: each as the base model's file has it.
StoredDtype = Literal["base", "float32", "bfloat16", "float16"]
GGUF_FILE = "model.gguf"
_FORM, _RECIPE, _CARD = "form.json", "recipe.yaml", "README.md"


class FormSpec(Record):
    """Which form: its kind, the type of a GGUF file's matrices, how the others store what they do not quantize."""

    model_config = ConfigDict(strict=True)

    kind: Kind
    quant: Quant | None = None
    dtype: StoredDtype = "base"
    trimmed: bool = False

    @property
    def name(self) -> str:
        """`merged`, `gguf-q8_0`, `nf4-trimmed`, …: what the form's folder is called."""
        dtype = None if self.dtype == "base" else self.dtype
        return "-".join(filter(None, [self.kind, self.quant, dtype, "trimmed" if self.trimmed else None]))


class FileSum(Record):
    """Size and hash of one file of a form."""

    model_config = ConfigDict(strict=True)

    bytes: int
    sha256: str


class Form(FormSpec):
    """`form.json`: what an exported folder holds, and what it was made from.

    `adapter` is the hex sha256 of what the run trained: its adapter, or its whole model. `tokens` is the size of the
    vocabulary. `base_bytes` are the files of the base model that an adapter needs beside its own.
    """

    run: str
    model: str
    model_fingerprint: str
    adapter: str
    parameters: int
    tokens: int
    base_bytes: int = 0
    files: dict[str, FileSum]
    versions: dict[str, str]

    @property
    def spec(self) -> FormSpec:
        """Which form it is, without what it was made from."""
        return FormSpec(kind=self.kind, quant=self.quant, dtype=self.dtype, trimmed=self.trimmed)

    @property
    def size_bytes(self) -> int:
        """Bytes on the disk of everything that is needed to answer."""
        return self.base_bytes + sum(file.bytes for file in self.files.values())


def has_form(folder: Path) -> bool:
    """Whether the folder says that it holds a form, whole or not."""
    return (folder / _FORM).is_file()


def read_form(folder: Path) -> Form:
    """The form in a folder; its files are all there and have their sizes. Raises ModelError."""
    path = folder / _FORM
    expected, hint = "a folder that slm export wrote", "slm export RUN --to merged"
    try:
        form = Form.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise ModelError(f"no {_FORM}", where=str(folder), expected=expected, hint=hint) from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "file"
        raise ModelError(f"key {key!r}: {first['msg']}", where=str(path), expected=expected, hint=hint) from None
    for name, file in form.files.items():
        size = (folder / name).stat().st_size if (folder / name).is_file() else None
        if size != file.bytes:
            found = "is missing" if size is None else f"has {size} bytes"
            raise ModelError(f"{name} {found}", where=str(folder), expected=f"{file.bytes} bytes", hint=hint)
    return form


def write_form(folder: Path, recipe: Path, form: Mapping[str, Any]) -> Form:
    """Put a copy of the run's `recipe` and `form.json` into a folder whose other files are complete.

    `form`: the fields of `Form` but for `files` and `versions`.
    """
    (folder / _RECIPE).write_bytes(recipe.read_bytes())
    files = {
        str(path.relative_to(folder)): FileSum(bytes=path.stat().st_size, sha256=sha256_file(path))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (_FORM, _CARD)
    }
    made = Form(**form, files=files, versions={"slm": slm.__version__, **provenance.versions()})
    write_json(folder / _FORM, made)
    return made


def form_recipe(folder: Path) -> Recipe:
    """The recipe of the run that a form was made from. Raises RecipeError."""
    return load_recipe(folder / _RECIPE)


def load_form(folder: Path, *, dtype: "Dtype | None" = None) -> tuple[Any, Any]:
    """(transformers model in evaluation mode, tokenizer) of any exported form, as it answers.

    `dtype` is that of the arithmetic, by default the recipe's. An adapter's base model is pulled where it is not on
    this machine, and the adapter is merged in memory; a GGUF file is unpacked into a transformers model.
    Raises ModelError for a folder that is not a form or is damaged, and where the base model is another one.
    """
    from slm.models.load import load_model, load_tokenizer

    form = read_form(folder)
    section = form_recipe(folder).model
    section = section.model_copy(update={"dtype": dtype or section.dtype})
    if form.kind == "adapter":
        base = base_folder(form, folder)
        return load_answering(base, section, adapter=folder), load_tokenizer(base)
    if form.kind == "gguf":
        return _load_gguf(folder / GGUF_FILE, section)
    return load_model(folder, dtype=section.dtype), load_tokenizer(folder)


def load_answering(folder: Path, model: ModelSection, *, adapter: Path | None) -> Any:
    """The model in `folder` with its adapter, as it answers.

    The adapter is merged into full-precision weights, which decodes faster; on quantized ones it stays apart.
    """
    from slm.models.load import load_model
    from slm.models.lora import load_adapter

    network: Any = load_model(folder, dtype=model.dtype, quantize=model.quantize)
    if adapter is not None:
        network = load_adapter(network, adapter)
        if model.quantize == "none":
            network = network.merge_and_unload()
    return network


def _load_gguf(file: Path, section: ModelSection) -> tuple[Any, Any]:
    import torch

    from slm.models.convert import read_gguf

    model, tokenizer = read_gguf(file)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.name_or_path = model.name_or_path = tokenizer.name_or_path = file.parent.name
    return model.to(getattr(torch, section.dtype)).eval(), tokenizer


def base_folder(form: Form, folder: Path) -> Path:
    """The base model of an adapter that lies in `folder`, pulled where it is not there. Raises ModelError."""
    base = pull_model(form.model)
    if model_fingerprint(find_model(form.model)) != form.model_fingerprint:
        raise ModelError(
            f"the adapter was trained on another {form.model} than the one on this machine",
            where=str(folder),
            expected=f"a base model with fingerprint {form.model_fingerprint}",
        )
    return base
