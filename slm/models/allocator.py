"""The C library's memory allocator, set for the large temporary tensors of a model on the CPU."""

import ctypes
import os
import platform
import sys
from functools import cache

_M_MXFAST, _M_TRIM_THRESHOLD, _M_MMAP_MAX = 1, -1, -4  # numbers of glibc's <malloc.h>
_TUNABLES, _NO_CACHE = "GLIBC_TUNABLES", "glibc.malloc.tcache_count=0"


@cache
def keep_freed_memory() -> None:
    """Keep freed memory in the process for the next tensor, instead of giving it back to the system.

    By default glibc maps every tensor above 32 MB anew (and smaller ones at first), and touching fresh pages costs more
    than the arithmetic on them: a training step on two cores took 1.4 times as long. Freed small pieces are put back
    together at once, or the room that a tensor leaves is too small for the next tensor of the same size. Does nothing
    without glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_MXFAST, 0)


def return_freed_memory() -> None:
    """Give freed memory back to the system now, as far as the C library can; without glibc, do nothing."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def restart_without_cache() -> None:
    """Begin this process again, once, with glibc's cache of freed small pieces off; without glibc, go on.

    That cache keeps the pieces beside freed tensors from being put back together, and can be turned off only before a
    process starts: a training of SmolLM2-135M took 3.8 GB with it and 2.5 GB without. Call it first thing in a program
    that trains. Processes that this one starts have their cache.
    """
    set_before = os.environ.get(_TUNABLES)
    if set_before and _NO_CACHE in set_before.split(":"):
        rest = [one for one in set_before.split(":") if one != _NO_CACHE]
        os.environ[_TUNABLES] = ":".join(rest)
        if not rest:
            del os.environ[_TUNABLES]
    elif platform.libc_ver()[0] == "glibc" and "glibc.malloc.tcache_count" not in (set_before or ""):
        tunables = ":".join(filter(None, [set_before, _NO_CACHE]))
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {_TUNABLES: tunables})  # noqa: S606 - the same program
