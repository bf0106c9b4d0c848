"""`slm export`: from a finished run to a folder with one form of its model. What is there already is not made again."""

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from slm.errors import InputError
from slm.models import find_model, model_fingerprint, pull_model
from slm.models.cache import atomic_folder
from slm.models.forms import GGUF_FILE, FormSpec, has_form, read_form, write_form
from slm.ops.card import write_card
from slm.ops.texts import TaskTexts
from slm.progress import Meter
from slm.recipe import Recipe, RunFolder, load_recipe
from slm.train import read_card, require_finished, weights_hash

# What of a base model's folder an adapter needs beside its own files.
_BASE_FILES = {".safetensors", ".json", ".jinja", ".model", ".txt"}


def export(run: RunFolder, spec: FormSpec, *, out: Path | None = None) -> Path:
    """Make the form of the run's model, by default in `exports/` of the run; returns its folder.

    The same run always gives the same bytes. The folder is complete or not there at all.
    Raises InputError for a run that is not finished or cannot have the form, ModelError, DataError, DiskFullError.
    """
    require_finished(run)
    recipe = load_recipe(run.recipe)
    check_spec(spec, recipe)
    folder = out or run.path / "exports" / spec.name
    if folder.exists() and not has_form(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError("something else is there", where=str(folder), expected="an export, an empty folder or nothing")
    if _is_there(folder, spec, run, recipe):
        return folder
    with atomic_folder(folder) as temporary:
        made = _make_adapter(run, recipe, temporary) if spec.kind == "adapter" else _make(run, recipe, spec, temporary)
        write_form(temporary, run.recipe, spec.model_dump() | _origin(run, recipe) | made)
        write_card(temporary, run)
    return folder


def check_spec(spec: FormSpec, recipe: Recipe) -> None:
    """Raises InputError for a form that has no meaning, or that a run of this recipe cannot have."""
    where = f"slm export --to {spec.kind}"
    if (spec.kind == "gguf") != (spec.quant is not None):
        raise InputError("--quant goes with --to gguf, and only with it", where=where)
    if spec.kind in ("adapter", "gguf") and spec.dtype != "base":
        raise InputError("--dtype goes with --to merged, nf4 and int8", where=where)
    if spec.kind == "adapter" and spec.trimmed:
        raise InputError("an adapter has no vocabulary to trim", where=where, hint="slm export RUN --to merged")
    if spec.kind == "adapter" and recipe.train.method == "full":
        raise InputError("the run trained every weight, not an adapter", where=where, hint="slm export RUN --to merged")


def _origin(run: RunFolder, recipe: Recipe) -> dict[str, Any]:
    return {
        "run": run.path.name,
        "model": recipe.model.name,
        "model_fingerprint": model_fingerprint(find_model(recipe.model.name)),
        "adapter": weights_hash(run),
    }


def _is_there(folder: Path, spec: FormSpec, run: RunFolder, recipe: Recipe) -> bool:
    if not has_form(folder):
        return False
    pull_model(recipe.model.name)
    form, wanted = read_form(folder).model_dump(), spec.model_dump() | _origin(run, recipe)
    return all(form[key] == value for key, value in wanted.items())


def _make_adapter(run: RunFolder, recipe: Recipe, folder: Path) -> dict[str, Any]:
    base = pull_model(recipe.model.name)
    for path in sorted(run.adapter.iterdir()):
        shutil.copyfile(path, folder / path.name)
    config = json.loads((base / "config.json").read_bytes())
    card = read_card(run) or {}
    needed = [path for path in base.iterdir() if path.suffix in _BASE_FILES and path.name != "slm-model.json"]
    return {
        "parameters": card["parameters"],
        "tokens": config["vocab_size"],
        "base_bytes": sum(path.stat().st_size for path in needed),
    }


def _make(run: RunFolder, recipe: Recipe, spec: FormSpec, folder: Path) -> dict[str, Any]:
    """Fill `folder` with a form of the whole model; what is known of it only now."""
    from slm.models.load import count_parameters
    from slm.models.merge import merge

    base, full = pull_model(recipe.model.name), recipe.train.method == "full"
    with (
        TemporaryDirectory(dir=folder.parent, prefix=".export-", suffix=".tmp") as scratch,
        Meter(f"export {spec.name}", 3 if spec.trimmed else 2, unit="steps") as meter,
    ):
        model = merge(run.model if full else base, recipe.model, None if full else run.adapter)
        model.name_or_path = run.path.name  # what a GGUF file calls it
        meter.advance(note="merged")
        tokenizer = base
        if spec.trimmed:
            tokenizer = Path(scratch) / "tokenizer"
            _trim(model, recipe, base, tokenizer)
            meter.advance(note="vocabulary trimmed")
        made = {"parameters": count_parameters(model)[1], "tokens": model.config.vocab_size}
        _write(model, spec, recipe, folder, base=base, tokenizer=tokenizer, scratch=Path(scratch))
        meter.advance(note="written")
    return made


def _trim(model: Any, recipe: Recipe, base: Path, tokenizer: Path) -> None:
    from slm.models.trim import named_tokens, trim_model
    from slm.models.vocabulary import trim_tokenizer

    trim_model(model, trim_tokenizer(base, tokenizer, TaskTexts(recipe).encode, keep=named_tokens(model)))


def _write(
    model: Any, spec: FormSpec, recipe: Recipe, folder: Path, *, base: Path, tokenizer: Path, scratch: Path
) -> None:
    from slm.models.load import load_tokenizer
    from slm.models.merge import save_merged
    from slm.models.quantized import save_quantized

    if spec.quant is not None:
        from slm.models.gguf_file import write_gguf

        write_gguf(model, load_tokenizer(tokenizer), folder / GGUF_FILE, spec.quant)
    elif spec.kind in ("nf4", "int8"):
        merged = scratch / "merged"
        merged.mkdir()
        save_merged(model, merged, base=base, tokenizer=tokenizer, dtype=spec.dtype)
        save_quantized(merged, folder, kind=spec.kind, dtype=recipe.model.dtype)
    else:
        save_merged(model, folder, base=base, tokenizer=tokenizer, dtype=spec.dtype)
