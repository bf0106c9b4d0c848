"""Sizes in bytes as people write them."""

import re

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMG]I?)?(B?)\s*")
_UNITS = {None: 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}


def parse_size(text: str) -> int | None:
    """Bytes of `500MB`, `1.5 GiB`, `16gb` or `250000000`; None for anything else."""
    found = _SIZE.fullmatch(text.upper())
    return None if found is None else round(float(found[1]) * _UNITS[found[2]])
