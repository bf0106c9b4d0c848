"""The model card of an exported form: README.md with what is known of it, and "unknown" where nothing is."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from slm.data import SuiteInfo, list_suites
from slm.errors import InputError, ModelError
from slm.files import write_text
from slm.models import CatalogEntry, find_model
from slm.models.catalog import GgufSource, PathSource
from slm.models.forms import Form, read_form
from slm.ops.parity.certificate import Certificate, certificate_of
from slm.recipe import Recipe, RunFolder, load_recipe
from slm.records import Rate, Result
from slm.train import read_card

CARD = "README.md"
_UNKNOWN = "unknown"
# What model hubs call the licences of the catalog.
_HUB_LICENCES = {"Apache-2.0": "apache-2.0", "MIT": "mit", "Gemma Terms of Use": "gemma"}
_RELATIONS = {"adapter": "adapter", "merged": "finetune", "nf4": "quantized", "int8": "quantized", "gguf": "quantized"}
_LIBRARIES = {"adapter": "peft", "gguf": "gguf"}


def write_card(folder: Path, run: RunFolder) -> Path:
    """Write README.md into the folder of a form that was made from `run`. The same facts always give the same bytes.

    Raises ModelError for a folder without a form, InputError for a run that is not finished.
    """
    form, card = read_form(folder), read_card(run)
    if card is None:
        raise InputError("not a finished training run", where=str(run.path), expected="a folder with card.json")
    recipe = load_recipe(run.recipe)
    base = _base(form.model)
    suites = {suite.name: suite for suite in list_suites()}
    trained, tested = (_suites(suites, refs) for refs in (recipe.data.sources, [recipe.evaluate.suite]))
    front = yaml.safe_dump(
        _front(form, recipe, base, trained, tested), sort_keys=False, allow_unicode=True, default_flow_style=False
    )
    parts = [
        f"---\n{front}---\n\n# {form.run}, {form.name}\n",
        _task(recipe, form),
        _use(recipe),
        _results(_read_results(run)),
        _parity(certificate_of(folder)),
        _origin(recipe, card, base, trained, tested),
        _file(form),
        _versions(card, form),
        _again(form),
    ]
    path = folder / CARD
    write_text(path, "\n".join(parts))
    return path


def _front(
    form: Form,
    recipe: Recipe,
    base: CatalogEntry | None,
    trained: Sequence[SuiteInfo | None],
    tested: Sequence[SuiteInfo | None],
) -> dict[str, Any]:
    """What hubs read: their names for licence, relation and library."""
    licence = base.licence if base else None
    front: dict[str, Any] = {"base_model": _base_id(form, base), "base_model_relation": _RELATIONS[form.kind]}
    front["license"] = _UNKNOWN if licence is None else _HUB_LICENCES.get(licence, "other")
    if front["license"] == "other":
        front["license_name"] = licence
    if base and base.licence_url:
        front["license_link"] = base.licence_url
    front["datasets"] = list(dict.fromkeys(_data_name(ref) for ref in (*recipe.data.sources, recipe.evaluate.suite)))
    if languages := sorted({suite.language for suite in (*trained, *tested) if suite and suite.language}):
        front["language"] = languages
    front["library_name"] = _LIBRARIES.get(form.kind, "transformers")
    front["pipeline_tag"] = "text-generation"
    tags = [recipe.task.name, "sql", "lora" if recipe.train.method == "lora" else "full-fine-tuning", "slm"]
    front["tags"] = tags + [tag for tag in (form.kind, form.quant) if tag and tag not in tags]
    return front


def _task(recipe: Recipe, form: Form) -> str:
    prompts = {True: "the tokenizer's chat template", False: "plain text", "auto": "the chat template, if there is one"}
    return "\n".join(
        [
            f"{_shown(form.model)}, tuned for {recipe.task.name}: it is given the schema of a SQLite database and a "
            "question, and answers with one query.",
            *([recipe.description] if recipe.description else []),
            f"Prompts are made with {prompts[recipe.task.chat]}; answers are decoded greedily, "
            f"at most {recipe.generate.max_new_tokens} tokens.",
            "",
        ]
    )


def _use(recipe: Recipe) -> str:
    return f"""## Use and limits

Meant for questions like those of `{_all_shown(recipe.data.sources)}`, asked of its databases. How well it does on other
databases, in other languages or for other tasks than those measured below is unknown.

