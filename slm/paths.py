"""Where things are: what ships with slm, the cache, and larger data."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).parent


def shipped(*parts: str) -> Path:
    """A file or folder that ships with slm: `recipes/…`, `configs/…` or `eval/…`.

    In a checkout these stand beside the package; a wheel carries them inside it, under `_shipped`.
    """
    bundled = _PACKAGE / "_shipped"
    return (bundled if bundled.is_dir() else _PACKAGE.parent).joinpath(*parts)


def cache_home() -> Path:
    """Converted models and other things that can be made again: `$SLM_HOME`, by default `~/.cache/slm`."""
    return Path(os.environ.get("SLM_HOME") or "~/.cache/slm").expanduser()


def data_home() -> Path | None:
    """The folder with larger data sets, `$SLM_DATA`; `None` when it is not set."""
    value = os.environ.get("SLM_DATA")
    return Path(value).expanduser() if value else None