Its answers are generated: a query can be wrong, slow or harmful. Run it read-only, with limits on time and rows, and
show the query with its result.
"""


def _results(results: Sequence[Result]) -> str:
    lines = ["## Results", ""]
    if not results:
        return "\n".join([*lines, "Unknown: the run was not evaluated.", ""])
    lines += [
        "Share of answers whose execution gives the gold's result, with 95 % Wilson intervals; of the run itself.",
        "",
    ]
    lines += ["| test questions | judged | right | |", "|---|---|---|---|"]
    for result in results:
        name = _shown(result.suite)
        lines.append(f"| {name} | {result.accuracy.total} | {result.accuracy.right} | {_rate(result.accuracy)} |")
        for tag, values in result.by_tag.items():
            lines += [
                f"| {name}, {tag}: {value} | {rate.total} | {rate.right} | {_rate(rate)} |"
                for value, rate in values.items()
            ]
    notes = {
        f"{_shown(result.suite)}: right answers were right on {result.instances} further databases too."
        for result in results
        if result.instances
    }
    return "\n".join([*lines, *(["", *sorted(notes)] if notes else []), ""])


def _parity(certificate: Certificate | None) -> str:
    lines = ["## Parity with the run", ""]
    if certificate is None:
        return "\n".join(
            [*lines, "Not certified: whether this form answers as the run that was evaluated is unknown.", ""]
        )
    told = {
        "same": "It answers as the run that was evaluated does",
        "equivalent": "Its answers are equivalent to those of the run that was evaluated",
        "different": "**It does not answer as the run that was evaluated**",
    }
    lines.append(f"{told[certificate.verdict]}: {certificate.reason}.")
    if paired := certificate.accuracy:
        lines.append(
            f"On {paired.form.total} questions of {_shown(certificate.suite)}: {paired.form.right} right, the run "
            f"{paired.reference.right} (McNemar's exact test: p = {paired.p_value:.2g}). Details: `parity.json`."
        )
    return "\n".join([*lines, ""])


def _origin(
    recipe: Recipe,
    card: Mapping[str, Any],
    base: CatalogEntry | None,
    trained: Sequence[SuiteInfo | None],
    tested: Sequence[SuiteInfo | None],
) -> str:
    rows = [
        ("base model", f"{_shown(recipe.model.name)}: {_source(base)}"),
        ("its licence", _licence(base.licence if base else None, base.licence_url if base else None)),
        ("its sha256", _code(card.get("model"))),
        ("training data", f"{_all_shown(recipe.data.sources)}, {card.get('examples', _UNKNOWN)} examples"),
        ("its licence", _licences(trained)),
        ("its sha256", _code(card.get("data"))),
        ("test data", _shown(recipe.evaluate.suite)),
        ("its licence", _licences(tested)),
        ("trained", f"{card.get('method', _UNKNOWN)}, {card.get('trainable_parameters', _UNKNOWN)} parameters"),
        ("trained weights, sha256", _code(card.get("adapter"))),
    ]
    return _table("## Made from", rows)


def _file(form: Form) -> str:
    quantized = form.kind in ("nf4", "int8") or (form.quant or "").startswith("q")
    stored = "as the base model's" if form.dtype == "base" else form.dtype
    rows = {
        "form": form.name,
        "number format": stored + (f", layers quantized to {form.quant or form.kind}" if quantized else ""),
        "parameters": f"{form.parameters:,}",
        "vocabulary": f"{form.tokens:,} tokens" + (", trimmed" if form.trimmed else ""),
        "size": f"{form.size_bytes / 1e6:,.1f} MB"
        + (f", of which {form.base_bytes / 1e6:,.1f} MB are the base model's" if form.base_bytes else ""),
    }
    return _table("## Form", list(rows.items()))


def _versions(card: Mapping[str, Any], form: Form) -> str:
    code = card.get("code") or {}
    commit = f"{code.get('commit') or _UNKNOWN}{' with changes' if code.get('diff') else ''}"
    rows = {"slm": f"{code.get('version') or _UNKNOWN}, commit {commit}"}
    rows |= {name: str(version) for name, version in sorted((card.get("versions") or {}).items())}
    rows |= {
        f"{name}, at export": version
        for name, version in sorted(form.versions.items())
        if name != "slm" and rows.get(name) != version
    }
    return _table("## Versions", list(rows.items()))


def _again(form: Form) -> str:
    options = [("to", form.kind), ("quant", form.quant), ("dtype", None if form.dtype == "base" else form.dtype)]
    given = "".join(f" --{name} {value}" for name, value in options if value)
    trim = " --trim-vocabulary" if form.trimmed else ""
    return f"""## Make it again

```sh
slm run recipe.yaml
slm export runs/{form.run}{given}{trim}
slm parity runs/{form.run}
```

`recipe.yaml` lies beside this card. The same code, data and model give a run of the same name.
"""


def _table(title: str, rows: Sequence[tuple[str, str]]) -> str:
    lines = (f"| {name} | {value} |" for name, value in rows)
    return "\n".join([title, "", "| | |", "|---|---|", *lines, ""])


def _read_results(run: RunFolder) -> list[Result]:
    found = []
    for path in sorted((run.path / "results").glob("*.json")):
        try:
            found.append(Result.model_validate_json(path.read_bytes()))
        except ValidationError:
            continue  # of another version of slm
    return found


def _base(name: str) -> CatalogEntry | None:
    try:
        return find_model(name)
    except ModelError:
        return None  # a folder that is no longer there


def _source(base: CatalogEntry | None) -> str:
    """Where the base model is from; never a path of this machine."""
    if base is None:
        return _UNKNOWN
    return "a local file or folder" if isinstance(base.source, PathSource | GgufSource) else base.source.describe()


def _base_id(form: Form, base: CatalogEntry | None) -> str:
    """The hub's name of the base model, or else the catalog's; never a path of this machine."""
    return str(getattr(base.source, "hub", base.name)) if base else Path(form.model).name


def _suites(suites: Mapping[str, SuiteInfo], refs: Sequence[str]) -> list[SuiteInfo | None]:
    return [suites.get(ref.rpartition(":")[0]) for ref in refs]


def _shown(ref: str) -> str:
    """A data set's name without the folders of this machine."""
    return Path(ref).name


def _all_shown(refs: Sequence[str]) -> str:
    return " + ".join(_shown(ref) for ref in refs)


def _data_name(ref: str) -> str:
    return _shown(ref).partition(":")[0]


def _licence(name: str | None, url: str | None = None) -> str:
    if name is None:
        return _UNKNOWN
    return f"[{name}]({url})" if url else name


def _licences(suites: Sequence[SuiteInfo | None]) -> str:
    return ", ".join(dict.fromkeys(_licence(suite.licence if suite else None) for suite in suites))


def _code(value: Any) -> str:
    return f"`{value}`" if value else _UNKNOWN


def _rate(rate: Rate) -> str:
    if rate.value is None or rate.low is None or rate.high is None:
        return _UNKNOWN
    return f"{rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%})"
